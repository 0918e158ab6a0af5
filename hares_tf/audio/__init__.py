"""Sound in: decode and resample any file, log-mel frontend, standardization.

The names load on first use, so `from hares_tf.audio import load_audio` imports neither Keras nor
TensorFlow (decoding workers stay small and start fast).
"""

from hares_tf.utils.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "AudioError": "errors",
        "LogMel": "frontend",
        "Standardize": "frontend",
        "load_audio": "decode",
    },
)
