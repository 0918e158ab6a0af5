"""The exception type of `hares_tf.models`."""

from hares_tf.utils.errors import HaresError


class ModelError(HaresError):
    """A model cannot be made or called as asked; the message says why and what to do."""
