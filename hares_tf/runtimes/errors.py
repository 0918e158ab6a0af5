"""The exceptions of the runtimes package."""

from hares_tf.utils.errors import HaresError


class RuntimesError(HaresError):
    """A runtime that is not there, or cannot do what is asked of it."""


class ConversionError(RuntimesError):
    """A graph that another runtime does not take, or computes wrongly."""
