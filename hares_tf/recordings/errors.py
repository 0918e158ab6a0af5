"""The exception type of `hares_tf.recordings`."""

from hares_tf.utils.errors import HaresError


class RecordingsError(HaresError):
    """A folder, a table or an archive of recordings that cannot be read as it is."""
