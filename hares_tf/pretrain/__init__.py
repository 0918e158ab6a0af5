"""Pretraining under `tf.distribute`: from prepared clips to checkpoints.

Attributes load on first use, so that `hares-pretrain --help` needs no TensorFlow.
"""

from hares_tf.utils.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "PretrainError": "errors",
        "load_config": "config",
        "make_strategy": "strategy",
        "pretrain": "trainer",
    },
)
