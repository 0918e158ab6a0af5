"""The schedule of clips: which ones a training step reads, as a pure function of seed and step.

A block is a run of neighboring records of one shard, which the reader reads in one piece. Every
host owns a fixed part of the blocks. In each epoch a host reads its blocks in a new order, and the
records of each block in a new order. Resuming at a step therefore needs no state.
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
# Independent random streams of one seed.
_BLOCKS, _RECORDS, CROPS = range(3)


@dataclass(frozen=True)
class Blocks:
    """Blocks of clips, with one array per property, all int64 `[n_blocks]`.

    Attributes:
        shard: index of the shard.
        offset: byte offset of the block in the shard.
        first: number of the first clip, which identifies the block on every host.
        clips: number of clips.
    """

    shard: np.ndarray
    offset: np.ndarray
    first: np.ndarray
    clips: np.ndarray

    def take(self, rows: np.ndarray) -> "Blocks":
        """Returns some of the blocks."""
        return Blocks(self.shard[rows], self.offset[rows], self.first[rows], self.clips[rows])


def all_blocks(clips: ClipSet, block_clips: int = BLOCK_CLIPS) -> Blocks:
    """Cuts the shards into blocks of up to `block_clips` clips and MAX_BLOCK_BYTES bytes."""
    if block_clips < 1:
        raise DataError(f"block_clips must be at least 1, not {block_clips}.")
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
    """Distributes all blocks over the hosts.

    Blocks are dealt in order of their numbers of clips, so that hosts differ by at most one block.
    """
    if hosts < 1:
        raise DataError(f"The number of hosts must be at least 1, not {hosts}.")
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
    """Returns the number of full steps in which every clip is read at most once.

    Args:
        clips: the clips to read.
        replica_batch: number of clips of one replica in one step.
        replicas: number of replicas of one host.
        hosts: number of hosts that read together.
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
            raise DataError(f"{name} must be at least 1, not {value}.")
    step_clips = replicas * replica_batch
    smallest = min(int(part.clips.sum()) for part in parts)
    if smallest < step_clips:
        shared = f", {smallest} for the smallest of {len(parts)} hosts" if len(parts) > 1 else ""
        raise DataError(
            f"One step takes {step_clips} clips on a host ({replicas} replicas x {replica_batch}), "
            f"but {clips.name} has {clips.n_clips} clips{shared}: take a smaller batch or prepare "
            "more clips."
        )
    return smallest // step_clips


def random_bits(
    seed: int, epoch: tf.Tensor, stream: int, first: tf.Tensor, count: tf.Tensor, width: int = 1
) -> tf.Tensor:
    """Returns random uint64 `[count, width]` for items `first ... first + count - 1`.

    Philox computes two numbers of 64 bits from a key and a counter. The key is derived from seed
    and epoch; the upper half of the counter is the stream, its lower half the item, so that an
    item's numbers do not depend on which others are computed in the same call.
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
    """Returns a uniformly random permutation of `0 ... count - 1`, int64 `[count]`.

    The arguments are those of `random_bits`, whose numbers are sorted. The four rounds of
    `tf.random.experimental.index_shuffle` are uneven for few elements: of 16, some come first
    three times less often than they should.
    """
    bits = random_bits(seed, epoch, stream, first, count)[:, 0]
    return tf.cast(tf.argsort(tf.bitcast(bits, tf.int64), stable=True), tf.int64)


class Schedule:
    """The clips that one host reads, step by step.

    The arguments are those of `hares_tf.data.reader.batches`.
    """

    def __init__(self, clips, *, replica_batch, seed, replicas, host, hosts, block_clips):
        self.seed = seed
        self.step_clips = replicas * replica_batch
        parts = host_blocks(clips, hosts, block_clips)
        if not 0 <= host < hosts:
            raise DataError(f"The host must be from 0 to {hosts - 1}, not {host}.")
        self.blocks = parts[host]
        self.steps_per_epoch = _steps(clips, parts, replica_batch=replica_batch, replicas=replicas)

    def position(self, step: int) -> tuple[int, int]:
        """Returns the epoch of a step and the number of clips that it reads before the step."""
        if step < 0:
            raise DataError(f"Steps count from 0; there is no step {step}.")
        epoch, step = divmod(step, self.steps_per_epoch)
        return epoch, step * self.step_clips

    def pieces(self, epoch: tf.Tensor, skip: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns an epoch's blocks in order, without its first `skip` clips and its remainder.

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
        """Returns the order of the records of the block of clip `first`, int64 `[count]`."""
        return random_order(self.seed, epoch, _RECORDS, first, count)
