"""The exception of the fine-tuning package."""

from hares_tf.utils.errors import HaresError


class FinetuneError(HaresError):
    """Recordings, a handle or an option cannot be used as they are."""


class NotFiniteError(FinetuneError):
    """An encoder gives NaN or infinite embeddings."""
