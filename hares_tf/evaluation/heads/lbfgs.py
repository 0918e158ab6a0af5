"""L-BFGS for many independent problems whose objectives are computed together.

Tags are independent of each other, slots as well. As one problem they would share every step and
its memory, and the most difficult tag would set the pace for all. Here each has its own step, line
search and memory; only the products that compute the objectives are shared.

Reference: Nocedal and Wright, Numerical Optimization (2006), algorithms 7.4 (two-loop recursion)
and 3.1 (backtracking). Objectives are convex, so that s'y > 0 needs no second Wolfe condition.
"""

from collections.abc import Callable

import numpy as np

MEMORY = 10
SUFFICIENT_DECREASE = 1e-4
# A backtracking step goes to the minimum of a parabola, within these shares of the step.
SHORTEST, LONGEST = 0.1, 0.5


class Lbfgs:
    """A solver of all problems together; see `step`.

    Args:
        start: float64 `[rows, columns]` variables, scaled so that Hessians are near the identity.
        values: `[problems]` objectives at the start.
        gradient: `[rows, columns]` there.
        problems: `[problems]` the first column of each problem.
        noise: what `values` do not resolve, as a share of them.

    Attributes:
        variables, values, gradient: the best so far.
    """

    def __init__(self, start, values, gradient, problems: np.ndarray, noise: float):
        self.variables, self.values, self.gradient = start, values, gradient
        self._problems, self._noise = problems, noise
        self._sizes = np.diff(np.append(problems, start.shape[1]))
        # (s, y, 1 / s'y), the latest last; float32, for they may be most of the memory.
        self._pairs: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._length = np.ones(len(problems))
        self._direction = -gradient

    def step(self, evaluate: Callable, active: np.ndarray) -> None:
        """Evaluates all objectives once; every active problem takes its step or shortens it.

        Args:
            evaluate: variables -> objectives `[problems]`, gradient `[rows, columns]`.
            active: `[problems]` booleans; the others stay where they are.
        """
        move = self._direction * self._columns(self._length)
        slope = self._dots(self._direction, self.gradient)
        values, gradient = evaluate(self.variables + move)
        enough = self.values + SUFFICIENT_DECREASE * self._length * slope
        taken = active & (values <= enough + self._noise * np.abs(self.values))

        # The parabola through both values and the slope has its minimum at this share of the step.
        with np.errstate(divide="ignore", invalid="ignore"):
            rise = values - self.values - self._length * slope
            share = np.nan_to_num(-self._length * slope / (2 * rise), nan=LONGEST)
        shorter = self._length * np.clip(share, SHORTEST, LONGEST)
        self._length = np.where(taken, 1.0, shorter)

        where = self._columns(taken)
        move *= where
        change = np.where(where, gradient - self.gradient, 0)
        self._remember(move, change)
        self.variables = self.variables + move
        self.gradient = self.gradient + change
        self.values = np.where(taken, values, self.values)
        self._direction = np.where(where, self._next_direction(), self._direction)

    def _remember(self, move: np.ndarray, change: np.ndarray) -> None:
        """Keeps a pair; for problems without a usable one it is zero, and has no effect."""
        product = self._dots(move, change)
        usable = product > 1e-12 * np.sqrt(self._dots(move, move) * self._dots(change, change))
        inverse = np.divide(1.0, product, out=np.zeros_like(product), where=usable)
        self._pairs = self._pairs[-(MEMORY - 1) :]
        self._pairs.append((move.astype(np.float32), change.astype(np.float32), inverse))

    def _next_direction(self) -> np.ndarray:
        direction = -self.gradient
        shares = []
        for s, y, inverse in reversed(self._pairs):
            share = self._dots(s, direction) * inverse
            direction -= y * self._columns(share)
            shares.append(share)
        scale = np.ones(len(self._problems))
        for s, y, inverse in self._pairs:  # the latest usable pair decides
            length = self._dots(y, y)
            np.divide(self._dots(s, y), length, out=scale, where=inverse > 0)
        direction *= self._columns(scale)
        for (s, y, inverse), share in zip(self._pairs, reversed(shares), strict=True):
            direction += s * self._columns(share - self._dots(y, direction) * inverse)
        # Rounding may turn the direction: then start again from the steepest one.
        downhill = self._dots(direction, self.gradient) < 0
        return np.where(self._columns(downhill), direction, -self.gradient)

    def _columns(self, of_problems: np.ndarray) -> np.ndarray:
        """A number for each problem -> one for each column."""
        return np.repeat(of_problems, self._sizes)

    def _dots(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Inner products of each problem."""
        by_column = np.einsum("ij,ij->j", left, right, dtype=np.float64)
        return np.add.reduceat(by_column, self._problems)
