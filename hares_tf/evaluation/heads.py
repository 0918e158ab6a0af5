"""Heads: what is trained on frozen embeddings, and the examples they are trained on."""

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

        self._scaler = StandardScaler(copy=False).fit(embeddings)

    def __call__(self, embeddings: np.ndarray) -> np.ndarray:
        """Standardises `[rows, dim]` in place, to save a copy of what may be most of the memory."""
        return self._scaler.transform(embeddings)


def row_space(embeddings: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """Coordinates in an orthonormal basis of the span of the rows, where that is smaller.

    A linear head with a penalty on |W|^2 has its optimum in that span, and the penalty is the same
    in any orthonormal basis: with fewer rows than features this is the same problem, only smaller.

    Args:
        embeddings: `[rows, dim]`.

    Returns:
        The basis `[dim, rows]` (None where rows >= dim) and the coordinates `[rows, rows]` (there
        the embeddings themselves).
    """
    from scipy.linalg import qr

    rows, dim = embeddings.shape
    if rows >= dim:
        return None, embeddings
    basis, triangle = qr(embeddings.T, mode="economic", check_finite=False)
    return basis, np.ascontiguousarray(triangle.T)


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
