"""The exceptions of `hares_tf.jobs`."""

from hares_tf.utils.errors import HaresError


class JobError(HaresError):
    """Jobs could not be done; the message is the worker's, or names a wrong option."""


class WorkersLostError(JobError):
    """Workers or their runner died; another run continues with the jobs that are left."""
