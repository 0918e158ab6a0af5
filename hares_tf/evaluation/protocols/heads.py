"""The table of heads that tasks may declare: how each is trained under `fast` and `paper`."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from hares_tf.evaluation.embeddings.windows import Plan
from hares_tf.evaluation.heads.examples import Examples
from hares_tf.evaluation.heads.logistic import CONVERGED, LogisticPath
from hares_tf.evaluation.protocols import mlp, svm
from hares_tf.evaluation.protocols.base import Options, Outcome, Protocol, Work, by_fold
from hares_tf.evaluation.protocols.descent import HIDDEN_UNITS, cached_crops, descend
from hares_tf.evaluation.protocols.paths import choose_and_refit
from hares_tf.evaluation.tasks.declaration import Task

LINEAR_C = tuple(10.0**power for power in range(-4, 2))

# Arguments as those of `Protocol.run`, after the protocol.
Run = Callable[[Protocol, Task, Examples, Examples, Work], Outcome]


@dataclass(frozen=True)
class Head:
    """A kind of head; `tasks.declaration.HEADS` says which tasks may declare it.

    Attributes:
        fast: trains and scores it under `fast`.
        paper: trains and scores it under `paper`.
        paper_plan: the windows that it is trained on under `paper`.
    """

    fast: Run
    paper: Run
    paper_plan: Callable[[Task, Options], Plan] = cached_crops


HEADS = {
    "linear": Head(
        fast=by_fold(
            choose_and_refit(LogisticPath, LINEAR_C, "c", coarse={"tolerance": CONVERGED})
        ),
        paper=by_fold(descend),
    ),
    "mlp": Head(
        fast=by_fold(mlp.choose_and_refit),
        paper=by_fold(partial(descend, hidden=HIDDEN_UNITS)),
    ),
    "svm": Head(fast=svm.nested, paper=svm.published_and_nested, paper_plan=svm.augmented_crops),
}
