"""Metrics of resampled clips: every resample gives each clip a weight, how often it is drawn."""

from collections.abc import Callable, Iterator

import numpy as np

from hares_tf.evaluation.results.metrics import METRICS, hits, positives
from hares_tf.evaluation.tasks.labels import Labels

_BLOCK_BYTES = 32 * 2**20

# Weights `[clips, resamples]` -> `[resamples]` percent.
_Weighted = Callable[[np.ndarray], np.ndarray]


def resampled(
    scores: np.ndarray,
    targets: np.ndarray,
    labels: Labels,
    metric_name: str,
    resamples: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """Returns the metric of every resample, `[resamples]` percent.

    The resamples depend on the number of clips and the seed alone, so the values of several models
    on the same clips are paired.

    Args:
        scores: `[clips, width]`.
        targets: see `Labels.targets`.
        labels: the label space.
        metric_name: a key of `METRICS`.
        resamples: how many.
        seed: of the resamples.

    Raises:
        EvaluationError: as the metric.
    """
    weighted = _WEIGHTED[metric_name](scores, targets, labels)
    return np.concatenate([weighted(block) for block in _weights(len(scores), resamples, seed)])


def _weights(clips: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks float32 `[clips, resamples of the block]`: how often each clip is drawn."""
    random = np.random.default_rng(seed)
    step = max(1, _BLOCK_BYTES // (4 * clips))
    for start in range(0, resamples, step):
        block = np.empty((clips, min(step, resamples - start)), np.float32)
        for column in block.T:
            column[:] = np.bincount(random.integers(clips, size=clips), minlength=clips)
        yield block


def _weighted_match(scores: np.ndarray, targets: np.ndarray, labels: Labels) -> _Weighted:
    right = hits(scores, targets, labels)
    # Counts of clips stay far below what float32 holds exactly.
    return lambda weights: 100.0 * weights[right].sum(axis=0) / len(right)


def _weighted_map(scores: np.ndarray, targets: np.ndarray, labels: Labels) -> _Weighted:
    METRICS["mean_average_precision"].function(scores, targets, labels)  # the same errors
    present = positives(targets)
    tags = [
        _weighted_precision(scores[:, tag], present[:, tag])
        for tag in np.flatnonzero(present.any(axis=0))
    ]

    def weighted(weights: np.ndarray) -> np.ndarray:
        total, count = np.zeros(weights.shape[1]), np.zeros(weights.shape[1])
        for tag in tags:
            precision = tag(weights)
            # As in the metric: a tag counts where it occurs.
            occurs = ~np.isnan(precision)
            total[occurs] += precision[occurs]
            count += occurs
        with np.errstate(invalid="ignore"):
            return 100.0 * total / count

    return weighted


def _weighted_precision(scores: np.ndarray, present: np.ndarray) -> _Weighted:
    """Average precision of one tag (0 to 1; NaN without weight on any positive clip).

    Precision matters only where recall grows: at the scores that positive clips have. Between two
    of those, only the sum of the weights counts, so all sums of all resamples are one product with
    a sparse matrix of a one per clip.

    Args:
        scores: `[clips]`.
        present: `[clips]` booleans, not all false.
    """
    from scipy.sparse import csr_array

    order = np.argsort(-scores, kind="stable")
    ranked, ranked_present = scores[order], present[order]
    # Equal scores are one threshold; its last place stands for it.
    last = np.append(ranked[1:] != ranked[:-1], True)
    threshold = np.cumsum(last) - last
    ends = np.flatnonzero(last)[np.unique(threshold[ranked_present])] + 1
    starts = np.append(0, ends)
    among = np.flatnonzero(ranked_present)
    positive_starts = np.append(0, np.searchsorted(among, ends))

    def sums(clips: np.ndarray, starts: np.ndarray) -> csr_array:
        ones = np.ones(starts[-1], np.float32)
        return csr_array((ones, clips[: starts[-1]], starts), shape=(len(ends), len(scores)))

    all_sums, positive_sums = sums(order, starts), sums(order[among], positive_starts)

    def weighted(weights: np.ndarray) -> np.ndarray:
        gains = (positive_sums @ weights).astype(np.float64)
        found = np.cumsum(gains, axis=0)
        drawn = np.cumsum(all_sums @ weights, axis=0, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            return np.sum(gains * found / np.maximum(drawn, 1), axis=0) / found[-1]

    return weighted


_WEIGHTED: dict[str, Callable[[np.ndarray, np.ndarray, Labels], _Weighted]] = {
    "accuracy": _weighted_match,
    "exact_match": _weighted_match,
    "mean_average_precision": _weighted_map,
}
