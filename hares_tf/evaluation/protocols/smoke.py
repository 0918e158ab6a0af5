"""`smoke/1`: a closed form for every head, in seconds; to see that everything works.

Least squares on standardized windows with an L2 penalty, which is chosen as in `fast`; whatever
head a task declares.
"""

from hares_tf.evaluation.heads.examples import Examples
from hares_tf.evaluation.heads.ridge import RidgePath
from hares_tf.evaluation.protocols.base import Outcome, Protocol, Work, has_folds, over_folds
from hares_tf.evaluation.protocols.paths import choose_and_refit
from hares_tf.evaluation.tasks.declaration import Task

# Relative to the mean eigenvalue of the Gram matrix, the most regularized first.
PENALTIES = tuple(10.0**power for power in range(2, -5, -1))


class Smoke(Protocol):
    """See the module."""

    name = "smoke"
    version = 1

    def run(self, task: Task, train: Examples, test: Examples, work: Work) -> Outcome:
        def split(train: Examples, test: Examples, fold: str = "") -> Outcome:
            return choose_and_refit(
                RidgePath, PENALTIES, train, test, self.clip_scores, work, "penalty"
            )

        if has_folds(test):
            return over_folds(train, test, split, work.metric)
        return split(train, test)
