"""Batches of random crops from prepared clips.

Plain TensorFlow ops only, so that the pipeline runs where TensorFlow puts it, also on the remote
hosts of a TPU. Audio stays int16 until it is on the device. Blocks of neighbouring records are read
in one piece; of each clip only the crops are decoded.
"""

import math
import re
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from hares_tf.data.clip_set import ClipSet, check_files
from hares_tf.data.errors import DataError
from hares_tf.data.schedule import (
    BLOCK_CLIPS,
    CROPS,
    Schedule,
    random_bits,
    steps_per_epoch,
)

__all__ = ["Crops", "batches", "clips_of_step", "explain", "steps_per_epoch"]

# Blocks read at the same time. Each takes up to about three times its bytes while it is read (its
# records, their audio, the crops): some 60 MB together for clips of ten seconds.
PARALLEL_BLOCKS = 4
# What is asked of the file system at once; larger buffers were not faster from the page cache.
_BUFFER_BYTES = 2**18
# Far more epochs than anybody trains, and safe to count in int64.
_EPOCHS = 2**31
_SAMPLE_BYTES = 2


@dataclass(frozen=True)
class Crops:
    """How views are cut from a clip.

    A view is a run of min(seconds, fraction x the clip) at a uniformly random place, independently
    of the other views; it has at least one sample. What is missing to `seconds` is filled at its
    end.

    Attributes:
        views: views of each clip.
        seconds: length of a view.
        fraction: the largest part of a clip that a view takes; below 1 two views of a short clip
            differ.
        sample_rate: in Hz; the clips must have it.
        pad: what fills short views: "zeros", or "repeat" for the view again and again.
    """

    views: int = 2
    seconds: float = 3.0
    fraction: float = 1.0
    sample_rate: int = 16_000
    pad: str = "zeros"

    def __post_init__(self):
        if self.views < 1:
            raise DataError(f"A clip gives at least one view, not {self.views}")
        if not math.isfinite(self.seconds) or self.samples < 1:
            raise DataError(f"A view has at least one sample; {self.seconds} seconds have none")
        if not 0 < self.fraction <= 1:
            raise DataError(f"fraction is above 0 and at most 1, not {self.fraction}")
        if self.pad not in ("zeros", "repeat"):
            raise DataError(f'pad is "zeros" or "repeat", not {self.pad!r}')

    @property
    def samples(self) -> int:
        """Length of a view in samples."""
        return round(self.seconds * self.sample_rate)


def batches(
    clips: ClipSet,
    crops: Crops,
    *,
    replica_batch: int,
    seed: int,
    first_step: int = 0,
    replicas: int = 1,
    host: int = 0,
    hosts: int = 1,
    labels: bool = False,
    block_clips: int = BLOCK_CLIPS,
    parallel_blocks: int = PARALLEL_BLOCKS,
) -> tf.data.Dataset:
    """Batches without end, from a given step on.

    What step S reads is a pure function of (seed, S) and the sizes below; every clip is read once
    an epoch, but for the left-overs of less than a step, which are others in each epoch.

    Args:
        clips: what is read.
        crops: how it is cropped.
        replica_batch: clips in an element.
        seed: of the order and the crops.
        first_step: the step that the first element belongs to.
        replicas: replicas of this host; each takes one element of every step, in turn.
        host: number of this host.
        hosts: hosts that read together, each its own part of the clips.
        labels: whether elements have labels.
        block_clips: clips that are read together; 1 shuffles perfectly, more reads larger pieces.
        parallel_blocks: blocks that are read at the same time. The pipeline holds about three
            times their bytes, the crops of one step, and three more batches of crops.

    Returns:
        A data set of {"audio": int16 `[replica_batch, views, samples]`, "clip": int64
        `[replica_batch]`, the clips' numbers, and with `labels` "labels": float32
        `[replica_batch, n_labels]` of 0 and 1}.

    Raises:
        DataError: another sample rate, labels that are not there, fewer clips than a step takes.
            Files that change after they were opened surface as `tf.errors.OpError` (`explain`).
    """
    if clips.sample_rate != crops.sample_rate:
        raise DataError(
            f"{clips.folder} has {clips.sample_rate} Hz, {crops.sample_rate} Hz are asked for; "
            "prepare the clips at that rate"
        )
    if labels and not clips.label_names:
        raise DataError(f"{clips.folder} has no labels; prepare it with a label file")
    schedule = Schedule(
        clips,
        replica_batch=replica_batch,
        seed=seed,
        replicas=replicas,
        host=host,
        hosts=hosts,
        block_clips=block_clips,
    )
    first_epoch, skipped = schedule.position(first_step)

    def epoch_pieces(epoch):
        return schedule.pieces(epoch, skipped * tf.cast(epoch == first_epoch, tf.int64))

    dataset = tf.data.Dataset.range(first_epoch, _EPOCHS).map(epoch_pieces).prefetch(1)
    dataset = dataset.flat_map(tf.data.Dataset.from_tensor_slices)
    dataset = dataset.map(
        _BlockReader(clips, crops, schedule, labels), num_parallel_calls=parallel_blocks
    )
    # Crops are still strings here: their samples are written once, into the batch.
    dataset = dataset.rebatch(replica_batch, drop_remainder=True)
    dataset = dataset.map(_Decoder(crops), num_parallel_calls=2)
    dataset = dataset.prefetch(replicas)
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False  # every number above is fixed, and so is the memory
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.with_options(options)


