"""The files of a folder of prepared clips, and the check that they are as they were written.

`clips.json` describes the shards; it is written last, so a folder that has it is finished.
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
from hares_tf.utils.files import atomic_file, sha256_file
from hares_tf.utils.progress import Progress

SIDECAR, OFFSETS = "clips.json", "offsets.npy"
SHARD_PATTERN = "clips.tfrecord-*-of-*"
SCHEMA = 1
ENCODING = "int16 little-endian"
# Around a record's data: its length (8 bytes) and the length's checksum (4), the data's (4).
FRAME_BYTES = 16
_SHOWN = 5


def shard_name(number: int, count: int) -> str:
    """The file name of shard `number` of `count`."""
    return f"clips.tfrecord-{number:05d}-of-{count:05d}"


def finished(folder: str | os.PathLike) -> bool:
    """Whether a folder holds prepared clips, all of them."""
    return (Path(folder) / SIDECAR).is_file()


def read(folder: str | os.PathLike) -> dict:
    """The description of prepared clips.

    Raises:
        DataError: there is none, or it is not one.
    """
    path = Path(folder) / SIDECAR
    try:
        sidecar = json.loads(path.read_text(encoding="utf-8"))
        whole = sidecar["schema"] == SCHEMA and all(
            key in sidecar for key in ("n_clips", "shards", "label_names", "source", "content_hash")
        )
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} holds no prepared clips (there is no {SIDECAR}); hares-prepare makes them"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}); prepare the clips again") from error
    if not whole:
        raise DataError(f"{path} is no description of clips of schema {SCHEMA}; prepare them again")
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
    """Completes a folder whose shards are all there; gives the description.

    Args:
        folder: where the shards are.
        sample_rate: of the clips, in Hz.
        label_names: what the labels count.
        source: what was asked for.
        parts: what `shard_writer.write_shard` said of each shard, in order.
        rejected: (id, reason) of recordings that were rejected before.
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
    """SHA-256 over the digests of the shards, in order."""
    return hashlib.sha256("\n".join(digests).encode("ascii")).hexdigest()


def _to_disk(file) -> None:
    file.flush()
    os.fsync(file.fileno())


def size_problem(folder: Path, sidecar: dict) -> str | None:
    """What was deleted or cut short, noticed at once; `verify` reads everything."""
    problems = (_size_problem(folder, shard) for shard in sidecar["shards"])
    return next(filter(None, problems), None)


def verify(folder: str | os.PathLike, progress: str = "none") -> dict:
    """Compares a folder of prepared clips with its description; gives the description.

    Sizes, SHA-256, and number and place of the records of every shard.

    Args:
        folder: the folder.
        progress: a mode of `hares_tf.utils.progress.Progress`.

    Raises:
        DataError: what is not as it was written.
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
            "again, or prepare it again with --overwrite"
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
    """Where the records of a whole TFRecord file begin."""
    offsets, position, size = [], 0, path.stat().st_size
    with open(path, "rb") as file:
        while position < size:
            offsets.append(position)
            file.seek(position)
            position += struct.unpack("<Q", file.read(8))[0] + FRAME_BYTES
    return offsets
