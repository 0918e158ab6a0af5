"""`smoke/1`: a closed form for every head, in seconds; to see that everything works.

Least squares on standardized windows with an L2 penalty, which is chosen as in `fast`; whatever
head a task declares.
"""

from hares_tf.evaluation.heads.examples import Examples
from hares_tf.evaluation.heads.ridge import RidgePath
from hares_tf.evaluation.protocols.base import Outcome, Protocol, Work, by_fold
from hares_tf.evaluation.protocols.paths import choose_and_refit
from hares_tf.evaluation.tasks.declaration import Task

# Relative to the mean eigenvalue of the Gram matrix, the most regularized first.
PENALTIES = tuple(10.0**power for power in range(2, -5, -1))
_run = by_fold(choose_and_refit(RidgePath, PENALTIES, "penalty"))


class Smoke(Protocol):
    """The protocol `smoke`, see the module."""

    name = "smoke"
    version = 1

    def run(self, task: Task, train: Examples, test: Examples, work: Work) -> Outcome:
        return _run(self, task, train, test, work)
