"""Sampling of the clips and views of training steps, and their embeddings.

Everything is a pure function of the seed and the step: training that was interrupted goes on with
the batches it would have seen, without a history to restore.
"""

import hashlib
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from hares_tf.evaluation.errors import EvaluationError

Batch = tuple[np.ndarray, np.ndarray]
Feed = Callable[[int, int], Batch]

# Bytes; that of TensorFlow's own tensors (EIGEN_MAX_ALIGN_BYTES).
ALIGNMENT = 64
# Independent random streams of one seed.
_ORDER, _VIEWS = 0, 1
# Philox makes four 64-bit numbers per count of its counter.
_PHILOX_BLOCK = 4


class StepSampler:
    """Clips in a new random order every epoch, one random view of each.

    The clips of all steps form one endless list: the permutations of the epochs, one after
    another. A step takes the next `batch` of it, so the rest of an epoch runs over into the next,
    and every epoch has each clip exactly once. Position p of the list has its own random number,
    which picks one of the clip's views uniformly.

    Args:
        rows_per_clip: int `[clips]`, the number of views of each clip; the rows of a clip are
            adjacent, clips in order.
        batch: clips per step.
        seed: of all random choices; not negative.

    Attributes:
        rows_per_clip, batch, seed: as given.

    Raises:
        EvaluationError: there are no clips, a clip without views, or no batch.
    """

    def __init__(self, rows_per_clip: np.ndarray, batch: int, seed: int):
        self.rows_per_clip = np.asarray(rows_per_clip, np.int64)
        if self.rows_per_clip.ndim != 1 or not len(self.rows_per_clip):
            raise EvaluationError("There are no training clips: nothing can be trained on them.")
        if self.rows_per_clip.min() < 1:
            clip = int(self.rows_per_clip.argmin())
            raise EvaluationError(f"Training clip {clip} has no embedding: leave it out.")
        if batch < 1 or seed < 0:
            raise EvaluationError(
                f"A batch of {batch} clips with seed {seed} is not possible: give a batch of at "
                "least 1 and a seed of at least 0."
            )
        self._first_rows = np.cumsum(self.rows_per_clip) - self.rows_per_clip
        self.batch = batch
        self.seed = seed
        self._key = np.random.SeedSequence([seed, _VIEWS]).generate_state(2, np.uint64)
        self._epoch, self._order = -1, np.empty(0, np.int64)

    @property
    def n_rows(self) -> int:
        """Rows of all clips together."""
        return int(self.rows_per_clip.sum())

    def rows(self, first_step: int, n_steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the batches of steps `first_step` to `first_step + n_steps - 1`.

        Returns:
            Row numbers and clip numbers, both int64 `[n_steps, batch]`.
        """
        first, count = first_step * self.batch, n_steps * self.batch
        clips = self._clips(first, count)
        # A uniform number below 1, times n, is below n also after rounding.
        views = (self._uniform(first, count) * self.rows_per_clip[clips]).astype(np.int64)
        shape = (n_steps, self.batch)
        return (self._first_rows[clips] + views).reshape(shape), clips.reshape(shape)

    def _clips(self, first: int, count: int) -> np.ndarray:
        """Positions `first` to `first + count - 1` of the endless list."""
        size = len(self.rows_per_clip)
        clips = np.empty(count, np.int64)
        done = 0
        while done < count:
            epoch, offset = divmod(first + done, size)
            part = self._permutation(epoch)[offset : offset + count - done]
            clips[done : done + len(part)] = part
            done += len(part)
        return clips

    def _permutation(self, epoch: int) -> np.ndarray:
        # The last one is kept: many ranges of steps fall into one epoch.
        if epoch != self._epoch:
            random = np.random.default_rng([self.seed, _ORDER, epoch])
            self._order = random.permutation(len(self.rows_per_clip))
            self._epoch = epoch
        return self._order

    def _uniform(self, first: int, count: int) -> np.ndarray:
        """Draws one number in [0, 1) per position, by a counter-based generator."""
        block, skip = divmod(first, _PHILOX_BLOCK)
        random = np.random.Generator(np.random.Philox(key=self._key, counter=block))
        return random.random(skip + count)[skip:]


class EmbeddingFeed:
    """Batches of stored embeddings, gathered step by step; nothing is loaded as a whole.

    Args:
        embeddings: float32 `[rows, dim]`, also a memory map that is larger than the memory.
        targets: int `[clips, groups]` or float `[clips, tags]`; with one row per embedding
            (`[rows, ...]`) every view has targets of its own, as mixed clips need.
        sampler: chooses the rows.

    Attributes:
        identity: a digest of the shapes, of what the sampler depends on, of the targets (a sample
            where they exceed 64 MiB) and of a sample of the embeddings. It tells a checkpoint
            whether it belongs to this data.

    Raises:
        EvaluationError: the arrays do not belong together.
    """

    # What the digest reads: few embeddings (a disk may have to look for each), many targets.
    _DIGEST_EMBEDDINGS, _DIGEST_TARGET_BYTES = 256, 64 * 2**20

    def __init__(self, embeddings: np.ndarray, targets: np.ndarray, sampler: StepSampler):
        clips = len(sampler.rows_per_clip)
        if embeddings.ndim != 2 or embeddings.dtype != np.float32:
            raise EvaluationError(
                f"Embeddings must be float32 [rows, dim], not {embeddings.dtype} "
                f"{list(embeddings.shape)}."
            )
        if len(embeddings) != sampler.n_rows or len(targets) not in (clips, sampler.n_rows):
            raise EvaluationError(
                f"{len(embeddings)} rows of embeddings and {len(targets)} of targets do not belong "
                f"to {clips} clips with {sampler.n_rows} rows."
            )
        self._embeddings, self._targets, self._sampler = embeddings, targets, sampler
        self._targets_by_row = len(targets) != clips
        self.identity = self._digest()

    def __call__(self, first_step: int, n_steps: int) -> Batch:
        """float32 `[n_steps, batch, dim]` and targets `[n_steps, batch, ...]`."""
        rows, clips = self._sampler.rows(first_step, n_steps)
        return (
            _gather(self._embeddings, rows),
            _gather(self._targets, rows if self._targets_by_row else clips),
        )

    def _digest(self) -> str:
        digest = hashlib.sha256(f"{self._sampler.seed} {self._sampler.batch}".encode())
        digest.update(self._sampler.rows_per_clip.tobytes())
        target_bytes = max(1, self._targets[:1].nbytes)
        for array, most in (
            (self._embeddings, self._DIGEST_EMBEDDINGS),
            (self._targets, max(1, self._DIGEST_TARGET_BYTES // target_bytes)),
        ):
            digest.update(f"{array.dtype} {array.shape}".encode())
            some = np.linspace(0, len(array) - 1, min(len(array), most)).astype(np.int64)
            digest.update(_gather(array, some).tobytes())
        return digest.hexdigest()


def _gather(array: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """A plain array in memory, also of a memory map; the numbers must be within bounds."""
    result = _aligned((*numbers.shape, *array.shape[1:]), array.dtype)
    # numpy would check the bounds on a second copy of the result.
    return np.take(array, numbers, axis=0, out=result, mode="clip")


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An uninitialized array that starts where TensorFlow can use it without a copy."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def prefetched(feed: Feed, start: int, stop: int, chunk: int) -> Generator[Batch]:
    """The feed's chunks of steps; the next one is made while the caller works with the last."""
    with ThreadPoolExecutor(1) as background:
        pending = background.submit(feed, start, min(chunk, stop - start))
        while start < stop:
            ready = pending.result()
            start += len(ready[0])
            if start < stop:
                pending = background.submit(feed, start, min(chunk, stop - start))
            yield ready
