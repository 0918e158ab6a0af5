"""Examples: embeddings of clips with their labels, in memory or, where they are large, on disk."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hares_tf.evaluation.tasks.labels import Labels

# A matrix above this lies in a file that is mapped into memory: then what an evaluation holds in
# anonymous memory does not grow with the data, and the system may drop the pages when it has to.
IN_MEMORY_BYTES = 128 * 2**20
_BLOCK_BYTES = 64 * 2**20


def matrix(rows: int, dim: int, scratch: str | os.PathLike[str]) -> np.ndarray:
    """An uninitialized float32 `[rows, dim]`; a large one is mapped from an unnamed file.

    The file has no name, so that it is gone when the process ends, however it ends.

    Args:
        rows, dim: its shape.
        scratch: folder for the file.
    """
    if 4 * rows * dim <= IN_MEMORY_BYTES:
        return np.empty((rows, dim), np.float32)
    os.makedirs(scratch, exist_ok=True)
    with tempfile.TemporaryFile(dir=os.fspath(scratch)) as file:
        # Reserves the space now: a full disk is an error here, not a crash at some later write.
        os.posix_fallocate(file.fileno(), 0, 4 * rows * dim)
        return np.memmap(file, np.float32, "r+", shape=(rows, dim))


def blocks(rows: int, dim: int) -> Iterator[slice]:
    """Slices of rows that hold about 64 MB of float32 each."""
    step = max(1, _BLOCK_BYTES // (4 * max(1, dim)))
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))


@dataclass(frozen=True)
class Examples:
    """Embeddings of clips with their labels.

    Attributes:
        embeddings: float32 `[rows, dim]`, one row a window; may be mapped from a file.
        rows_per_clip: `[clips]`; the rows of a clip are adjacent, clips in order.
        targets: `[clips, groups]` numbers or `[clips, tags]` shares (see `Labels.targets`).
        parts: `[clips]` split or fold of each clip.
        ids: `[clips]` names.
        labels: the label space.
        scratch: folder for large temporary matrices.
    """

    embeddings: np.ndarray
    rows_per_clip: np.ndarray
    targets: np.ndarray
    parts: np.ndarray
    ids: np.ndarray
    labels: Labels
    scratch: str | os.PathLike[str] = "."

    def __len__(self) -> int:
        return len(self.rows_per_clip)

    def select(self, clips: np.ndarray) -> "Examples":
        """The examples of a boolean mask over clips; embeddings are copied."""
        rows = np.flatnonzero(np.repeat(clips, self.rows_per_clip))
        dim = self.embeddings.shape[1]
        chosen = matrix(len(rows), dim, self.scratch)
        for block in blocks(len(rows), dim):
            np.take(self.embeddings, rows[block], axis=0, out=chosen[block], mode="clip")
        return Examples(
            chosen,
            self.rows_per_clip[clips],
            self.targets[clips],
            self.parts[clips],
            self.ids[clips],
            self.labels,
            self.scratch,
        )

    def of_parts(self, *parts: str) -> "Examples":
        """The examples of some splits or folds; all of them are not copied."""
        clips = np.isin(self.parts, parts)
        return self if clips.all() else self.select(clips)

    @property
    def row_targets(self) -> np.ndarray:
        """`[rows, ...]` targets: every window carries its clip's."""
        return np.repeat(self.targets, self.rows_per_clip, axis=0)


def clip_scores(logits: np.ndarray, rows_per_clip: np.ndarray) -> np.ndarray:
    """Mean over the windows of each clip: `[rows, width]` -> `[clips, width]`."""
    starts = np.concatenate([[0], np.cumsum(rows_per_clip)[:-1]])
    return np.add.reduceat(logits, starts, axis=0) / rows_per_clip[:, None]


def probabilities(logits: np.ndarray, labels: Labels) -> np.ndarray:
    """Softmax within each group, or sigmoid for tags: `[rows, width]` -> `[rows, width]`."""
    from scipy.special import expit, softmax

    if labels.kind == "tags":
        return expit(logits)
    return np.concatenate([softmax(logits[:, block], axis=1) for block in labels.blocks], axis=1)
