"""The description of a folder of prepared clips: writing, reading and verifying it.

`clips.json` describes the shards. It is written last, so a folder that has it is complete.
"""

import hashlib
import json
import os
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hares_tf import __version__
from hares_tf.data.errors import DataError
from hares_tf.utils.errors import reason
from hares_tf.utils.files import atomic_file, sha256_file
from hares_tf.utils.progress import Progress
from hares_tf.utils.tensorflow import import_tensorflow

SIDECAR, OFFSETS = "clips.json", "offsets.npy"
SHARD_PATTERN = "clips.tfrecord-*-of-*"
SCHEMA = 1
ENCODING = "int16 little-endian"
# Around a record's data: its length (8 bytes) and the length's checksum (4), the data's (4).
FRAME_BYTES = 16
_KEYS = (
    *("name", "sample_rate", "n_clips", "samples", "label_names", "source"),
    *("content_hash", "shards", "rejected"),
)
_SHOWN = 5


def shard_name(number: int, count: int) -> str:
    """Returns the file name of shard `number` of `count`."""
    return f"clips.tfrecord-{number:05d}-of-{count:05d}"


def finished(folder: str | os.PathLike) -> bool:
    """Returns whether a folder holds prepared clips, all of them."""
    return (Path(folder) / SIDECAR).is_file()


def join(folder: str | os.PathLike, file: str) -> str:
    """Returns the path of a file in a local folder or in one like "gs://..."."""
    return f"{folder}/{file}" if _is_remote(folder) else str(Path(folder) / file)


def read_bytes(path: str) -> bytes:
    """Returns the content of a local file, or of one that TensorFlow's file systems read.

    Raises:
        OSError: it cannot be read.
    """
    if not _is_remote(path):
        return Path(path).read_bytes()
    tf = import_tensorflow()
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return file.read()
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(error.message) from error
    except tf.errors.OpError as error:
        raise OSError(error.message) from error


def _is_remote(path: str | os.PathLike) -> bool:
    return "://" in str(path)


def read(folder: str | os.PathLike) -> dict:
    """Returns the description of a folder of prepared clips.

    Args:
        folder: a local folder, or one that TensorFlow's file systems read ("gs://...").

    Raises:
        DataError: there is no description, or it is incomplete or from a newer version.
    """
    path = join(folder, SIDECAR)
    try:
        sidecar = json.loads(read_bytes(path))
    except FileNotFoundError:
        if not _is_remote(folder) and not Path(folder).is_dir():
            raise DataError(
                f"There is no folder {folder}; prepare clips with hares-prepare and give its "
                "output folder."
            ) from None
        raise DataError(
            f"{folder} holds no prepared clips (no {SIDECAR}): prepare it with hares-prepare, or "
            "run the same hares-prepare command again to finish it."
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({reason(error)}).") from None
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); prepare the clips again.") from None
    if not isinstance(sidecar, dict):
        raise DataError(f"{path} does not describe clips; prepare them again.")
    schema = sidecar.get("schema")
    if not isinstance(schema, int) or schema < 1:
        raise DataError(f"{path} does not say which schema it follows; prepare the clips again.")
    if schema > SCHEMA:
        raise DataError(
            f"{path} has schema {schema}, but this version reads up to {SCHEMA}; update hares-tf "
            "or prepare the clips again."
        )
    absent = [key for key in _KEYS if key not in sidecar]
    if absent:
        raise DataError(
            f"{path} is not a complete description of clips (it has no {absent[0]!r}); prepare "
            "them again."
        )
    return sidecar


