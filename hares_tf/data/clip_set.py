"""Prepared clips: what `hares-prepare` wrote, checked before it is trained on.

A folder holds TFRecord shards, `offsets.npy` (the byte offset of every record within its shard)
and `clips.json` (counts, hashes, label names). Folders may be local or anything that TensorFlow's
file systems read (`gs://...`).
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hares_tf.data.errors import DataError
from hares_tf.data.sidecar import FRAME_BYTES, OFFSETS, SCHEMA, SIDECAR


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
        folder: where it is; a string where it is not a local folder.
        name: what the person who prepared it called it.
        sample_rate: of all clips, in Hz.
        label_names: what the clips' label indices mean; empty without labels.
        n_clips: number of clips; a clip's number counts the records of all shards in order.
        seconds: total length of the audio.
        content_hash: SHA-256 over the shards' digests: two sets with equal hashes are equal.
        shards: the files.
        offsets: int64 `[n_clips]`, where each record begins within its shard, in bytes.
        rejected: number of recordings that could not be used.
        source: what was asked when it was prepared.
    """

    folder: Path | str
    name: str
    sample_rate: int
    label_names: tuple[str, ...]
    n_clips: int
    seconds: float
    content_hash: str
    shards: tuple[Shard, ...]
    offsets: np.ndarray
    rejected: int
    source: dict[str, Any]

    def path(self, shard: Shard) -> str:
        """Where a shard's file is."""
        return _join(self.folder, shard.file)


def open_clips(folder: Path | str) -> ClipSet:
    """Opens a folder of prepared clips and checks it against its files.

    Sizes and counts are compared; contents are not read (their SHA-256 are in the sidecar).

    Raises:
        DataError: no such folder, not finished, written by a newer version, a shard that is
            missing or has another size, no clips, or a sidecar that contradicts itself.
    """
    folder = str(folder)
    folder = folder.rstrip("/") if "://" in folder else Path(folder)
    sidecar = _sidecar(folder)
    where = _join(folder, SIDECAR)
    schema = sidecar.get("schema")
    if not isinstance(schema, int) or schema < 1:
        raise DataError(f"{where} does not say which schema it follows; prepare the clips again")
    if schema > SCHEMA:
        raise DataError(
            f"{where} has schema {schema}, this version reads up to {SCHEMA}; update hares-tf or "
            "prepare the clips again"
        )
    try:
        shards = tuple(
            Shard(
                str(shard["file"]),
                int(shard["clips"]),
                int(shard["samples"]),
                int(shard["bytes"]),
                str(shard["sha256"]),
            )
            for shard in sidecar["shards"]
        )
        clips = ClipSet(
            folder=folder,
            name=str(sidecar["name"]),
            sample_rate=int(sidecar["sample_rate"]),
            label_names=tuple(str(name) for name in sidecar["label_names"]),
            n_clips=int(sidecar["n_clips"]),
            seconds=int(sidecar["samples"]) / int(sidecar["sample_rate"]),
            content_hash=str(sidecar["content_hash"]),
            shards=shards,
            offsets=_offsets(folder),
            rejected=len(sidecar["rejected"]),
            source=dict(sidecar["source"]),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise DataError(
            f"{where} is not a complete description of clips ({type(error).__name__}: {error}); "
            "prepare them again"
        ) from None
    if clips.n_clips < 1:
        raise DataError(
            f"{folder} holds no clips ({clips.rejected} recordings were rejected, {where} says "
            "why); prepare a folder with readable recordings"
        )
    if clips.n_clips != sum(shard.clips for shard in shards):
        raise DataError(
            f"{where} counts {clips.n_clips} clips, its shards together "
            f"{sum(shard.clips for shard in shards)}; prepare them again"
        )
    _check_offsets(clips)
    check_files(clips)
    return clips


def _join(folder: Path | str, file: str) -> str:
    return f"{folder}/{file}" if isinstance(folder, str) else str(folder / file)


def _read(path: str) -> bytes:
    import tensorflow as tf

    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read()


def _sidecar(folder: Path | str) -> dict[str, Any]:
    import tensorflow as tf

    where = _join(folder, SIDECAR)
    try:
        content = json.loads(_read(where))
    except tf.errors.OpError as error:
        if tf.io.gfile.exists(where):
            raise DataError(f"{where} cannot be read: {error.message}") from None
        if not tf.io.gfile.isdir(str(folder)):
            raise DataError(
                f"There is no folder {folder}; prepare clips with hares-prepare and give its "
                "output folder"
            ) from None
        raise DataError(
            f"{folder} holds no prepared clips (no {SIDECAR}): prepare it with hares-prepare, or "
            "run the same hares-prepare command again to finish it"
        ) from None
    except ValueError as error:
        raise DataError(f"{where} is not JSON ({error}); prepare the clips again") from None
    if not isinstance(content, dict):
        raise DataError(f"{where} does not describe clips; prepare them again")
    return content


def _offsets(folder: Path | str) -> np.ndarray:
    import tensorflow as tf

    where = _join(folder, OFFSETS)
    try:
        offsets = np.load(io.BytesIO(_read(where)), allow_pickle=False)
    except tf.errors.OpError as error:
        raise DataError(
            f"{where} cannot be read ({error.message}); prepare the clips again"
        ) from None
    except (ValueError, EOFError) as error:
        raise DataError(f"{where} is damaged ({error}); prepare the clips again") from None
    if offsets.ndim != 1 or offsets.dtype.kind not in "iu":
        raise DataError(f"{where} is not a list of byte offsets; prepare the clips again")
    return offsets.astype(np.int64)


def _check_offsets(clips: ClipSet) -> None:
    """Every record begins where the one before it ends, and the last one ends within its shard."""
    where = _join(clips.folder, OFFSETS)
    if len(clips.offsets) != clips.n_clips:
        raise DataError(
            f"{where} has {len(clips.offsets)} offsets for {clips.n_clips} clips; prepare the "
            "clips again"
        )
    first = 0
    for shard in clips.shards:
        offsets = clips.offsets[first : first + shard.clips]
        first += shard.clips
        sizes = np.diff(offsets, append=shard.bytes)
        if shard.clips < 0 or (shard.clips and (offsets[0] != 0 or sizes.min() < FRAME_BYTES)):
            raise DataError(
                f"{where} does not fit {shard.file}: its records do not follow each other; "
                "prepare the clips again"
            )


def check_files(clips: ClipSet) -> None:
    """Raises DataError for a shard that is missing or has another size than it should."""
    import tensorflow as tf

    for shard in clips.shards:
        if shard.file != Path(shard.file).name:
            raise DataError(
                f"{_join(clips.folder, SIDECAR)} names a shard outside its folder: {shard.file!r}"
            )
        path = clips.path(shard)
        try:
            size = tf.io.gfile.stat(path).length
        except tf.errors.OpError:
            raise DataError(
                f"The shard {path} is missing or unreadable; copy it again or run hares-prepare "
                "again"
            ) from None
        if size != shard.bytes:
            raise DataError(
                f"The shard {path} has {size} bytes instead of {shard.bytes}: it is truncated or "
                "was replaced; copy it again or run hares-prepare again"
            )
