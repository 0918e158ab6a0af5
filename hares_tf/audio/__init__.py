"""Sound in: decode and resample any file, log-mel frontend, standardisation.

The names load on first use, so `from hares_tf.audio import load_audio` imports neither Keras nor
TensorFlow (decoding workers stay small and start fast).
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hares_tf.audio.decode import load_audio
    from hares_tf.audio.errors import AudioError
    from hares_tf.audio.frontend import LogMel, Standardize

__all__ = ["AudioError", "LogMel", "Standardize", "load_audio"]

_HOMES = {
    "AudioError": "errors",
    "LogMel": "frontend",
    "Standardize": "frontend",
    "load_audio": "decode",
}


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
