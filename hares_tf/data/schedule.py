"""Which clips a training step reads: a pure function of the seed and the step.

A block is a run of neighbouring records of one shard, which the reader reads in one piece. Every
host owns a fixed part of the blocks. In each epoch a host goes through its blocks in a new order,
and through the records of each block in a new order. Resuming at a step therefore needs no state.
"""

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from hares_tf.data.clip_set import ClipSet
from hares_tf.data.errors import DataError

BLOCK_CLIPS = 16
# Longer runs are cut, so that sets of long recordings do not need more memory: 16 clips of ten
# seconds are 5 MB.
MAX_BLOCK_BYTES = 32 * 2**20
# The independent uses of one seed.
_BLOCKS, _RECORDS, CROPS = range(3)


@dataclass(frozen=True)
class Blocks:
    """Blocks of clips, a column for each property, all int64 `[n_blocks]`.

    Attributes:
        shard: index of the shard.
        offset: where the block begins in it, in bytes.
        first: the number of its first clip (which names the block, whoever reads it).
        clips: how many it has.
    """

    shard: np.ndarray
    offset: np.ndarray
    first: np.ndarray
    clips: np.ndarray

    def take(self, rows: np.ndarray) -> "Blocks":
        """Some of the blocks."""
        return Blocks(self.shard[rows], self.offset[rows], self.first[rows], self.clips[rows])


def all_blocks(clips: ClipSet, block_clips: int = BLOCK_CLIPS) -> Blocks:
    """Cuts the shards into blocks of up to `block_clips` clips and MAX_BLOCK_BYTES bytes."""
    if block_clips < 1:
        raise DataError(f"Blocks have at least one clip, not {block_clips}")
    rows = []
    first = 0
    for number, shard in enumerate(clips.shards):
        bounds = [*clips.offsets[first : first + shard.clips].tolist(), shard.bytes]
        begin = 0
        while begin < shard.clips:
            start = bounds[begin]
            end = min(begin + block_clips, shard.clips)
            if bounds[end] - start > MAX_BLOCK_BYTES:
                end = max(begin + 1, bisect_right(bounds, start + MAX_BLOCK_BYTES) - 1)
            rows.append((number, start, first + begin, end - begin))
            begin = end
        first += shard.clips
    return Blocks(*np.array(rows, np.int64).T)


def host_blocks(clips: ClipSet, hosts: int, block_clips: int = BLOCK_CLIPS) -> list[Blocks]:
    """Deals the blocks to the hosts: disjoint, together all of them.

    Dealt in order of their numbers of clips, so that hosts differ by at most one block's clips.
    """
    if hosts < 1:
        raise DataError(f"There is at least one host, not {hosts}")
    blocks = all_blocks(clips, block_clips)
    order = np.argsort(-blocks.clips, kind="stable")
    return [blocks.take(order[host::hosts]) for host in range(hosts)]


def steps_per_epoch(
    clips: ClipSet,
    replica_batch: int,
    replicas: int = 1,
    hosts: int = 1,
    block_clips: int = BLOCK_CLIPS,
) -> int:
    """Number of steps until every clip was read once, but for left-overs of less than a step.

    Args:
        clips: what is read.
        replica_batch: clips of one replica in one step.
        replicas: replicas of one host.
        hosts: hosts that read together.
        block_clips: as for `batches`.

    Raises:
        DataError: a host has fewer clips than one step takes.
    """
    return _steps(
        clips,
        host_blocks(clips, hosts, block_clips),
        replica_batch=replica_batch,
        replicas=replicas,
    )


def _steps(clips: ClipSet, parts: list[Blocks], *, replica_batch: int, replicas: int) -> int:
    for name, value in (("replica_batch", replica_batch), ("replicas", replicas)):
        if value < 1:
            raise DataError(f"{name} is at least 1, not {value}")
    step_clips = replicas * replica_batch
    smallest = min(int(part.clips.sum()) for part in parts)
    if smallest < step_clips:
        shared = f", {smallest} for the smallest of {len(parts)} hosts" if len(parts) > 1 else ""
        raise DataError(
            f"One step takes {step_clips} clips on a host ({replicas} replicas x {replica_batch}), "
            f"but {clips.name} has {clips.n_clips} clips{shared}: take a smaller batch or prepare "
            "more clips"
        )
    return smallest // step_clips


