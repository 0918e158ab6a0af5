"""Hub modules: export, loading, weight import.

Attributes load on first use: resolving a handle must not import Keras or TensorFlow.
"""

import importlib

_HOMES = {
    "HubError": "hares_tf.hub.errors",
    "export_module": "hares_tf.hub.export",
    "load": "hares_tf.hub.loader",
    "load_haiku_parameters": "hares_tf.hub.haiku",
    "locate": "hares_tf.hub.loader",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
