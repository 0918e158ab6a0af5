"""Heads: what is trained on frozen embeddings. scikit-learn does the optimisation."""

import warnings
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Head:
    """What a task may declare.

    Attributes:
        needs_folds: it is scored by cross-validation over a fold column.
    """

    needs_folds: bool


HEADS = {"linear": Head(needs_folds=False), "svm": Head(needs_folds=True)}


@dataclass(frozen=True)
class Examples:
    """Embeddings of clips with their labels.

    Attributes:
        embeddings: float32 `[rows, dim]`, one row a window.
        rows_per_clip: `[clips]`; the rows of a clip are adjacent, clips in order.
        labels: `[clips]` class numbers.
        parts: `[clips]` split or fold of each clip.
        ids: the clips' names.
        n_classes: number of classes.
    """

    embeddings: np.ndarray
    rows_per_clip: np.ndarray
    labels: np.ndarray
    parts: np.ndarray
    ids: tuple[str, ...]
    n_classes: int

    def select(self, clips: np.ndarray) -> "Examples":
        """The examples of a boolean mask over clips."""
        return Examples(
            self.embeddings[np.repeat(clips, self.rows_per_clip)],
            self.rows_per_clip[clips],
            self.labels[clips],
            self.parts[clips],
            tuple(name for name, keep in zip(self.ids, clips, strict=True) if keep),
            self.n_classes,
        )

    @property
    def row_labels(self) -> np.ndarray:
        """`[rows]` class numbers: every window carries its clip's label."""
        return np.repeat(self.labels, self.rows_per_clip)


class Standardizer:
    """Zero mean and unit deviation per feature, as fitted; constant features become zero.

    Args:
        embeddings: `[rows, dim]` that fix the mean and deviation (computed in float64).
    """

    def __init__(self, embeddings: np.ndarray):
        from sklearn.preprocessing import StandardScaler

        self._scaler = StandardScaler().fit(embeddings)

    def __call__(self, embeddings: np.ndarray) -> np.ndarray:
        return self._scaler.transform(embeddings)


class LogisticPath:
    """Multinomial logistic regressions for growing C, each started from the one before.

    Minimises summed cross-entropy + |W|^2 / 2C over rows; the bias is free. Solved by L-BFGS until
    the gradient of the mean objective is below `tolerance` in every entry.

    Args:
        embeddings: standardised `[rows, dim]`.
        labels: `[rows]` class numbers below `n_classes`.
        n_classes: columns of the logits; a class without rows gets minus infinity.
    """

    def __init__(
        self,
        embeddings: np.ndarray,
        labels: np.ndarray,
        n_classes: int,
        tolerance: float,
        max_iterations: int,
    ):
        from sklearn.linear_model import LogisticRegression

        self._embeddings, self._labels, self._n_classes = embeddings, labels, n_classes
        self._two_classes = len(np.unique(labels)) == 2
        self._model = LogisticRegression(
            tol=tolerance, max_iter=max_iterations, warm_start=True, solver="lbfgs"
        )
        self.converged = True

    def fit(self, c: float) -> None:
        """Solves for one C."""
        from sklearn.exceptions import ConvergenceWarning

        # With two classes scikit-learn fits one weight vector w = w1 - w2; the two-vector penalty
        # |w1|^2 + |w2|^2 is |w|^2 / 2 at the optimum, so its C is twice ours.
        self._model.C = 2 * c if self._two_classes else c
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            try:
                self._model.fit(self._embeddings, self._labels)
            except ConvergenceWarning:
                self.converged = False
                warnings.simplefilter("ignore", ConvergenceWarning)
                self._model.fit(self._embeddings, self._labels)

    def logits(self, embeddings: np.ndarray) -> np.ndarray:
        """`[rows, classes]` for standardised embeddings."""
        return _class_columns(self._model, embeddings, self._n_classes)


class LinearSVM:
    """One-against-rest linear support vector machines (squared hinge), as the paper's ESC-50 head.

    Args:
        embeddings: standardised `[rows, dim]`.
        labels: `[rows]` class numbers below `n_classes`.
        n_classes: columns of the logits; a class without rows gets minus infinity.
        c: the regularisation parameter of scikit-learn's LinearSVC.
    """

    def __init__(self, embeddings: np.ndarray, labels: np.ndarray, n_classes: int, c: float):
        from sklearn.svm import LinearSVC

        self._n_classes = n_classes
        self._model = LinearSVC(C=c, dual="auto", random_state=0, max_iter=20_000)
        self._model.fit(embeddings, labels)

    def logits(self, embeddings: np.ndarray) -> np.ndarray:
        """`[rows, classes]` decision values."""
        return _class_columns(self._model, embeddings, self._n_classes)


def _class_columns(model, embeddings: np.ndarray, n_classes: int) -> np.ndarray:
    """Decision values with one column for every class of the task.

    scikit-learn gives one column for two classes, and none for classes it never saw (all their
    training clips were unreadable).
    """
    decision = model.decision_function(embeddings)
    if decision.ndim == 1:
        decision = np.stack([-decision, decision], axis=1)
    columns = np.full((len(decision), n_classes), -np.inf, decision.dtype)
    columns[:, model.classes_] = decision
    return columns


def clip_scores(logits: np.ndarray, rows_per_clip: np.ndarray) -> np.ndarray:
    """Mean of window logits: `[rows, classes]` -> `[clips, classes]`."""
    starts = np.concatenate([[0], np.cumsum(rows_per_clip)[:-1]])
    return np.add.reduceat(logits, starts, axis=0) / rows_per_clip[:, None]
