"""The exceptions of the runtimes package."""

from hares_tf.utils.errors import HaresError


class RuntimesError(HaresError):
    """A runtime is not installed, or does not support what is asked of it."""


class ConversionError(RuntimesError):
    """A graph cannot be converted for another runtime, or is computed wrongly there."""
