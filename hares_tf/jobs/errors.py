"""The exceptions of `hares_tf.jobs`."""

from hares_tf.utils.errors import HaresError


class JobError(HaresError):
    """Jobs were not done; the message is that of the worker, or says what was asked wrongly."""


class WorkersLostError(JobError):
    """Workers or their runner ended in the middle: to run again helps, if something was kept."""
