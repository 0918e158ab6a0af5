"""What heads share: standardizing and the span of the rows; and the linear SVM.

Embeddings may be an `np.memmap` larger than memory: whatever runs over all rows, here and in the
other heads, goes block by block.
"""

import warnings

import numpy as np

from hares_tf.evaluation.heads.examples import blocks

# Deviations below this share of the mean are what float32 cannot resolve: such a feature is
# constant.
_CONSTANT = 1e-7


class Standardizer:
    """Zero mean and unit deviation per feature, as fitted; constant features become zero.

    Args:
        embeddings: float32 `[rows, dim]` that fix the mean and deviation (float64 sums).
    """

    def __init__(self, embeddings: np.ndarray):
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler()
        # Short blocks: scikit-learn makes several float64 arrays of what it is given.
        for block in blocks(len(embeddings), 16 * embeddings.shape[1]):
            scaler.partial_fit(embeddings[block])
        self._mean, deviation = scaler.mean_, np.sqrt(scaler.var_)
        constant = deviation <= _CONSTANT * np.abs(self._mean)
        self._scale = np.where(constant, 0.0, 1 / np.where(constant, 1.0, deviation))

    def __call__(self, embeddings: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Standardizes float32 `[rows, dim]` into `out`; by default in place, to save a copy.

        Returns:
            `out`.
        """
        out = embeddings if out is None else out
        for block in blocks(len(embeddings), 4 * embeddings.shape[1]):
            centered = embeddings[block] - self._mean
            centered *= self._scale
            out[block] = centered
        return out


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
        embeddings: standardized `[rows, dim]`.
        labels: `[rows]` class numbers below `n_classes`.
        n_classes: columns of the logits; a class without rows gets minus infinity.
        c: the regularization parameter of scikit-learn's LinearSVC.
    """

    def __init__(self, embeddings: np.ndarray, labels: np.ndarray, n_classes: int, c: float):
        from sklearn.svm import LinearSVC

        self._n_classes = n_classes
        self._model = LinearSVC(C=c, dual="auto", random_state=0, max_iter=20_000)
        with warnings.catch_warnings():
            # With few clips per class it takes class numbers for measurements.
            warnings.filterwarnings("ignore", "The number of unique classes")
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
