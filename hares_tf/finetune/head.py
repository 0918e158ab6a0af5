"""The head: logistic regression on frozen embeddings, also in the form of one dense layer."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hares_tf.evaluation.heads.examples import blocks, matrix
from hares_tf.evaluation.heads.logistic import LogisticPath
from hares_tf.evaluation.heads.scaling import Standardizer
from hares_tf.evaluation.protocols.heads import LINEAR_C
from hares_tf.evaluation.tasks.labels import Labels


@dataclass(frozen=True)
class Head:
    """Logits of standardized embeddings: `(embedding - mean) * scale @ weights + bias`.

    Attributes:
        mean, scale: float64 `[dim]`; the scale of a constant feature is 0.
        weights: `[dim, classes]`.
        bias: `[classes]`.
    """

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    def dense(self) -> tuple[np.ndarray, np.ndarray]:
        """Kernel `[dim, classes]` and bias `[classes]`, float32: `embedding @ kernel + bias`."""
        kernel = self.scale[:, None] * self.weights.astype(np.float64)
        return kernel.astype(np.float32), (self.bias - self.mean @ kernel).astype(np.float32)


@dataclass(frozen=True)
class Embedded:
    """Embeddings of the windows of clips.

    Attributes:
        embeddings: float32 `[windows, dim]`; may be mapped from a file.
        rows_per_clip: `[clips]`; the windows of a clip are adjacent, clips in order.
        targets: `[clips]` classes.
    """

    embeddings: np.ndarray
    rows_per_clip: np.ndarray
    targets: np.ndarray


@dataclass(frozen=True)
class Score:
    """Accuracy and loss of clips.

    Attributes:
        accuracy: share of clips whose class is right, in percent.
        loss: mean cross-entropy.
    """

    accuracy: float
    loss: float

    def better_than(self, other: "Score") -> bool:
        """Whether the accuracy is higher or, as is common in small splits, equal with less loss."""
        return (self.accuracy, -self.loss) > (other.accuracy, -other.loss)


def score(logits: np.ndarray, targets: np.ndarray) -> Score:
    """Scores logits `[clips, classes]`; a clip whose logits are not finite is wrong."""
    right = (np.argmax(logits, axis=1) == targets) & np.isfinite(logits).all(axis=1)
    with np.errstate(invalid="ignore"):
        loss = float(np.mean(-log_softmax(logits)[np.arange(len(targets)), targets]))
    return Score(100.0 * float(np.mean(right)), loss if np.isfinite(loss) else np.inf)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Logarithms of probabilities `[clips, classes]`, float64."""
    logits = np.asarray(logits, np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def clip_means(rows: np.ndarray, rows_per_clip: np.ndarray) -> np.ndarray:
    """Means over the windows of each clip: `[rows, n]` -> `[clips, n]`."""
    starts = np.cumsum(rows_per_clip) - rows_per_clip
    return np.add.reduceat(rows, starts, axis=0) / rows_per_clip[:, None]


@dataclass(frozen=True)
class FittedHead:
    """Result of fitting.

    Attributes:
        best: the head that is best on validation clips.
        score: its score on them.
        start: the head that training starts from: the most regularized one whose accuracy on them
            is within one standard error of the best. Large weights would turn the first small
            changes of the encoder into large changes of the logits.
        choice: how both were chosen, as JSON data.
    """

    best: Head
    score: Score
    start: Head
    choice: dict


def fit_head(
    train: Embedded,
    validation: Embedded,
    classes: Sequence[str],
    scratch: str | os.PathLike,
    on_fit: Callable[[int], None] = lambda fits: None,
) -> FittedHead:
    """Fits on the windows of training clips for every C of `fast/2`, and scores on validation.

    Args:
        train, validation: see `Embedded`.
        classes: their names.
        scratch: folder for a large temporary matrix.
        on_fit: called with 1 after each of `len(LINEAR_C)` fits.

    Raises:
        EvaluationError: embeddings that are not finite.
    """
    dim = train.embeddings.shape[1]
    standardize = Standardizer(train.embeddings)
    rows = standardize(train.embeddings, out=matrix(len(train.embeddings), dim, scratch))
    targets = np.repeat(train.targets, train.rows_per_clip).astype(np.int32)[:, None]
    path = LogisticPath(rows, targets, Labels.classes(classes))
    # In float64, mean and scale follow from the standardized 0 and 1.
    zero, one = standardize(np.stack([np.zeros(dim), np.ones(dim)]))
    scale = one - zero
    mean = np.divide(-zero, scale, out=np.zeros(dim), where=scale != 0)
    heads, scores = [], []
    for c in LINEAR_C:
        path.fit(c)
        heads.append(Head(mean, scale, *_affine(path, dim)))
        kernel, bias = heads[-1].dense()
        logits = clip_means(validation.embeddings @ kernel + bias, validation.rows_per_clip)
        scores.append(score(logits, validation.targets))
        on_fit(1)
    best = 0
    for index, candidate in enumerate(scores):
        if candidate.better_than(scores[best]):
            best = index
    share = scores[best].accuracy / 100
    error = 100 * np.sqrt(share * (1 - share) / len(validation.targets))
    enough = [candidate.accuracy >= scores[best].accuracy - error for candidate in scores]
    start = min(enough.index(True), best)
    choice = {
        "c": LINEAR_C[best],
        "c_of_start": LINEAR_C[start],
        "validation_accuracies": {
            str(c): candidate.accuracy for c, candidate in zip(LINEAR_C, scores, strict=True)
        },
        "converged": path.converged,
    }
    return FittedHead(heads[best], scores[best], heads[start], choice)


def _affine(path: LogisticPath, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights and bias of the fitted head, read from its logits of 0 and of unit vectors."""
    bias = path.logits(np.zeros((1, dim), np.float32))[0]
    weights = np.empty((dim, len(bias)), np.float32)
    for block in blocks(dim, dim):
        unit = np.zeros((block.stop - block.start, dim), np.float32)
        unit[:, block] = np.eye(block.stop - block.start, dtype=np.float32)
        weights[block] = path.logits(unit) - bias
    return weights, bias
