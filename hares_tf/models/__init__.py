"""The encoders.

Attributes load on first use, so that importing one does not load what the others need.
"""

import importlib

_HOMES = {
    "EncoderSpec": "hares_tf.models.registry",
    "ModelError": "hares_tf.models.errors",
    "SinglePathNFNet": "hares_tf.models.single_path_nfnet",
    "SlowFastNFNet": "hares_tf.models.slowfast_nfnet",
    "WaveformEncoder": "hares_tf.models.waveform_encoder",
    "create_model": "hares_tf.models.registry",
    "list_models": "hares_tf.models.registry",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
