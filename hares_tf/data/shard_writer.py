"""Writes one shard: decodes its recordings into a TFRecord file and describes it in a part file.

The local pool and the Beam pipeline both call `write_shard`, which depends on its argument alone: a
shard has the same bytes wherever it is written.
"""

import contextlib
import errno
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hares_tf.audio import AudioError
from hares_tf.audio.pcm16 import to_int16
from hares_tf.data.errors import DataError
from hares_tf.data.sidecar import FRAME_BYTES
from hares_tf.recordings.recording import Recording, readable
from hares_tf.utils.files import atomic_file, sha256_file
from hares_tf.utils.tensorflow import import_tensorflow


@dataclass(frozen=True)
class Settings:
    """Settings of the conversion of recordings to clips.

    Attributes:
        sample_rate: sample rate of the clips, in hertz.
        piece_seconds: longer recordings are cut into nearly equal pieces of at most this length,
            which are called `id@START`, in whole seconds.
        min_seconds: shorter clips are rejected.
    """

    sample_rate: int = 16_000
    piece_seconds: int = 60
    min_seconds: float = 0.1


@dataclass(frozen=True)
class ShardJob:
    """A shard to write, the unit of work of a worker.

    Attributes:
        number: number of the shard.
        file: absolute path of the TFRecord file to write.
        part: absolute path of the part file, which describes the shard.
        plan: hash of the plan that the shard belongs to.
        recordings: its recordings, in order.
        settings: how they become clips.
    """

    number: int
    file: Path
    part: Path
    plan: str
    recordings: tuple[Recording, ...]
    settings: Settings


def write_shard(job: ShardJob) -> dict:
    """Writes a shard and its part file, both atomically, and returns the part.

    Recordings that cannot be decoded or are too short are rejected with the reason.

    Raises:
        DataError: the shard cannot be written, for example because the disk is full.
    """
    tf = import_tensorflow()

    offsets: list[int] = []
    rejected: list[tuple[str, str]] = []
    counts: Counter[int] = Counter()
    position = samples = 0
    with full_disk_said(job.file.parent), atomic_file(job.file) as path:
        try:
            with tf.io.TFRecordWriter(str(path)) as writer:
                for clip in job.recordings:
                    for name, audio in _clips(clip, job.settings, rejected):
                        # Features are a map, whose order is otherwise not determined.
                        record = _example(tf, name, audio, clip, job.settings).SerializeToString(
                            deterministic=True
                        )
                        writer.write(record)
                        offsets.append(position)
                        position += len(record) + FRAME_BYTES
                        samples += len(audio)
                        counts.update(clip.labels)
        except tf.errors.ResourceExhaustedError as error:
            raise OSError(errno.ENOSPC, error.message) from error
        except tf.errors.OpError as error:
            raise DataError(
                f"{job.file} cannot be written ({error.message}). Finished shards are kept: run "
                "the same command again."
            ) from error
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        part = {
            "plan": job.plan,
            "file": job.file.name,
            "clips": len(offsets),
            "samples": samples,
            "bytes": path.stat().st_size,
            "sha256": sha256_file(path),
            "offsets": offsets,
            "label_counts": dict(sorted(counts.items())),
            "rejected": rejected,
        }
    with full_disk_said(job.file.parent), atomic_file(job.part) as path:
        path.write_text(json.dumps(part), encoding="utf-8")
    return part


def read_part(job: ShardJob) -> dict | None:
    """Returns the part of a shard that is complete, or None if it has to be written."""
    try:
        part = json.loads(job.part.read_text(encoding="utf-8"))
        whole = part["plan"] == job.plan and job.file.stat().st_size == part["bytes"]
    except (FileNotFoundError, ValueError, KeyError):  # absent or damaged
        return None
    return part if whole else None


@contextlib.contextmanager
def full_disk_said(folder: Path) -> Iterator[None]:
    """Raises DataError instead of the OSError of a full disk or quota."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise DataError(
            f"There is no space left for {folder} ({os.strerror(error.errno)}); free some (an hour "
            "of clips at 16 kHz takes 115 MB) and run the same command again: finished shards are "
            "kept."
        ) from error


def _clips(
    clip: Recording, settings: Settings, rejected: list[tuple[str, str]]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yields (id, int16 samples) of a recording's pieces; adds unusable ones to `rejected`."""
    rate = settings.sample_rate
    try:
        waveform = clip.sound.load(rate)
    except AudioError as error:
        rejected.append((clip.id, _reason(clip, error)))
        return
    for start, stop in _pieces(len(waveform), settings):
        name = clip.id if stop - start == len(waveform) else f"{clip.id}@{start // rate}"
        if stop - start < settings.min_seconds * rate:
            seconds = f"{(stop - start) / rate:.4g} s"
            rejected.append((name, f"{seconds}: shorter than {settings.min_seconds:g} s"))
            continue
        yield name, to_int16(waveform[start:stop])


def _pieces(samples: int, settings: Settings) -> list[tuple[int, int]]:
    """Returns (start, stop) of the clips of a recording, in samples; starts are whole seconds.

    The pieces are nearly equal, so that no recording ends with a very short one.
    """
    rate = settings.sample_rate
    if samples <= settings.piece_seconds * rate:
        return [(0, samples)]
    seconds = -(-samples // rate)
    count = -(-seconds // settings.piece_seconds)
    starts = [index * seconds // count * rate for index in range(count)]
    return list(zip(starts, [*starts[1:], samples], strict=True))


def _example(tf, name: str, audio: np.ndarray, clip: Recording, settings: Settings):
    """Returns the record of one clip, a tf.train.Example."""

    def bytes_feature(value: bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    def integers_feature(values):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    features = {
        "id": bytes_feature(name.encode("utf-8")),
        "audio": bytes_feature(audio.tobytes()),
        "sample_rate": integers_feature([settings.sample_rate]),
        "labels": integers_feature(clip.labels),
    }
    return tf.train.Example(features=tf.train.Features(feature=features))


def _reason(clip: Recording, error: AudioError) -> str:
    """Returns why a recording is rejected, without its path, because its id names it."""
    text, where = str(error), clip.sound.where
    for beginning in (f"The sound file {where!r} ", f"{where}: ", f"{where} "):
        text = text.removeprefix(beginning)
    return readable(text)
