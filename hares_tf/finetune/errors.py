"""The exception of the fine-tuning package."""

from hares_tf.utils.errors import HaresError


class FinetuneError(HaresError):
    """Recordings, a handle or an option that cannot be used as it is."""


class NotFiniteError(FinetuneError):
    """An encoder that gives NaN or infinite embeddings."""
