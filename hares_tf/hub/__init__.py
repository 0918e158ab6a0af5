"""Hub modules: export, loading, weight import.

Attributes load on first use: resolving a handle must not import Keras or TensorFlow.
"""

from hares_tf.utils.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "HubError": "errors",
        "HubLayer": "hub_layer",
        "load": "loader",
        "locate": "loader",
    },
)
