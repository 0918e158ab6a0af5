"""Scaling of embeddings, shared by the heads: standardization and the span of the rows.

Embeddings may be an `np.memmap` larger than memory: whatever runs over all rows, here and in the
other heads, goes block by block.
"""

import numpy as np

from hares_tf.evaluation.heads.examples import blocks

# float32 cannot resolve deviations below this share of the mean: such a feature is constant.
_CONSTANT = 1e-7


class Standardizer:
    """Scales features to zero mean and unit deviation; constant features become zero.

    Args:
        embeddings: float32 `[rows, dim]` that the mean and deviation are computed from, in float64.
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

    def converted(
        self, weights: np.ndarray, bias: np.ndarray, other: "Standardizer"
    ) -> tuple[np.ndarray, np.ndarray]:
        """Converts a linear head on embeddings that this object scales to those of `other`.

        Args:
            weights: `[dim, columns]`.
            bias: `[columns]`.
            other: fitted to other embeddings of the same model.

        Returns:
            Weights and bias, float64, that give the same logits; features that are constant for
            one of the two get no weight.
        """
        raw = weights * self._scale[:, None]
        ratio = np.divide(1.0, other._scale, out=np.zeros_like(raw[:, 0]), where=other._scale > 0)
        return raw * ratio[:, None], bias + (other._mean - self._mean) @ raw


def row_space(embeddings: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """Returns coordinates in an orthonormal basis of the span of the rows, if that is smaller.

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
