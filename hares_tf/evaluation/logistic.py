"""Multinomial logistic regression for a path of regularisation strengths.

Minimises summed cross-entropy + |W|^2 / 2C over rows; the bias is free. L-BFGS (SciPy) does the
work, in coordinates in which it is quick: embeddings are strongly correlated, so in their own
coordinates it crawls (scikit-learn's solver stops at twice the optimal objective for large C).
Whitening with the Cholesky factor of an upper model of the Hessian keeps the objective and changes
only the path to it.
"""

import numpy as np

from hares_tf.evaluation.heads import row_space

# The largest entry of the whitened gradient of the mean objective at which a solution counts.
TOLERANCE = 1e-6
MAX_ITERATIONS = 2000


class LogisticPath:
    """Solutions for one C after another, each started from the one before.

    Args:
        embeddings: standardised float32 `[rows, dim]`.
        labels: `[rows]` class numbers below `n_classes`.
        n_classes: columns of the logits; a class without rows gets minus infinity.

    Attributes:
        converged: whether every fit so far ended with a whitened gradient of the mean objective of
            at most ten times `TOLERANCE` (float32 products may stop the line search before it is
            reached). Where C is large and classes separate, the objective is still flat there.
    """

    def __init__(self, embeddings: np.ndarray, labels: np.ndarray, n_classes: int):
        embeddings = np.asarray(embeddings, np.float32)
        self._seen, self._targets = np.unique(labels, return_inverse=True)
        self._n_classes = n_classes
        self._basis, embeddings = row_space(embeddings)
        self._embeddings = embeddings
        self._gram = (embeddings.T @ embeddings).astype(np.float64)
        classes = len(self._seen)
        self._weights = np.zeros((embeddings.shape[1], classes))
        self._bias = np.zeros(classes)
        self.converged = True

    def fit(self, c: float) -> None:
        """Solves for one C."""
        from scipy.linalg import solve_triangular
        from scipy.optimize import minimize

        rows, classes = len(self._targets), len(self._seen)
        factor, bias_scale = self._whitening(c)

        def whiten(gradient):
            return solve_triangular(factor, gradient, lower=True, check_finite=False)

        def unwhiten(values):
            return solve_triangular(factor, values, lower=True, trans="T", check_finite=False)

        def objective(flat):
            variables = flat.reshape(-1, classes)
            weights, bias = unwhiten(variables[:-1]), variables[-1] / bias_scale
            loss, by_weights, by_bias = self._cross_entropy(weights, bias)
            loss += np.sum(weights**2) / (2 * c)
            gradient = np.vstack([whiten(by_weights + weights / c), by_bias / bias_scale])
            return loss / rows, gradient.ravel() / rows

        start = np.vstack([factor.T @ self._weights, self._bias * bias_scale])
        solution = minimize(
            objective,
            start.ravel(),
            jac=True,
            method="L-BFGS-B",
            # Only the gradient decides: a small step is no sign of a minimum.
            options={
                "maxiter": MAX_ITERATIONS,
                "maxfun": 2 * MAX_ITERATIONS,
                "gtol": TOLERANCE,
                "ftol": 0.0,
            },
        )
        variables = solution.x.reshape(-1, classes)
        self._weights, self._bias = unwhiten(variables[:-1]), variables[-1] / bias_scale
        self.converged &= bool(np.abs(solution.jac).max() <= 10 * TOLERANCE)

    def _whitening(self, c: float) -> tuple[np.ndarray, float]:
        """Cholesky factor of a model of the Hessian, and the root of the bias's second derivative.

        The model is the Hessian at equal class probabilities p = 1/K, where it is p(1 - p) X'X.
        """
        from scipy.linalg import cholesky

        classes = max(2, len(self._seen))
        curvature = (1 - 1 / classes) / classes
        model = curvature * self._gram
        # The Gram matrix comes from float32 products: what they cannot resolve must not decide
        # whether the factorisation succeeds.
        rounding = 1e-6 * np.trace(model) / len(model)
        model[np.diag_indices_from(model)] += 1 / c + rounding
        factor = cholesky(model, lower=True, overwrite_a=True, check_finite=False)
        return factor, float(np.sqrt(curvature * len(self._targets)))

    def _cross_entropy(self, weights, bias) -> tuple[float, np.ndarray, np.ndarray]:
        """Summed cross-entropy and its derivatives; float32 products, float64 sums."""
        logits = self._embeddings @ weights.astype(np.float32) + bias.astype(np.float32)
        every_row = np.arange(len(logits))
        logits -= logits.max(axis=1, keepdims=True)
        at_target = logits[every_row, self._targets].sum(dtype=np.float64)
        np.exp(logits, out=logits)
        totals = logits.sum(axis=1, keepdims=True)
        loss = np.log(totals).sum(dtype=np.float64) - at_target
        logits /= totals
        logits[every_row, self._targets] -= 1
        by_weights = (self._embeddings.T @ logits).astype(np.float64)
        return float(loss), by_weights, logits.sum(axis=0, dtype=np.float64)

    def logits(self, embeddings: np.ndarray) -> np.ndarray:
        """`[rows, classes]` for standardised embeddings."""
        weights = self._weights.astype(np.float32)
        if self._basis is not None:
            weights = self._basis @ weights
        logits = np.full((len(embeddings), self._n_classes), -np.inf, np.float32)
        logits[:, self._seen] = embeddings @ weights + self._bias.astype(np.float32)
        return logits
