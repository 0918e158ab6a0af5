"""The exception type of `hares_tf.pretrain`."""

from hares_tf.utils.errors import HaresError


class PretrainError(HaresError):
    """A run that cannot start or go on as asked; the message says why and what to do."""
