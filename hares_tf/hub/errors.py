"""The exception of the hub package."""

from hares_tf.utils.errors import HaresError


class HubError(HaresError):
    """A handle, a weight file or an export request that cannot be used as it is."""
