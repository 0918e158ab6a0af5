"""The exceptions of the evaluation package."""

from hares_tf.utils.errors import HaresError


class EvaluationError(HaresError):
    """A task file, a handle, an option or a results folder that cannot be used."""


class DataAbsentError(EvaluationError):
    """A data set that is absent; the message says how to obtain it."""
