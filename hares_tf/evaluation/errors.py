"""The exceptions of the evaluation package."""

from hares_tf.utils.errors import HaresError


class EvaluationError(HaresError):
    """A task file, a handle, an option or a results folder that cannot be used as it is."""


class DataAbsentError(EvaluationError):
    """A data set that is not there at all; the message says how to obtain it."""
