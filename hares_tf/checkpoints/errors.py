"""The exception type of `hares_tf.checkpoints`."""

from hares_tf.utils.errors import HaresError


class CheckpointError(HaresError):
    """A weight file or a checkpoint that cannot be used as it is."""
