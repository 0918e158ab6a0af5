"""Weights from files: checkpoints of pretraining runs, and weights of other implementations."""

from hares_tf.utils.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "CheckpointError": "errors",
        "load_checkpoint": "loading",
        "load_haiku_parameters": "haiku",
    },
)
