"""Intervals in closed form: Wilson's of a share of clips; of means and differences of scores.

A bootstrap cannot see beyond its sample: where every test clip is answered right, so is every
resample, and its interval has no width. Wilson's interval holds the shares that the observed one
would not refute; for 60 of 60 clips it begins at 94.0 percent.

Means and differences of independent scores combine the distances from each score to the ends of its
interval as standard deviations are combined (the method of variance estimates recovery, MOVER),
which respects that intervals are not symmetric.
"""

import math
from collections.abc import Sequence

# Metrics that are shares of test clips; other metrics have no such closed form.
PROPORTIONS = ("accuracy", "exact_match")
_Z = 1.959963984540054  # the normal distribution holds 95% between -z and z


def wilson(percent: float, clips: float) -> tuple[float, float]:
    """Returns the 95% interval (low, high) of a share, in percent.

    Args:
        percent: the observed share.
        clips: number of clips, positive; see `effective_clips` for means of folds.
    """
    share, squared = percent / 100, _Z**2
    middle = share + squared / (2 * clips)
    half = _Z * math.sqrt(share * (1 - share) / clips + squared / (4 * clips**2))
    low, high = ((middle + sign * half) / (1 + squared / clips) for sign in (-1, 1))
    # Rounding may put the ends of 0 and 100 percent a little beside them.
    return max(0.0, min(100 * low, percent)), min(100.0, max(100 * high, percent))


def effective_clips(sizes: Sequence[int]) -> float:
    """Returns the number of clips of which a mean over folds is as sure (Kish's effective size).

    Args:
        sizes: numbers of clips of the folds, which all count the same; equal folds give their sum.
    """
    return len(sizes) ** 2 / sum(1 / size for size in sizes)


def is_wilson(percent: float, interval: tuple[float, float], clips: float) -> bool:
    """Returns whether an interval is Wilson's, of at most so many clips; all in percent.

    Result files do not name the kind of their interval, but both ends of Wilson's imply the same
    number of clips, which a bootstrap's only do by chance.
    """
    end = max(interval, key=lambda end: abs(end - percent)) / 100
    distance = abs(end - percent / 100)
    if not distance:
        return False
    implied = _Z**2 * end * (1 - end) / distance**2
    if not 0 < implied <= 1.001 * clips:
        return False
    expected = wilson(percent, implied)
    return all(math.isclose(a, b, abs_tol=1e-6) for a, b in zip(expected, interval, strict=True))


def mean_interval(
    scores: Sequence[float], intervals: Sequence[tuple[float, float] | None]
) -> tuple[float, float] | None:
    """Returns the 95% interval of the mean of scores on different clips; None if one has none."""
    known = [interval for interval in intervals if interval is not None]
    if not scores or len(known) < len(scores):
        return None
    mean = sum(scores) / len(scores)
    below = math.hypot(*(s - low for s, (low, _) in zip(scores, known, strict=True)))
    above = math.hypot(*(high - s for s, (_, high) in zip(scores, known, strict=True)))
    return mean - below / len(scores), mean + above / len(scores)


def difference_interval(
    first: float,
    first_interval: tuple[float, float],
    second: float,
    second_interval: tuple[float, float],
) -> tuple[float, float]:
    """Returns the 95% interval of `first - second`, as if they were scored on different clips.

    On the same clips it is too wide: there, a paired bootstrap is better.
    """
    difference = first - second
    below = math.hypot(first - first_interval[0], second_interval[1] - second)
    above = math.hypot(first_interval[1] - first, second - second_interval[0])
    return difference - below, difference + above
