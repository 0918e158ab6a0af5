"""Metrics: scores of clips -> a number in percent.

All take `scores` `[clips, width]`, `targets` as `Labels.targets` makes them, and the `Labels`. Only
the order of scores counts, so minus infinity is a score like any other. Of equal highest scores the
first name of the group is the answer; average precision takes clips of equal scores together, as
scikit-learn does.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.tasks.labels import Labels


def answers(scores: np.ndarray, labels: Labels) -> np.ndarray:
    """The best name of each group: `[clips, width]` -> `[clips, groups]` numbers.

    Raises:
        EvaluationError: scores that are not numbers.
    """
    _check(scores)
    return np.stack([np.argmax(scores[:, block], axis=1) for block in labels.blocks], axis=1)


def hits(scores: np.ndarray, targets: np.ndarray, labels: Labels) -> np.ndarray:
    """Returns a mask of the clips of which all groups are right, `[clips]`."""
    return np.all(answers(scores, labels) == targets, axis=1)


def exact_match(scores: np.ndarray, targets: np.ndarray, labels: Labels) -> float:
    """Share of clips of which all groups are answered right, in percent."""
    return 100.0 * float(np.mean(hits(scores, targets, labels)))


def accuracy(scores: np.ndarray, targets: np.ndarray, labels: Labels) -> float:
    """Share of clips that are answered right, in percent: `exact_match` of a single group."""
    if len(labels.groups) != 1:
        raise EvaluationError("Accuracy is for one label per clip: use exact_match for slots.")
    return exact_match(scores, targets, labels)


def mean_average_precision(scores: np.ndarray, targets: np.ndarray, labels: Labels) -> float:
    """Mean over tags of their average precision, in percent; every tag counts the same.

    Tags that no clip has are left out: their average precision does not exist. `Metric` says how
    many remain.

    Raises:
        EvaluationError: scores that are not numbers; no clip has a tag.
    """
    return float(np.mean(list(per_label(scores, targets, labels).values())))


def per_label(scores: np.ndarray, targets: np.ndarray, labels: Labels) -> dict[str, float]:
    """Returns the score in percent of each name in the targets: average precision, or recall.

    Raises:
        EvaluationError: scores that are not numbers; no clip has a tag.
    """
    if labels.kind == "tags":
        return _average_precisions(scores, targets, labels)
    right, found = answers(scores, labels) == targets, {}
    for column, block in enumerate(labels.blocks):
        names = labels.names[block]
        for number in np.unique(targets[:, column]):
            of_name = targets[:, column] == number
            found[names[number]] = 100.0 * float(np.mean(right[of_name, column]))
    return found


def positives(targets: np.ndarray) -> np.ndarray:
    """Returns a mask of the tags of each clip: shares above one half."""
    return targets > 0.5


def _average_precisions(scores, targets, labels: Labels) -> dict[str, float]:
    from sklearn.metrics import average_precision_score

    _check(scores)
    present = positives(targets)
    occur = np.flatnonzero(present.any(axis=0))
    if not occur.size:
        raise EvaluationError(
            "None of the clips to score has a tag, so average precision does not exist: check "
            "their labels."
        )
    found = {}
    for tag in occur:
        # scikit-learn refuses infinite scores; ranks have the same order.
        ranks = np.unique(scores[:, tag], return_inverse=True)[1]
        found[labels.names[tag]] = 100.0 * float(average_precision_score(present[:, tag], ranks))
    return found


def _check(scores: np.ndarray) -> None:
    if np.isnan(scores).any():
        raise EvaluationError(
            "Scores hold NaN: check the model for NaN embeddings with hares-check-handle."
        )


@dataclass(frozen=True)
class Metric:
    """A metric that a task may declare.

    Attributes:
        function: `(scores, targets, labels) -> percent`.
    """

    function: Callable[[np.ndarray, np.ndarray, Labels], float]

    def scored_labels(self, targets: np.ndarray, labels: Labels) -> int:
        """Returns the number of names in the targets, over which the mean over tags is taken."""
        if labels.kind == "tags":
            return int(np.sum(positives(targets).any(axis=0)))
        return sum(len(np.unique(column)) for column in targets.T)


METRICS: dict[str, Metric] = {
    "accuracy": Metric(accuracy),
    "exact_match": Metric(exact_match),
    "mean_average_precision": Metric(mean_average_precision),
}
