"""Hub modules: export, loading, weight import.

Attributes load on first use: resolving a handle must not import Keras or TensorFlow.
"""

from hares_tf.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "HubError": "errors",
        "HubLayer": "hub_layer",
        "export_module": "export",
        "load": "loader",
        "load_haiku_parameters": "haiku",
        "locate": "loader",
    },
)
