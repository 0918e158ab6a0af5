"""The exception type of `hares_tf.data`."""

from hares_tf.utils.errors import HaresError


class DataError(HaresError):
    """Recordings or prepared clips that cannot be used as they are; the message says what to do."""
