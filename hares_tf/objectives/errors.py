"""The exception type of `hares_tf.objectives`."""

from hares_tf.utils.errors import HaresError


class ObjectiveError(HaresError):
    """An objective cannot be made or used as asked; the message says why and what to do."""