class _BlockReader:
    """Reads one piece of the schedule: crops (as strings of bytes), labels, numbers of clips."""

    def __init__(self, clips: ClipSet, crops: Crops, schedule: Schedule, labels: bool):
        self._crops = crops
        self._schedule = schedule
        self._n_labels = len(clips.label_names) if labels else 0
        self._files = tf.constant([clips.path(shard) for shard in clips.shards])
        self._blocks = {
            name: tf.constant(getattr(schedule.blocks, name))
            for name in ("shard", "offset", "first", "clips")
        }

    def __call__(self, piece: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        block = {name: column[piece["row"]] for name, column in self._blocks.items()}
        first, count = block["first"], block["clips"]
        order = self._schedule.records(piece["epoch"], first, count)
        kept = order[piece["begin"] : piece["end"]]
        features = {"audio": tf.io.FixedLenFeature([], tf.string)}
        if self._n_labels:
            features["labels"] = tf.io.VarLenFeature(tf.int64)
        records = _read(self._files[block["shard"]], block["offset"], count)
        examples = tf.io.parse_example(records, features)
        views = _cut(examples["audio"], self._crops, self._uniforms(piece["epoch"], first, count))
        result = {
            "crops": _interleave(views, order)[piece["begin"] : piece["end"]],
            "clip": first + kept,
        }
        if self._n_labels:
            result["labels"] = tf.gather(
                _multi_hot(examples["labels"], count, self._n_labels), kept
            )
        return result

    def _uniforms(self, epoch: tf.Tensor, first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """Where the views lie, in [0, 1): float64 `[clips, views]`."""
        bits = random_bits(self._schedule.seed, epoch, CROPS, first, count, self._crops.views)
        # A float64 has 53 bits.
        bits = tf.bitwise.right_shift(bits, tf.constant(64 - 53, tf.uint64))
        return tf.cast(bits, tf.float64) * 2.0**-53


def _read(path: tf.Tensor, offset: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Neighbouring records from a byte of a file on, string `[count]`, their checksums verified.

    `tf.data.TFRecordDataset` takes no offset, the op beneath it does; a `FixedLengthRecordDataset`
    with a header would read all of the file before the block.
    """
    records = tf.data.experimental.from_variant(
        tf.raw_ops.TFRecordDatasetV2(
            filenames=path[tf.newaxis],
            compression_type="",
            buffer_size=tf.constant(_BUFFER_BYTES, tf.int64),
            byte_offsets=offset[tf.newaxis],
        ),
        tf.TensorSpec([], tf.string),
    )
    # A file that ends early makes no batch, and that an error.
    return records.take(count).batch(count, drop_remainder=True).get_single_element()


def _cut(audio: tf.Tensor, crops: Crops, uniform: tf.Tensor) -> list[tf.Tensor]:
    """For each view the crops' bytes, string `[clips]`; `uniform` is float64 `[clips, views]`."""
    length = tf.strings.length(audio) // _SAMPLE_BYTES
    part = tf.cast(tf.cast(length, tf.float64) * crops.fraction, tf.int32)
    run = tf.minimum(tf.minimum(tf.maximum(part, 1), length), crops.samples)
    places = tf.cast(length - run + 1, tf.float64)
    return [
        tf.strings.substr(
            audio,
            tf.cast(uniform[:, view] * places, tf.int32) * _SAMPLE_BYTES,
            run * _SAMPLE_BYTES,
        )
        for view in range(crops.views)
    ]


def _interleave(views: list[tf.Tensor], order: tf.Tensor) -> tf.Tensor:
    """Brings the views of each clip together, clips in `order`: `[clips, views]`.

    One op and one copy; stacking and then gathering would copy twice.
    """
    place = tf.math.invert_permutation(tf.cast(order, tf.int32)) * len(views)
    stitched = tf.dynamic_stitch([place + view for view in range(len(views))], views)
    return tf.reshape(stitched, [-1, len(views)])


def _multi_hot(labels: tf.SparseTensor, rows: tf.Tensor, n_labels: int) -> tf.Tensor:
    where = tf.stack([labels.indices[:, 0], labels.values], 1)
    hits = tf.scatter_nd(
        where,
        tf.ones_like(labels.values, tf.float32),
        tf.stack([rows, tf.cast(n_labels, tf.int64)]),
    )
    return tf.minimum(hits, 1.0)


class _Decoder:
    """Makes samples of a batch of crops and fills the short ones."""

    def __init__(self, crops: Crops):
        self._crops = crops

    def __call__(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        content = batch["crops"]
        size = self._crops.samples * _SAMPLE_BYTES
        if self._crops.pad == "repeat":
            content = _repeated(content, size)
        # Fills with zeros, and cuts what was repeated too often.
        audio = tf.io.decode_raw(content, tf.int16, fixed_length=size)
        audio = tf.ensure_shape(audio, [*content.shape, self._crops.samples])
        return {"audio": audio, **{name: batch[name] for name in batch if name != "crops"}}


def _repeated(content: tf.Tensor, size: int) -> tf.Tensor:
    """Strings doubled until none but the empty ones is shorter than `size`."""

    def short(strings):
        length = tf.strings.length(strings)
        return (length > 0) & (length < size)

    (content,) = tf.while_loop(
        lambda strings: tf.reduce_any(short(strings)),
        lambda strings: tf.where(short(strings), tf.strings.join([strings, strings]), strings),
        [content],
    )
    return content


def clips_of_step(
    clips: ClipSet,
    step: int,
    *,
    replica_batch: int,
    seed: int,
    replicas: int = 1,
    host: int = 0,
    hosts: int = 1,
    block_clips: int = BLOCK_CLIPS,
) -> np.ndarray:
    """The numbers of the clips that a host's step reads, int64 `[replicas * replica_batch]`.

    Nothing is read. The arguments are those of `batches`.
    """
    schedule = Schedule(
        clips,
        replica_batch=replica_batch,
        seed=seed,
        replicas=replicas,
        host=host,
        hosts=hosts,
        block_clips=block_clips,
    )
    epoch, skipped = schedule.position(step)
    pieces = schedule.pieces(tf.constant(epoch, tf.int64), tf.constant(skipped, tf.int64))
    found: list[np.ndarray] = []
    missing = schedule.step_clips
    for row, begin, end in zip(
        *(pieces[name].numpy() for name in ("row", "begin", "end")), strict=True
    ):
        first, count = schedule.blocks.first[row], schedule.blocks.clips[row]
        order = schedule.records(tf.constant(epoch, tf.int64), first, count).numpy()
        found.append(first + order[begin:end][:missing])
        missing -= len(found[-1])
        if not missing:
            break
    return np.concatenate(found)


def explain(error: tf.errors.OpError, clips: ClipSet) -> DataError:
    """What to tell a user when reading fails under way: which shard, and what to do."""
    try:
        check_files(clips)
    except DataError as changed:
        return changed
    message = (error.message or str(error)).splitlines()[0]
    # TensorFlow tells the byte of a damaged record, but not the file.
    found = re.search(r"record at (\d+)", message)
    if found:
        byte = int(found[1])
        first = 0
        for shard in clips.shards:
            offsets = clips.offsets[first : first + shard.clips]
            first += shard.clips
            if byte >= shard.bytes:
                continue
            record = offsets[np.searchsorted(offsets, byte, side="right") - 1]
            if not _readable(clips.path(shard), record):
                return DataError(
                    f"The shard {clips.path(shard)} is damaged at byte {byte}; copy it again or "
                    "run hares-prepare again"
                )
    return DataError(
        f"Reading the clips of {clips.folder} failed: {message}; copy the shards again or run "
        "hares-prepare again"
    )


def _readable(path: str, offset: int) -> bool:
    try:
        _read(tf.constant(path), tf.constant(offset, tf.int64), tf.constant(1, tf.int64))
    except tf.errors.OpError:
        return False
    return True
