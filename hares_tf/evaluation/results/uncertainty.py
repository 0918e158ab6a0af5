"""Intervals of scores: Wilson's interval of shares of clips, else the bootstrap over test clips.

Accuracy and exact match are shares of clips, so they have Wilson's interval. Mean average precision
and differences of models are bootstrapped: a resample draws as many clips as there are, with
replacement; a clip that is drawn twice counts twice; an interval holds the middle 95% of the
resamples (the percentile bootstrap).

All intervals are about the choice of test clips only: neither training nor the choice of its clips
varies. Average precision of resamples is a little high, because a clip is tied with its own copies.
Everything is a function of the seed and the data.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.results.intervals import PROPORTIONS, effective_clips, wilson
from hares_tf.evaluation.results.metrics import METRICS
from hares_tf.evaluation.results.resampling import resampled
from hares_tf.evaluation.tasks.labels import Labels

PERCENTILES = (2.5, 97.5)


def interval(
    score: float,
    scores: np.ndarray,
    targets: np.ndarray,
    labels: Labels,
    metric_name: str,
    folds: np.ndarray | None = None,
) -> tuple[float, float]:
    """Returns the 95% interval of a score, in percent.

    Args:
        score: percent; the mean of the scores of folds where there are folds.
        scores: `[clips, width]`.
        targets: see `Labels.targets`.
        labels: the label space.
        metric_name: a key of `METRICS`.
        folds: `[clips]` the fold of each clip, or None.

    Raises:
        EvaluationError: as the metric.
    """
    if metric_name not in PROPORTIONS:
        return bootstrap(scores, targets, labels, metric_name, folds=folds)
    sizes = [len(scores)] if folds is None else np.unique(folds, return_counts=True)[1].tolist()
    return wilson(score, effective_clips(sizes))


def bootstrap(
    scores: np.ndarray,
    targets: np.ndarray,
    labels: Labels,
    metric_name: str,
    resamples: int = 1000,
    seed: int = 0,
    folds: np.ndarray | None = None,
) -> tuple[float, float]:
    """Returns the 95% interval of a metric over resamples of the clips, in percent.

    Args: as `interval`, and
        resamples: how many.
        seed: of the resamples.
        folds: clips are drawn within their fold.

    Raises:
        EvaluationError: as the metric.
    """
    every = np.zeros(len(scores), int) if folds is None else folds
    values = []
    for number, fold in enumerate(np.unique(every)):
        of_fold = every == fold
        values.append(
            resampled(
                scores[of_fold], targets[of_fold], labels, metric_name, resamples, seed + number
            )
        )
    low, high = np.nanpercentile(np.mean(values, axis=0), PERCENTILES)
    return float(low), float(high)


def paired(
    scores_a: np.ndarray,
    scores_b: np.ndarray,
    targets: np.ndarray,
    labels: Labels,
    metric_name: str,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """Returns the difference of two models on the same clips, both scored on each resample.

    Args: as `bootstrap`.

    Returns:
        `difference` of the metrics, a - b, in percentage points; `low` and `high`, its 95%
        interval; `p_superior`, the share of resamples in which a is better (equal counts half).

    Raises:
        EvaluationError: as the metric; scores of different shapes.
    """
    pairs = paired_differences([scores_a, scores_b], targets, labels, metric_name, resamples, seed)
    return pairs[0, 1]


def paired_differences(
    scores: Sequence[np.ndarray],
    targets: np.ndarray,
    labels: Labels,
    metric_name: str,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[tuple[int, int], dict[str, float]]:
    """Returns what `paired` returns, for every two of several models (first < second).

    Each model is scored once per resample, so many pairs cost little more than the models.

    Raises:
        EvaluationError: as `paired`.
    """
    for other in scores[1:]:
        if other.shape != scores[0].shape:
            raise EvaluationError(
                f"Scores of {scores[0].shape} and {other.shape} cannot be compared: both models "
                "must be scored on the same clips and labels."
            )
    metric = METRICS[metric_name].function
    metrics = [metric(of_model, targets, labels) for of_model in scores]
    values = [
        resampled(of_model, targets, labels, metric_name, resamples, seed) for of_model in scores
    ]
    return {
        (a, b): _summary(metrics[a] - metrics[b], values[a] - values[b])
        for a, b in itertools.combinations(range(len(scores)), 2)
    }


def _summary(difference: float, of_resamples: np.ndarray) -> dict[str, float]:
    known = of_resamples[~np.isnan(of_resamples)]
    if not known.size:
        raise EvaluationError("No resample of the clips has a score; take more resamples.")
    low, high = np.percentile(known, PERCENTILES)
    return {
        "difference": difference,
        "low": float(low),
        "high": float(high),
        "p_superior": float(np.mean((np.sign(known) + 1) / 2)),
    }
