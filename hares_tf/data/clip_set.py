"""Folders of prepared clips, opened and checked for training.

A folder holds TFRecord shards, `offsets.npy` (the byte offset of every record within its shard)
and `clips.json` (counts, hashes, label names). Folders may be local or anything that TensorFlow's
file systems read (`gs://...`).
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hares_tf.data import sidecar
from hares_tf.data.errors import DataError
from hares_tf.utils.errors import reason
from hares_tf.utils.tensorflow import import_tensorflow


@dataclass(frozen=True)
class Shard:
    """One TFRecord file: its name within the folder, clips, audio samples, bytes and digest."""

    file: str
    clips: int
    samples: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class ClipSet:
    """A folder of prepared clips.

    Attributes:
        folder: its path; a string if it is not a local folder.
        name: the name that it was prepared under.
        sample_rate: sample rate of all clips, in hertz.
        label_names: the names that the clips' labels index; empty without labels.
        label_counts: number of clips with each label; empty where it is not known.
        n_clips: number of clips; a clip's number counts the records of all shards in order.
        seconds: total length of the audio.
        content_hash: SHA-256 over the shards' digests: two sets with equal hashes are equal.
        shards: the files.
        offsets: int64 `[n_clips]`, the byte offset of each record within its shard.
        rejected: number of recordings that could not be used.
        source: description of what was asked for when it was prepared.
    """

    folder: Path | str
    name: str
    sample_rate: int
    label_names: tuple[str, ...]
    label_counts: tuple[int, ...]
    n_clips: int
    seconds: float
    content_hash: str
    shards: tuple[Shard, ...]
    offsets: np.ndarray
    rejected: int
    source: dict[str, Any]

    def path(self, shard: Shard) -> str:
        """Returns the path of a shard's file."""
        return sidecar.join(self.folder, shard.file)


def open_clips(folder: Path | str) -> ClipSet:
    """Opens a folder of prepared clips and checks it against its files.

    Sizes and counts are compared; contents are not read (their SHA-256 are in the sidecar).

    Raises:
        DataError: the folder does not exist, is not finished, was written by a newer version, has
            no clips, misses a shard or has one of another size, or its description contradicts
            itself.
    """
    folder = str(folder)
    folder = folder.rstrip("/") if "://" in folder else Path(folder)
    description = sidecar.read(folder)
    where = sidecar.join(folder, sidecar.SIDECAR)
    try:
        shards = tuple(
            Shard(
                str(shard["file"]),
                int(shard["clips"]),
                int(shard["samples"]),
                int(shard["bytes"]),
                str(shard["sha256"]),
            )
            for shard in description["shards"]
        )
        clips = ClipSet(
            folder=folder,
            name=str(description["name"]),
            sample_rate=int(description["sample_rate"]),
            label_names=tuple(str(name) for name in description["label_names"]),
            label_counts=tuple(int(count) for count in description.get("label_counts", ())),
            n_clips=int(description["n_clips"]),
            seconds=int(description["samples"]) / int(description["sample_rate"]),
            content_hash=str(description["content_hash"]),
            shards=shards,
            offsets=_offsets(folder),
            rejected=len(description["rejected"]),
            source=dict(description["source"]),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise DataError(
            f"{where} is not a complete description of clips ({type(error).__name__}: {error}); "
            "prepare them again."
        ) from None
    if clips.n_clips < 1:
        raise DataError(
            f"{folder} holds no clips ({clips.rejected} recordings were rejected, {where} says "
            "why); prepare a folder with readable recordings."
        )
    if clips.n_clips != sum(shard.clips for shard in shards):
        raise DataError(
            f"{where} counts {clips.n_clips} clips, its shards together "
            f"{sum(shard.clips for shard in shards)}; prepare them again."
        )
    _check_offsets(clips)
    check_files(clips)
    return clips


def _offsets(folder: Path | str) -> np.ndarray:
    path = sidecar.join(folder, sidecar.OFFSETS)
    try:
        offsets = np.load(io.BytesIO(sidecar.read_bytes(path)), allow_pickle=False)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({reason(error)}); prepare the clips again."
        ) from None
    except (ValueError, EOFError) as error:
        raise DataError(f"{path} is damaged ({error}); prepare the clips again.") from None
    if offsets.ndim != 1 or offsets.dtype.kind not in "iu":
        raise DataError(f"{path} is not a list of byte offsets; prepare the clips again.")
    return offsets.astype(np.int64)


def _check_offsets(clips: ClipSet) -> None:
    """Raises DataError unless the records of each shard follow each other without overlap."""
    where = sidecar.join(clips.folder, sidecar.OFFSETS)
    if len(clips.offsets) != clips.n_clips:
        raise DataError(
            f"{where} has {len(clips.offsets)} offsets for {clips.n_clips} clips; prepare the "
            "clips again."
        )
    first = 0
    for shard in clips.shards:
        offsets = clips.offsets[first : first + shard.clips]
        first += shard.clips
        sizes = np.diff(offsets, append=shard.bytes)
        if shard.clips < 0 or (
            shard.clips and (offsets[0] != 0 or sizes.min() < sidecar.FRAME_BYTES)
        ):
            raise DataError(
                f"{where} does not fit {shard.file}: its records do not follow each other; "
                "prepare the clips again."
            )


def check_files(clips: ClipSet) -> None:
    """Raises DataError for a shard that is missing or has another size than described."""
    tf = import_tensorflow()
    for shard in clips.shards:
        if shard.file != Path(shard.file).name:
            raise DataError(
                f"{sidecar.join(clips.folder, sidecar.SIDECAR)} names a shard outside its folder: "
                f"{shard.file!r}."
            )
        path = clips.path(shard)
        try:
            size = tf.io.gfile.stat(path).length
        except tf.errors.OpError:
            raise DataError(
                f"The shard {path} is missing or unreadable; copy it again or run hares-prepare "
                "again."
            ) from None
        if size != shard.bytes:
            raise DataError(
                f"The shard {path} has {size} bytes instead of {shard.bytes}: it is truncated or "
                "was replaced; copy it again or run hares-prepare again."
            )
