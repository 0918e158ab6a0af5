"""Least squares with an L2 penalty, in closed form, for a path of penalties."""

from collections.abc import Callable

import numpy as np

from hares_tf.evaluation.heads.examples import blocks
from hares_tf.evaluation.heads.scaling import row_space
from hares_tf.evaluation.tasks.labels import Labels


class RidgePath:
    """Linear functions that are fitted to 1 where a name holds and to -1 where not.

    Minimizes |(X - mean) W - (Y - mean)|^2 + penalty |W|^2. Rows are read once; then every penalty
    costs one factorisation of the (smaller) Gram matrix.

    Args:
        embeddings: standardized float32 `[rows, dim]`; may be mapped from a file.
        targets: `[rows, groups]` numbers or `[rows, tags]` shares from 0 to 1 (`Labels.targets`).
        labels: the label space. A class or name of a slot without rows gets minus infinity as its
            logit, a tag without positive rows the constant -1.

    Attributes:
        converged: always; a closed form has no iterations that could fall short.
    """

    converged = True

    def __init__(self, embeddings: np.ndarray, targets: np.ndarray, labels: Labels):
        embeddings = np.asarray(embeddings, np.float32)
        rows, self._dim = embeddings.shape
        self._basis, embeddings = row_space(embeddings)
        size = embeddings.shape[1]
        self._gram, by_target = np.zeros((size, size)), np.zeros((size, labels.width))
        sums, target_sums = np.zeros(size), np.zeros(labels.width)
        for block in blocks(rows, max(size, labels.width)):
            part, wanted = embeddings[block], _signs(targets[block], labels)
            self._gram += part.T @ part
            by_target += part.T @ wanted
            sums += part.sum(axis=0, dtype=np.float64)
            target_sums += wanted.sum(axis=0, dtype=np.float64)
        self._mean, self._target_mean = sums / rows, target_sums / rows
        self._gram -= np.outer(sums, self._mean)
        self._by_target = by_target - np.outer(sums, self._target_mean)
        self._never = np.zeros(labels.width, bool)
        if labels.kind != "tags":
            self._never = self._target_mean == -1
        self._weights = np.zeros((size, labels.width))

    def solution(self) -> None:
        """Returns None: a closed form needs no start."""

    def start_from(self, solution: None, convert: Callable) -> None:
        """Does nothing, see `solution`."""

    def fit(self, relative_penalty: float) -> None:
        """Solves for one penalty.

        Args:
            relative_penalty: above 0, in units of the mean of the `dim` eigenvalues of the Gram
                matrix of the centered embeddings (standardized: the number of rows).
        """
        from scipy.linalg import cho_factor, cho_solve

        penalty = relative_penalty * np.trace(self._gram) / self._dim
        matrix = self._gram.copy()
        # Embeddings that are all constant have the Gram matrix 0, and any penalty the solution 0.
        matrix[np.diag_indices_from(matrix)] += penalty if penalty > 0 else 1.0
        factor = cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
        self._weights = cho_solve(factor, self._by_target, check_finite=False)

    def logits(self, embeddings: np.ndarray) -> np.ndarray:
        """float32 `[rows, width]` for standardized embeddings."""
        weights = self._weights.astype(np.float32)
        if self._basis is not None:
            weights = self._basis @ weights
        bias = self._target_mean - self._mean @ self._weights
        bias = np.where(self._never, -np.inf, bias).astype(np.float32)
        logits = np.empty((len(embeddings), len(bias)), np.float32)
        for block in blocks(len(embeddings), embeddings.shape[1]):
            np.matmul(embeddings[block], weights, out=logits[block])
            logits[block] += bias
        return logits


def _signs(targets: np.ndarray, labels: Labels) -> np.ndarray:
    """float32 `[rows, width]`: 1 where a name holds and -1 where not."""
    if labels.kind == "tags":
        return 2 * targets.astype(np.float32) - 1
    signs = np.full((len(targets), labels.width), -1, np.float32)
    firsts = [block.start for block in labels.blocks]
    np.put_along_axis(signs, targets + np.array(firsts), 1, axis=1)
    return signs
