"""Differences of models on the same clips, with intervals of a paired bootstrap."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.report.reading import Result

if TYPE_CHECKING:  # it imports the readers of predictions, which texts and tables do without
    from hares_tf.evaluation.report.predictions import Predictions

# Kinds of labels that a metric is for.
_KINDS = {
    "accuracy": ("classes",),
    "exact_match": ("classes", "slots"),
    "mean_average_precision": ("tags",),
}


@dataclass(frozen=True)
class Difference:
    """Score of one model minus that of another: points of percent, and the 95% interval."""

    value: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 where the first model is clearly better, -1 where it is clearly worse, else 0."""
        return int(self.low > 0) - int(self.high < 0)

    def reversed(self) -> "Difference":
        """Returns the difference of the second model to the first."""
        return Difference(-self.value, -self.high, -self.low)


def signed(points: float) -> str:
    """Returns a difference with its sign, as it is printed: `+1.2`; zero has none."""
    rounded = round(points, 1)
    return f"{rounded:+.1f}" if rounded else "0.0"


# By the keys of two models, first minus second; both orders are in it.
Differences = dict[tuple[str, str], Difference]


def tally(tasks: Iterable[Differences], first: str, second: str) -> tuple[int, int, int] | None:
    """Returns on how many tasks a model wins, ties and loses; None where it was never compared."""
    signs = [pairs[first, second].sign for pairs in tasks if (first, second) in pairs]
    return (signs.count(1), signs.count(0), signs.count(-1)) if signs else None


@dataclass(frozen=True)
class Answers:
    """A result and the predictions beside it."""

    result: Result
    predictions: "Predictions"


def model_differences(answers: Sequence[Answers], resamples: int, seed: int) -> Differences:
    """Returns the differences of all models that answered the same clips with the same labels.

    Args:
        answers: of the models on one task.
        resamples: of the bootstrap; all models are scored on each of them.
        seed: of the bootstrap.

    Raises:
        EvaluationError: the metric is unknown, or does not fit the labels.
    """
    groups: list[list[_Sorted]] = []
    for entry in map(_Sorted.of, answers):
        if not entry.result.clips.get("manifest_hash"):
            continue
        fitting = [group for group in groups if group[0].same_clips(entry)]
        if fitting:
            fitting[0].append(entry)
        else:
            groups.append([entry])
    differences: Differences = {}
    for group in groups:
        if len(group) > 1:
            differences |= _of_group(group, resamples, seed)
    return differences


def _of_group(group: Sequence["_Sorted"], resamples: int, seed: int) -> Differences:
    from hares_tf.evaluation.results.uncertainty import paired_differences
    from hares_tf.evaluation.tasks.labels import Labels

    first = group[0]
    if first.kind not in _KINDS.get(first.result.metric, ()):
        raise EvaluationError(
            f"The metric {first.result.metric!r} does not exist or is not for labels of kind "
            f"{first.kind!r}."
        )
    # Cleaned names may not be distinct; only their number matters.
    names = ((str(i), tuple(map(str, range(len(g))))) for i, (_, g) in enumerate(first.groups))
    pairs = paired_differences(
        [entry.scores for entry in group],
        first.targets,
        Labels(first.kind, tuple(names)),
        first.result.metric,
        resamples,
        seed,
    )
    differences: Differences = {}
    for a, b in itertools.combinations(range(len(group)), 2):
        pair = pairs[a, b]
        difference = Difference(pair["difference"], pair["low"], pair["high"])
        differences[group[a].result.model, group[b].result.model] = difference
        differences[group[b].result.model, group[a].result.model] = difference.reversed()
    return differences


@dataclass(frozen=True)
class _Sorted:
    """Predictions in the order of the clips' ids."""

    result: Result
    kind: str
    groups: tuple
    ids: np.ndarray
    scores: np.ndarray
    targets: np.ndarray

    @classmethod
    def of(cls, answers: Answers) -> "_Sorted":
        predictions = answers.predictions
        order = np.argsort(predictions.ids, kind="stable")
        return cls(
            answers.result,
            predictions.kind,
            predictions.groups,
            predictions.ids[order],
            predictions.scores[order],
            predictions.targets[order],
        )

    def same_clips(self, other: "_Sorted") -> bool:
        """Whether both answered the same question on the same clips."""
        return (
            self.result.comparable == other.result.comparable
            and (self.kind, self.groups) == (other.kind, other.groups)
            and np.array_equal(self.ids, other.ids)
            and np.array_equal(self.targets, other.targets)
        )