def random_bits(
    seed: int, epoch: tf.Tensor, stream: int, first: tf.Tensor, count: tf.Tensor, width: int = 1
) -> tf.Tensor:
    """Random uint64 `[count, width]` for the things numbered `first ... first + count - 1`.

    Philox makes its numbers from a key and a counter: two of 64 bits at each count. The key stands
    for seed and epoch, the counter's upper half for the use, its lower half for the thing, so that
    a thing's numbers do not depend on what is asked together with it.
    """
    counts = (width + 1) // 2
    key, _ = tf.raw_ops.StatelessRandomGetKeyCounter(
        seed=tf.stack([tf.constant(seed, tf.int64), epoch])
    )
    bits = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=tf.stack([count, 2 * counts]),
        key=key,
        counter=tf.cast(tf.stack([first * counts, stream]), tf.uint64),
        alg=int(tf.random.Algorithm.PHILOX.value),
        dtype=tf.uint64,
    )
    return bits[:, :width]


def random_order(seed: int, epoch: tf.Tensor, stream: int, first, count) -> tf.Tensor:
    """A uniformly random order of `0 ... count - 1`, int64 `[count]`; arguments as above.

    Sorted random numbers: the four rounds of `tf.random.experimental.index_shuffle` are visibly
    uneven for few elements (of 16, some come first three times less often than they should).
    """
    bits = random_bits(seed, epoch, stream, first, count)[:, 0]
    return tf.cast(tf.argsort(tf.bitcast(bits, tf.int64), stable=True), tf.int64)


class Schedule:
    """What one host reads, step after step.

    Args: as `hares_tf.data.reader.batches`.
    """

    def __init__(self, clips, *, replica_batch, seed, replicas, host, hosts, block_clips):
        self.seed = seed
        self.step_clips = replicas * replica_batch
        parts = host_blocks(clips, hosts, block_clips)
        if not 0 <= host < hosts:
            raise DataError(f"host is between 0 and {hosts - 1}, not {host}")
        self.blocks = parts[host]
        self.steps_per_epoch = _steps(clips, parts, replica_batch=replica_batch, replicas=replicas)

    def position(self, step: int) -> tuple[int, int]:
        """The epoch of a step, and how many clips of that epoch were read before it."""
        if step < 0:
            raise DataError(f"Steps count from 0; there is no step {step}")
        epoch, step = divmod(step, self.steps_per_epoch)
        return epoch, step * self.step_clips

    def pieces(self, epoch: tf.Tensor, skip: tf.Tensor) -> dict[str, tf.Tensor]:
        """An epoch's blocks in order, without its first `skip` clips and its left-over ones.

        Returns:
            epoch, row (of `self.blocks`), begin, end (of the block's permuted records), each
            int64 `[pieces]`.
        """
        count = tf.constant(len(self.blocks.clips), tf.int64)
        order = random_order(self.seed, epoch, _BLOCKS, tf.zeros([], tf.int64), count)
        sizes = tf.gather(tf.constant(self.blocks.clips), order)
        before = tf.cumsum(sizes, exclusive=True)
        used = tf.constant(self.steps_per_epoch * self.step_clips, tf.int64)
        begin = tf.clip_by_value(skip - before, 0, sizes)
        end = tf.clip_by_value(used - before, 0, sizes)
        kept = end > begin
        row = tf.boolean_mask(order, kept)
        return {
            "epoch": tf.fill(tf.shape(row), epoch),
            "row": row,
            "begin": tf.boolean_mask(begin, kept),
            "end": tf.boolean_mask(end, kept),
        }

    def records(self, epoch: tf.Tensor, first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """The order of the records of a block that begins with clip `first`, int64 `[count]`."""
        return random_order(self.seed, epoch, _RECORDS, first, count)
