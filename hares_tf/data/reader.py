"""Batches of random crops from prepared clips.

Plain TensorFlow ops only, so that the pipeline runs where TensorFlow puts it, also on the remote
hosts of a TPU. Audio stays int16 until it is on the device. Blocks of neighboring records are read
in one piece, and only the crops of each clip are decoded.
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
# records, their audio, the crops): about 60 MB together for clips of ten seconds.
PARALLEL_BLOCKS = 4
# Bytes per read of the file system; larger buffers were not faster from the page cache.
_BUFFER_BYTES = 2**18
# More epochs than any training needs, and safe to count in int64.
_EPOCHS = 2**31
_SAMPLE_BYTES = 2


@dataclass(frozen=True)
class Crops:
    """Settings of the crops of a clip.

    A view is a run of min(seconds, fraction x length of the clip) at a uniformly random place,
    independent of the other views, and has at least one sample. It is padded to `seconds` at its
    end.

    Attributes:
        views: number of views of each clip.
        seconds: length of a view.
        fraction: the largest part of a clip that a view takes; below 1 two views of a short clip
            differ.
        sample_rate: in hertz; the clips must have it.
        pad: how short views are padded: with "zeros", or by "repeat", which repeats the view.
    """

    views: int = 2
    seconds: float = 3.0
    fraction: float = 1.0
    sample_rate: int = 16_000
    pad: str = "zeros"

    def __post_init__(self):
        if self.views < 1:
            raise DataError(f"The number of views must be at least 1, not {self.views}.")
        if not math.isfinite(self.seconds) or self.samples < 1:
            raise DataError(
                f"A view must have at least one sample; {self.seconds} seconds have none."
            )
        if not 0 < self.fraction <= 1:
            raise DataError(f"The fraction must be above 0 and at most 1, not {self.fraction}.")
        if self.pad not in ("zeros", "repeat"):
            raise DataError(f'"pad" must be "zeros" or "repeat", not {self.pad!r}.')

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
    """Returns an endless data set of batches that begins at a given step.

    What step S reads is a pure function of (seed, S) and the sizes below. Every clip is read once
    an epoch, except for a remainder of less than a step, which differs between epochs.

    Args:
        clips: the clips to read.
        crops: how they are cropped.
        replica_batch: number of clips in an element.
        seed: seed of the order and of the crops.
        first_step: the step that the first element belongs to.
        replicas: number of replicas of this host; each takes one element of every step, in turn.
        host: number of this host.
        hosts: number of hosts that read together, each its own part of the clips.
        labels: whether elements have labels.
        block_clips: number of clips that are read together; 1 shuffles perfectly, a larger number
            reads larger pieces.
        parallel_blocks: number of blocks that are read at the same time. The pipeline holds about
            three times their bytes, the crops of one step, and three more batches of crops.

    Returns:
        A data set of dictionaries: "audio" is int16 `[replica_batch, views, samples]`, "clip" is
        int64 `[replica_batch]`, the numbers of the clips, and with `labels` "labels" is float32
        `[replica_batch, n_labels]` of zeros and ones.

    Raises:
        DataError: the clips have another sample rate, no labels, or fewer clips than a step takes.
            Files that change after they were opened raise `tf.errors.OpError` (see `explain`).
    """
    if clips.sample_rate != crops.sample_rate:
        raise DataError(
            f"{clips.folder} has {clips.sample_rate} Hz, but {crops.sample_rate} Hz are asked for; "
            "prepare the clips at that rate."
        )
    if labels and not clips.label_names:
        raise DataError(f"{clips.folder} has no labels; prepare it with --labels.")
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
    options.autotune.enabled = False  # all numbers above are fixed, so that memory is bounded
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.with_options(options)


class _BlockReader:
    """Reads one piece of the schedule: crops (as strings of bytes), labels and clip numbers."""

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
        """Returns the relative starts of the views in [0, 1): float64 `[clips, views]`."""
        bits = random_bits(self._schedule.seed, epoch, CROPS, first, count, self._crops.views)
        # A float64 has 53 bits.
        bits = tf.bitwise.right_shift(bits, tf.constant(64 - 53, tf.uint64))
        return tf.cast(bits, tf.float64) * 2.0**-53


def _read(path: tf.Tensor, offset: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Reads neighboring records from a byte offset of a file on, as string `[count]`.

    Checksums are verified. `tf.data.TFRecordDataset` takes no offset, but the op that it calls
    does; a `FixedLengthRecordDataset` with a header would read the whole file before the block.
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
    # A file that ends early gives no full batch, which raises an error.
    return records.take(count).batch(count, drop_remainder=True).get_single_element()


def _cut(audio: tf.Tensor, crops: Crops, uniform: tf.Tensor) -> list[tf.Tensor]:
    """Returns the crops' bytes of each view, string `[clips]`, at starts `uniform`."""
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
    """Stacks the views of each clip, with clips in `order`: `[clips, views]`.

    This copies once; stacking and then gathering would copy twice.
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
    """Decodes a batch of crops to samples and pads the short ones."""

    def __init__(self, crops: Crops):
        self._crops = crops

    def __call__(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        content = batch["crops"]
        size = self._crops.samples * _SAMPLE_BYTES
        if self._crops.pad == "repeat":
            content = _repeated(content, size)
        # Pads with zeros, and truncates what was repeated too often.
        audio = tf.io.decode_raw(content, tf.int16, fixed_length=size)
        audio = tf.ensure_shape(audio, [*content.shape, self._crops.samples])
        return {"audio": audio, **{name: batch[name] for name in batch if name != "crops"}}


def _repeated(content: tf.Tensor, size: int) -> tf.Tensor:
    """Doubles strings until none is shorter than `size`, except for empty ones."""

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
    """Returns the numbers of the clips of a host's step, int64 `[replicas * replica_batch]`.

    No file is read. The arguments are those of `batches`.
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
    numbers: list[np.ndarray] = []
    missing = schedule.step_clips
    for row, begin, end in zip(
        *(pieces[name].numpy() for name in ("row", "begin", "end")), strict=True
    ):
        first, count = schedule.blocks.first[row], schedule.blocks.clips[row]
        order = schedule.records(tf.constant(epoch, tf.int64), first, count).numpy()
        numbers.append(first + order[begin:end][:missing])
        missing -= len(numbers[-1])
        if not missing:
            break
    return np.concatenate(numbers)


def explain(error: tf.errors.OpError, clips: ClipSet) -> DataError:
    """Returns an error for users when reading fails during training: which shard, what to do."""
    try:
        check_files(clips)
    except DataError as changed:
        return changed
    message = (error.message or str(error)).splitlines()[0]
    # TensorFlow names the byte of a damaged record, but not the file.
    match = re.search(r"record at (\d+)", message)
    if match:
        byte = int(match[1])
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
                    "run hares-prepare again."
                )
    return DataError(
        f"Reading the clips of {clips.folder} failed: {message}; copy the shards again or run "
        "hares-prepare again."
    )


def _readable(path: str, offset: int) -> bool:
    try:
        _read(tf.constant(path), tf.constant(offset, tf.int64), tf.constant(1, tf.int64))
    except tf.errors.OpError:
        return False
    return True
