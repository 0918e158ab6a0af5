"""Recordings where they lie: folders, tables, archives and tfds records, and decoding ahead."""

from hares_tf.utils.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, {"folder_source": "sources"})
