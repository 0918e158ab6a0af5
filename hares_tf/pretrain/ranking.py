"""Mean average precision of a classifier while it is trained."""

import numpy as np

#: So many of the latest examples are ranked.
EXAMPLES = 8192


class RecentRanking:
    """Ranks the latest training examples by the scores they got when they were trained on.

    The scores are of mixed examples and of parameters that have changed since, the labels those of
    the examples themselves: a measure of progress, not a result.
    """

    def __init__(self, examples: int = EXAMPLES):
        self._examples = examples
        self._scores: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []

    def add(self, scores: np.ndarray, labels: np.ndarray) -> None:
        """Takes the `[batch, classes]` scores and labels of a step."""
        self._scores.append(scores)
        self._labels.append(labels)
        while sum(map(len, self._scores[1:])) >= self._examples:
            del self._scores[0], self._labels[0]

    def mean_average_precision(self) -> float:
        """Mean over the classes that occur, in [0, 1]; 0 if none does."""
        from sklearn.metrics import average_precision_score

        scores, labels = np.concatenate(self._scores), np.concatenate(self._labels) > 0.5
        occurring = labels.any(axis=0)
        if not occurring.any():
            return 0.0
        return float(average_precision_score(labels[:, occurring], scores[:, occurring]))
