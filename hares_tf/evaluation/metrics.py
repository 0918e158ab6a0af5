"""Metrics: class scores of clips -> a number in percent."""

from collections.abc import Callable

import numpy as np


def accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Share of clips whose highest score is their label, in percent.

    Args:
        scores: `[clips, classes]`; of equal scores the first class counts.
        labels: `[clips]` class numbers.
    """
    return 100.0 * float(np.mean(np.argmax(scores, axis=1) == labels))


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {"accuracy": accuracy}