def write(
    folder: Path,
    *,
    sample_rate: int,
    label_names: Sequence[str],
    source: dict,
    parts: Sequence[dict],
    rejected: Sequence[tuple[str, str]],
) -> dict:
    """Writes the description of a folder whose shards are complete, and returns it.

    Args:
        folder: the folder of the shards.
        sample_rate: sample rate of the clips, in hertz.
        label_names: the names that the labels index.
        source: description of what was asked for.
        parts: the parts that `shard_writer.write_shard` returned, in the order of the shards.
        rejected: (id, reason) of recordings that were rejected before decoding.
    """
    offsets = np.concatenate([np.asarray(part["offsets"], np.int64) for part in parts])
    counts = [0] * len(label_names)
    for part in parts:
        for label, count in part["label_counts"].items():
            counts[int(label)] += count
    sidecar = {
        "schema": SCHEMA,
        "name": folder.name,
        "sample_rate": sample_rate,
        "encoding": ENCODING,
        "n_clips": len(offsets),
        "samples": sum(part["samples"] for part in parts),
        "label_names": list(label_names),
        "label_counts": counts,
        "source": source,
        "content_hash": content_hash([part["sha256"] for part in parts]),
        "shards": [
            {key: part[key] for key in ("file", "clips", "samples", "bytes", "sha256")}
            for part in parts
        ],
        "rejected": [
            {"id": name, "reason": reason}
            for name, reason in [*rejected, *(pair for part in parts for pair in part["rejected"])]
        ],
        "made_with": {"hares_tf": __version__},
    }
    with atomic_file(folder / OFFSETS) as path, open(path, "wb") as file:
        np.save(file, offsets, allow_pickle=False)
        _to_disk(file)
    with atomic_file(folder / SIDECAR) as path, open(path, "w", encoding="utf-8") as file:
        json.dump(sidecar, file, indent=1)
        file.write("\n")
        _to_disk(file)
    return sidecar


def content_hash(digests: Sequence[str]) -> str:
    """Returns the SHA-256 over the digests of the shards, in order."""
    return hashlib.sha256("\n".join(digests).encode("ascii")).hexdigest()


def _to_disk(file) -> None:
    file.flush()
    os.fsync(file.fileno())


def size_problem(folder: Path, sidecar: dict) -> str | None:
    """Returns the first shard that is missing or has another size, as a phrase, or None."""
    problems = (_size_problem(folder, shard) for shard in sidecar["shards"])
    return next(filter(None, problems), None)


def verify(folder: str | os.PathLike, progress: str = "none") -> dict:
    """Compares a local folder of prepared clips with its description, and returns that.

    Sizes, SHA-256, and number and offsets of the records of every shard are compared.

    Args:
        folder: the folder.
        progress: a mode of `hares_tf.utils.progress.Progress`.

    Raises:
        DataError: the shards are not as they were written.
    """
    folder = Path(folder)
    sidecar = read(folder)
    problems = []
    try:
        offsets = np.load(folder / OFFSETS, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        problems.append(f"{OFFSETS} cannot be read ({error})")
        offsets = None
    shards = sidecar["shards"]
    total = sum(shard["bytes"] for shard in shards)
    first = 0
    with Progress(progress).phase(folder.name, "verifying", total, "byte") as bar:
        for shard in shards:
            problem = _size_problem(folder, shard) or _content_problem(folder, shard)
            if problem:
                problems.append(problem)
            elif offsets is not None and not np.array_equal(
                offsets[first : first + shard["clips"]], _record_offsets(folder / shard["file"])
            ):
                problems.append(f"{OFFSETS} does not say where the records of {shard['file']} lie")
            first += shard["clips"]
            bar.update(shard["bytes"])
    if offsets is not None and not first == sidecar["n_clips"] == len(offsets):
        problems.append(
            f"{SIDECAR} counts {sidecar['n_clips']} clips, its shards {first}, {OFFSETS} "
            f"{len(offsets)}"
        )
    if content_hash([shard["sha256"] for shard in shards]) != sidecar["content_hash"]:
        problems.append(f"the content hash in {SIDECAR} is not that of its shards")
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise DataError(
            f"{folder} is not as it was written: {'; '.join(problems[:_SHOWN])}{more}. Copy it "
            "again, or prepare it again with --overwrite."
        )
    return sidecar


def _size_problem(folder: Path, shard: dict) -> str | None:
    try:
        size = (folder / shard["file"]).stat().st_size
    except OSError as error:
        return f"{shard['file']} cannot be read ({error.strerror})"
    if size != shard["bytes"]:
        return f"{shard['file']} has {size} bytes, not {shard['bytes']}"
    return None


def _content_problem(folder: Path, shard: dict) -> str | None:
    try:
        digest = sha256_file(folder / shard["file"])
    except OSError as error:
        return f"{shard['file']} cannot be read ({error.strerror})"
    if digest != shard["sha256"]:
        return f"{shard['file']} has other content (its SHA-256 differs)"
    return None


def _record_offsets(path: Path) -> list[int]:
    """Returns the byte offsets of the records of a complete TFRecord file."""
    offsets, position, size = [], 0, path.stat().st_size
    with open(path, "rb") as file:
        while position < size:
            offsets.append(position)
            file.seek(position)
            position += struct.unpack("<Q", file.read(8))[0] + FRAME_BYTES
    return offsets
