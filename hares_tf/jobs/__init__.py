"""Runs jobs in parallel, on processes of this machine or on an Apache Beam runner.

A job is a picklable object with a `number` that is unique in its run. The function that does a job
belongs to a module and stores its output itself, so that after a kill the next run does the rest.
"""

from hares_tf.jobs.runner import Runner

__all__ = ["Runner"]
