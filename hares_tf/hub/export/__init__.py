"""Weights -> SavedModel: the module, its signatures, its flavors, and the conformance check."""

from hares_tf.utils.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, {"export_module": "exporter"})
