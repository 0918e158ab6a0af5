"""Fine-tuning: a folder of labeled recordings to a Hub module that names its classes.

The names load on first use, so that `hares-finetune --help` needs no TensorFlow.
"""

from hares_tf.utils.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "FinetuneError": "errors",
        "Settings": "settings",
        "finetune": "pipeline",
        "read_recordings": "recordings",
    },
)
