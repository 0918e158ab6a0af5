"""Work that is cut into jobs, on processes of this machine or on an Apache Beam runner.

A job is any object that can be pickled and has a `number`, unique in its run. What to do with one
is a function of a module; it keeps what it makes by itself, so that whatever is killed, the next
run does what is missing.
"""

from hares_tf.jobs.runner import Runner

__all__ = ["Runner"]
