"""Logistic regression for a path of regularization strengths.

Minimizes summed cross-entropy + |W|^2 / 2C over rows; the bias is free. The cross-entropy is a
softmax per group of labels (classes, slots) or a sigmoid per tag. L-BFGS does the work, in
coordinates in which it is quick: embeddings are strongly correlated, so in their own coordinates it
crawls (scikit-learn's solver stops at twice the optimal objective for large C). Whitening with the
Cholesky factor of a model of the Hessian keeps the objective and changes only the path to it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.heads.examples import blocks
from hares_tf.evaluation.heads.lbfgs import Lbfgs
from hares_tf.evaluation.heads.scaling import row_space
from hares_tf.evaluation.tasks.labels import Labels

# Where a group or tag stops: the decrease that the model of the Hessian still promises, as a share
# of its objective. Compared with float64 solutions to the end (35 classes, C from 1e-4 to 1000,
# separable and not), at 1e-7 the objective is within 3e-6 and accuracy within 0.04 points.
TOLERANCE = 1e-7
# Up to here a fit counts as converged: accuracy was within 0.25 points.
CONVERGED = 1e-5
# Float32 may end a fit earlier: when the objective falls by less than the tolerance in so many
# steps.
STALL_STEPS = 10
MAX_ITERATIONS = 1000
# Objectives are resolved to about this share; a step that rises by less is not refused.
NOISE = 1e-7
# The logit of a tag that no training row has (its negative, where all have it). The optimum of the
# bias is minus infinity, which no mean over windows and no ranking could use.
ABSENT_LOGIT = -30.0


class LogisticPath:
    """Solutions for one C after another, each started from the one before.

    Args:
        embeddings: standardized float32 `[rows, dim]`; may be mapped from a file.
        targets: `[rows, groups]` numbers or `[rows, tags]` shares from 0 to 1 (`Labels.targets`).
        labels: the label space. A name of a softmax without rows gets minus infinity as its logit,
            a tag without positive rows the constant `ABSENT_LOGIT`.
        tolerance: where a fit stops, see `TOLERANCE`.

    Attributes:
        converged: whether every fit so far ended where its model of the Hessian promises a decrease
            of at most `CONVERGED` of the objective, for each group or tag.

    Raises:
        EvaluationError: embeddings that are not finite.
    """

    def __init__(
        self,
        embeddings: np.ndarray,
        targets: np.ndarray,
        labels: Labels,
        tolerance: float = TOLERANCE,
    ):
        self._tolerance = tolerance
        self._basis, self._embeddings = row_space(np.asarray(embeddings, np.float32))
        make = _Sigmoids if labels.kind == "tags" else _Softmaxes
        self._loss = make(targets, labels)
        self._gram = _gram(self._embeddings)
        bias = self._loss.first_bias()
        self._point = self._evaluate(np.zeros((self._embeddings.shape[1], len(bias))), bias)
        if not np.all(np.isfinite(self._point.losses)):
            raise EvaluationError(
                "Embeddings hold NaN or infinity: check the model with hares-check-handle."
            )
        self.converged = True

    def solution(self) -> "Solution":
        """Returns the last fit, for `start_from` of another path."""
        weights = self._point.weights
        if self._basis is not None:
            weights = self._basis @ weights
        return Solution(weights, self._point.bias, self._loss.fitted)

    def start_from(self, solution: "Solution", convert: Callable) -> None:
        """Starts the next fit from a solution for other rows, which saves most of its steps.

        Args:
            solution: for labels of the same space.
            convert: weights and bias for the other embeddings -> for these, which are scaled in
                another way.
        """
        weights, bias = convert(solution.weights, solution.bias)
        if self._basis is not None:
            weights = self._basis.T @ weights
        # A name may have rows here and none there: its column stays as it is.
        _, here, there = np.intersect1d(
            self._loss.fitted, solution.names, assume_unique=True, return_indices=True
        )
        starts = self._point.weights.copy(), self._point.bias.copy()
        starts[0][:, here], starts[1][here] = weights[:, there], bias[there]
        self._point = self._evaluate(*starts)

    def fit(self, c: float) -> None:
        """Solves for one C."""
        problems = self._loss.problems
        if not problems.size:
            return
        whitening = _Whitening(self._gram, self._point.curvatures, len(self._embeddings), c)

        def at(point: _Point) -> tuple[np.ndarray, np.ndarray]:
            """Objectives and their derivatives by the whitened variables."""
            penalties = np.sum(point.weights**2, axis=0) / (2 * c)
            values = point.losses + np.add.reduceat(penalties, problems)
            by_weights = point.by_weights + point.weights / c
            return values, whitening.gradient(by_weights, point.by_bias)

        def evaluate(variables: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return at(self._evaluate(*whitening.restore(variables)))

        start = whitening.variables(self._point.weights, self._point.bias)
        solver = Lbfgs(start, *at(self._point), problems, NOISE)
        history = [solver.values]
        active = np.ones(len(problems), bool)
        while True:
            # The decrease that the model of the Hessian promises, as a share of the objective.
            promised = np.add.reduceat(np.sum(solver.gradient**2, axis=0), problems) / 2
            left = promised / np.maximum(solver.values, np.finfo(float).tiny)
            active &= left > self._tolerance
            if len(history) > STALL_STEPS:
                fallen = history[-1 - STALL_STEPS] - solver.values
                active &= fallen > self._tolerance * solver.values
            if not active.any() or len(history) > MAX_ITERATIONS:
                break
            solver.step(evaluate, active)
            history.append(solver.values)
        self._point = self._evaluate(*whitening.restore(solver.variables))
        self.converged &= bool(np.all(left <= CONVERGED))

    def _evaluate(self, weights: np.ndarray, bias: np.ndarray) -> "_Point":
        """Losses and derivatives; float32 products, float64 sums over blocks of rows."""
        weights32, bias32 = weights.astype(np.float32), bias.astype(np.float32)
        losses = np.zeros(len(self._loss.problems))
        by_weights = np.zeros(weights.shape)
        by_bias, curvatures = np.zeros(len(bias)), np.zeros(len(bias))
        rows, dim = self._embeddings.shape
        for block in blocks(rows, max(dim, len(bias))):
            logits = self._embeddings[block] @ weights32
            logits += bias32
            found = self._loss.residuals(logits, block)
            losses += found[0]
            curvatures += found[1]
            by_weights += self._embeddings[block].T @ logits
            by_bias += logits.sum(axis=0, dtype=np.float64)
        return _Point(weights, bias, losses, by_weights, by_bias, curvatures)

    def logits(self, embeddings: np.ndarray) -> np.ndarray:
        """float32 `[rows, width]` for standardized embeddings."""
        weights = self._point.weights.astype(np.float32)
        if self._basis is not None:
            weights = self._basis @ weights
        bias = self._point.bias.astype(np.float32)
        logits = np.empty((len(embeddings), len(self._loss.constants)), np.float32)
        logits[:] = self._loss.constants
        for block in blocks(len(embeddings), max(embeddings.shape[1], len(bias))):
            logits[block, self._loss.fitted] = embeddings[block] @ weights + bias
        return logits


@dataclass(frozen=True)
class Solution:
    """A fit: `[dim, columns]` weights, `[columns]` biases, and the columns' places among all."""

    weights: np.ndarray
    bias: np.ndarray
    names: np.ndarray


