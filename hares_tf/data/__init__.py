"""Training clips: prepared shards, their writer and their reader.

The names load on first use, so that `hares-prepare --help` needs no TensorFlow.
"""

from hares_tf.utils.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ClipSet": "clip_set",
        "Crops": "reader",
        "DataError": "errors",
        "batches": "reader",
        "open_clips": "clip_set",
    },
)