@dataclass(frozen=True)
class _Point:
    """The state of a fit: `[dim, columns]` weights, `[columns]` biases, losses and derivatives.

    `curvatures` are sums over rows of p (1 - p), the second derivatives of the columns' losses.
    """

    weights: np.ndarray
    bias: np.ndarray
    losses: np.ndarray
    by_weights: np.ndarray
    by_bias: np.ndarray
    curvatures: np.ndarray


class _Whitening:
    """Coordinates in which a model of the Hessian is the identity.

    The model takes every class as independent of the others and of the place in feature space:
    column k has the Hessian h_k X'X + 1/C, where h_k is the mean of p (1 - p) over rows at the
    start of the fit. One factorisation serves all columns: the 1/C is scaled along.

    Args:
        gram: X'X `[dim, dim]`.
        curvatures: `[columns]`, see `_Point`.
        rows: of X.
        c: the regularization.
    """

    def __init__(self, gram: np.ndarray, curvatures: np.ndarray, rows: int, c: float):
        from scipy.linalg import cholesky

        # Where nothing is left to learn, a thousandth of a row keeps the division finite.
        curvatures = np.maximum(curvatures, 1e-3)
        model = gram * (curvatures.mean() / rows)
        # The Gram matrix comes from float32 products: what they cannot resolve must not decide
        # whether the factorisation succeeds.
        rounding = 1e-6 * np.trace(model) / len(model)
        model[np.diag_indices_from(model)] += 1 / c + rounding
        self._factor = cholesky(model, lower=True, overwrite_a=True, check_finite=False)
        self._columns = np.sqrt(curvatures / curvatures.mean())
        self._bias = np.sqrt(curvatures)

    def gradient(self, by_weights: np.ndarray, by_bias: np.ndarray) -> np.ndarray:
        """Derivatives -> `[dim + 1, columns]` derivatives by the whitened variables."""
        from scipy.linalg import solve_triangular

        whitened = solve_triangular(self._factor, by_weights, lower=True, check_finite=False)
        return np.vstack([whitened / self._columns, by_bias / self._bias])

    def variables(self, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """`[dim + 1, columns]` whitened variables."""
        return np.vstack([self._factor.T @ weights * self._columns, bias * self._bias])

    def restore(self, variables: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The inverse of `variables`: weights and bias."""
        from scipy.linalg import solve_triangular

        weights = solve_triangular(
            self._factor, variables[:-1] / self._columns, lower=True, trans="T", check_finite=False
        )
        return weights, variables[-1] / self._bias


class _Softmaxes:
    """Softmax cross-entropy of each group, over the names that have rows.

    Attributes:
        fitted: `[columns]` the logits that are fitted, as places among all.
        constants: `[width]` what the others are.
        problems: first column of each independent problem.
    """

    def __init__(self, targets: np.ndarray, labels: Labels):
        self._targets, self._groups, fitted = [], [], []
        stop = 0
        for column, block in zip(targets.T, labels.blocks, strict=True):
            seen, numbers = np.unique(column, return_inverse=True)
            self._targets.append(numbers.astype(np.int32))
            self._groups.append(slice(stop, stop + len(seen)))
            stop += len(seen)
            fitted.append(block.start + seen)
        self.fitted = np.concatenate(fitted)
        self.columns = len(self.fitted)
        self.constants = np.full(labels.width, -np.inf, np.float32)
        self.problems = np.array([group.start for group in self._groups])

    def first_bias(self) -> np.ndarray:
        """Logarithms of the frequencies: the solution without weights."""
        counts = [np.bincount(numbers) for numbers in self._targets]
        return np.concatenate([np.log(count / count.sum()) for count in counts])

    def residuals(self, logits: np.ndarray, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Replaces logits by derivatives; returns losses of problems and curvatures, summed."""
        losses, curvatures = [], np.empty(self.columns)
        every_row = np.arange(len(logits))
        for numbers, group in zip(self._targets, self._groups, strict=True):
            part, at = logits[:, group], (every_row, numbers[rows])
            part -= part.max(axis=1, keepdims=True)
            target = part[at].astype(np.float64)
            np.exp(part, out=part)
            # Where the target is certain, everything hangs on the others' small probabilities:
            # nothing may be computed as a difference from one.
            part[at] = 0
            others = part.sum(axis=1, dtype=np.float64)
            losses.append(np.sum(np.log1p(others + np.expm1(target)) - target))
            total = others + np.exp(target)
            part /= total[:, None].astype(np.float32)
            others /= total
            curvature = part.sum(axis=0, dtype=np.float64) - np.einsum("ij,ij->j", part, part)
            of_targets = np.bincount(at[1], others * (1 - others), minlength=part.shape[1])
            curvatures[group] = curvature + of_targets
            part[at] = -others
        return np.array(losses), curvatures


class _Sigmoids:
    """Sigmoid cross-entropy of each tag that some rows have and some do not; else see `_Softmaxes`.

    Every tag is a problem of its own.
    """

    def __init__(self, targets: np.ndarray, labels: Labels):
        self._share = targets.mean(axis=0, dtype=np.float64)
        self.fitted = np.flatnonzero((self._share > 0) & (self._share < 1))
        self.columns = len(self.fitted)
        self._share = self._share[self.fitted]
        self._targets = targets
        self.constants = np.where(targets.any(axis=0), -ABSENT_LOGIT, ABSENT_LOGIT)
        self.problems = np.arange(self.columns)

    def first_bias(self) -> np.ndarray:
        """Log odds of the frequencies: the solution without weights."""
        return np.log(self._share) - np.log1p(-self._share)

    def residuals(self, logits: np.ndarray, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """See `_Softmaxes.residuals`."""
        targets = self._targets[rows][:, self.fitted]
        small = np.exp(-np.abs(logits))
        losses = np.maximum(logits, 0) - targets * logits + np.log1p(small)
        small /= 1 + small  # the probability of the less likely side
        curvatures = small.sum(axis=0, dtype=np.float64) - np.einsum("ij,ij->j", small, small)
        positive = logits > 0
        # p - t, without a difference from one where the target is 0 or 1.
        np.copyto(logits, np.where(positive, 1 - targets - small, small - targets))
        exact = targets == positive
        np.copyto(logits, np.where(positive, -small, small), where=exact)
        return losses.sum(axis=0, dtype=np.float64), curvatures


def _gram(embeddings: np.ndarray) -> np.ndarray:
    """X'X in float64 from float32 products of blocks."""
    dim = embeddings.shape[1]
    gram = np.zeros((dim, dim))
    for block in blocks(len(embeddings), dim):
        gram += embeddings[block].T @ embeddings[block]
    return gram
