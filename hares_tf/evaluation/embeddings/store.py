"""The embedding store: a content-addressed cache of embeddings on disk.

    STORE/SPACE/space.json          what the embeddings of this space depend on; how they were made
    STORE/SPACE/SHARD.npy           float32 [rows, dim]
    STORE/SPACE/SHARD.json          which rows belong to which clip

The name of a space is the hash of everything but the clip that an embedding depends on (model
content, adapter choices, runtime, precision, window plan, preprocessing). Within a space, the key
of a clip is the hash of its bytes. Old embeddings are therefore never used for a changed model,
plan or clip.

A shard is valid once its index file exists, which is written last, by an atomic write: the store
survives a kill at any instant, and several processes may write to one space at once (shards have
unique names; a clip that two of them embedded is stored twice).
"""

import contextlib
import hashlib
import io
import json
import os
import sys
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.utils.errors import reason
from hares_tf.utils.files import atomic_file

SHARD_BYTES = 64 * 2**20
SHARD_SECONDS = 30.0
_LEFTOVER_SECONDS = 24 * 3600.0
# Bits of a row's number within a shard: far more rows than a shard of 64 MB has.
_BITS = 24
_ROWS_MASK = 2**_BITS - 1


class EmbeddingStore:
    """Embeddings on disk, shared between tasks, processes and runs.

    Args:
        root: the folder; created when first written to.
    """

    def __init__(self, root: str | os.PathLike):
        self.root = Path(root)
        self._spaces: dict[str, EmbeddingSpace] = {}

    def space(self, description: dict) -> "EmbeddingSpace":
        """Returns the space of embeddings that depend on exactly `description` (JSON data)."""
        text = json.dumps(description, sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()[:32]
        if name in self._spaces:
            self._spaces[name].refresh()
        else:
            # Opened once, because opening reads and checks every shard.
            self._spaces[name] = EmbeddingSpace(self.root / name, description)
        return self._spaces[name]


class EmbeddingSpace:
    """Embeddings of clips, by key, under one model, adapter, precision and window plan.

    Args:
        directory: the space's folder.
        description: everything but the clip that the embeddings depend on, as JSON data.

    Attributes:
        damaged: the indexes of damaged shards, which are not used.
    """

    def __init__(self, directory: Path, description: dict):
        self.directory = directory
        self.description = description
        # Shard, first row and number of rows of every key, packed into one number to save memory: a
        # task has hundreds of thousands of keys.
        self._where: dict[str, int] = {}
        self._shards: list[Path] = []
        self._read_indexes: set[str] = set()
        self.damaged: list[Path] = []
        self._reported = 0
        self.refresh()

    def notes(self) -> dict:
        """Returns the first writer's notes on how the embeddings are made; {} without a writer."""
        try:
            return json.loads((self.directory / "space.json").read_text(encoding="utf-8"))["notes"]
        except (OSError, ValueError, KeyError):
            return {}

    def refresh(self) -> None:
        """Reads the indexes that are new since the last call.

        Damaged shards are left out, so that their clips are embedded again; their indexes are in
        `damaged`.
        """
        if not self.directory.is_dir():
            return
        for entry in sorted(os.listdir(self.directory)):
            if entry.startswith(".") or not entry.endswith(".json") or entry == "space.json":
                continue
            if entry in self._read_indexes:
                continue
            self._read_indexes.add(entry)
            index = self.directory / entry
            try:
                self._read_index(index)
            except (OSError, ValueError, KeyError, TypeError, EOFError):
                self.damaged.append(index)

    def _read_index(self, index: Path) -> None:
        """Adds the clips of a shard; raises some error if index or data are damaged."""
        data = index.with_suffix(".npy")
        shard = json.loads(index.read_text(encoding="utf-8"))
        clips = shard["clips"]
        if shard.get("index_crc32", index_checksum(clips)) != index_checksum(clips):
            raise ValueError("The index is damaged.")
        # A power cut can leave a renamed index beside data that never reached the disk.
        if _checksum(data) != shard["crc32"]:
            raise ValueError("The data is damaged.")
        # Indexes of older versions have no checksum, so their numbers are checked against the data.
        rows, _ = np.load(data, mmap_mode="r", allow_pickle=False).shape
        ends = [0, *(stop for _, _, stop in clips)]
        if ends[-1] != rows or ends[:-1] != [start for _, start, _ in clips]:
            raise ValueError("The index does not describe the data.")
        number = len(self._shards)
        # Interned, so that keys are the same objects as the digests of the clips.
        where = {sys.intern(key): _pack(number, start, stop) for key, start, stop in clips}
        self._shards.append(data)
        self._where.update(where)

    def news(self) -> list[str]:
        """Returns a sentence about damaged shards that were found since the last call."""
        new, self._reported = self.damaged[self._reported :], len(self.damaged)
        if not new:
            return []
        return [
            f"{new[0]}{f' and {len(new) - 1} more' * (len(new) > 1)}: damaged, so these embeddings "
            "are computed again; the files may be deleted"
        ]

    def __contains__(self, digest: str) -> bool:
        return digest in self._where

    def rows(self, digests: Sequence[str]) -> list[int]:
        """Returns the number of windows of each clip."""
        return [self._where[digest] & _ROWS_MASK for digest in digests]

    def gather(
        self,
        keys: Sequence[str],
        allocate: Callable[[int, int], np.ndarray] = lambda n, dim: np.empty((n, dim), np.float32),
    ) -> np.ndarray:
        """Returns embeddings of several keys, one after another: float32 `[sum of windows, dim]`.

        Args:
            keys: the same key may occur more than once.
            allocate: returns the matrix to fill, from its shape.

        Raises:
            KeyError: a key that is not in the space, or no key at all.
        """
        if not len(keys):
            raise KeyError("No keys were given.")
        offsets = np.concatenate([[0], np.cumsum(self.rows(keys))])
        packed = np.array([self._where[key] for key in keys], np.uint64)
        shards = packed >> np.uint64(2 * _BITS)
        starts = ((packed >> np.uint64(_BITS)) & np.uint64(_ROWS_MASK)).astype(np.int64)
        result = allocate(int(offsets[-1]), self._shard(int(shards[0])).shape[1])
        for number in np.unique(shards).tolist():
            shard = self._shard(number)
            positions = np.flatnonzero(shards == number)
            source, to, until = starts[positions], offsets[positions], offsets[positions + 1]
            # Clips that are adjacent in the shard and in the result are copied at once.
            follows = (to[1:] == until[:-1]) & (source[1:] == source[:-1] + (until - to)[:-1])
            first = np.flatnonzero(np.append(True, ~follows))
            last = np.append(first[1:], len(positions)) - 1
            for start, begin, end in zip(source[first], to[first], until[last], strict=True):
                result[begin:end] = shard[start : start + end - begin]
        return result

    def _shard(self, number: int) -> np.ndarray:
        # A plain array over the map, because slicing a memmap is several times slower.
        return np.asarray(np.load(self._shards[number], mmap_mode="r", allow_pickle=False))

    def _remove_leftovers(self) -> None:
        """Deletes leftovers of killed processes: temporary files, and shards without an index."""
        if not self.directory.is_dir():
            return
        for path in self.directory.iterdir():
            unfinished = path.name.startswith(".tmp-") or (
                path.suffix == ".npy" and not path.with_suffix(".json").exists()
            )
            # Another process may delete it first.
            with contextlib.suppress(OSError):
                # A running process writes younger ones.
                if unfinished and time.time() - path.stat().st_mtime > _LEFTOVER_SECONDS:
                    path.unlink()

    @contextlib.contextmanager
    def writer(self, notes: dict) -> Iterator["ShardWriter"]:
        """Yields a writer; its last shard is written when the block ends, also by an exception.

        Args:
            notes: how the embeddings are made, as JSON data, for `notes()`.
        """
        self._remove_leftovers()
        writer = ShardWriter(self.directory, self.description, notes)
        try:
            yield writer
        finally:
            writer.flush()
            self.refresh()


def _pack(shard: int, start: int, stop: int) -> int:
    """Packs a position into one number; raises ValueError for rows that no shard can hold."""
    if not 0 <= start < stop < _ROWS_MASK:
        raise ValueError(f"No shard holds the rows {start} to {stop}.")
    return shard << 2 * _BITS | start << _BITS | (stop - start)


def index_checksum(clips: Sequence) -> int:
    """Returns the CRC-32 of the list of a shard's clips, as it is written in JSON."""
    return zlib.crc32(json.dumps(clips).encode())


def _checksum(path: Path) -> int:
    """Returns the CRC-32 of a file, which detects damage, but not manipulation."""
    value = 0
    with open(path, "rb") as file:
        while block := file.read(2**22):
            value = zlib.crc32(block, value)
    return value


def _write_rows(file: BinaryIO, rows: Sequence[np.ndarray]) -> int:
    """Writes float32 arrays `[n, dim]` as one `.npy` of all their rows; returns its CRC-32.

    Array by array, which saves a copy in memory, and reading the file for the checksum.
    """
    shape = (sum(map(len, rows)), rows[0].shape[1])
    layout = {"descr": "<f4", "fortran_order": False, "shape": shape}
    if any(part.shape[1:] != rows[0].shape[1:] for part in rows):
        raise ValueError("Embeddings of different widths cannot share a shard.")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, layout)
    arrays = [np.ascontiguousarray(part, "<f4") for part in rows]
    pieces: list[bytes | memoryview] = [header.getvalue(), *(array.data for array in arrays)]
    value = 0
    for piece in pieces:
        file.write(piece)
        value = zlib.crc32(piece, value)
    return value


class ShardWriter:
    """Collects embeddings and writes them as shards of bounded size and age.

    Args:
        directory: the space's folder.
        description: see `EmbeddingSpace`.
        notes: see `EmbeddingSpace.writer`.
    """

    def __init__(self, directory: Path, description: dict, notes: dict):
        self._directory = directory
        self._about = {"depends_on": description, "notes": notes}
        self._rows: list[np.ndarray] = []
        self._digests: list[str] = []
        self._bytes = 0
        self._started = time.monotonic()

    def add(self, digest: str, embeddings: np.ndarray) -> None:
        """Adds the embeddings of a clip.

        Args:
            digest: the key of the clip.
            embeddings: `[windows, dim]`, kept as float32.

        Raises:
            EvaluationError: see `flush`.
        """
        self._digests.append(digest)
        self._rows.append(np.asarray(embeddings, np.float32))
        self._bytes += self._rows[-1].nbytes
        if self._bytes >= SHARD_BYTES or time.monotonic() - self._started >= SHARD_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Writes the collected embeddings as one shard.

        Raises:
            EvaluationError: the shard cannot be written.
        """
        if self._digests:
            try:
                self._write()
            except OSError as error:
                raise EvaluationError(
                    f"{self._directory}: Embeddings cannot be written ({reason(error)}). "
                    "Earlier shards are kept; run the same command again to continue."
                ) from error
        self._rows, self._digests, self._bytes = [], [], 0
        self._started = time.monotonic()

    def _write(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        if not (self._directory / "space.json").exists():
            with atomic_file(self._directory / "space.json") as path:
                about = json.dumps(self._about, indent=2, sort_keys=True)
                path.write_text(about, encoding="utf-8")
        data = self._directory / f"{uuid.uuid4().hex}.npy"
        with atomic_file(data) as path, open(path, "wb") as file:
            crc = _write_rows(file, self._rows)
        stops = np.cumsum([len(rows) for rows in self._rows]).tolist()
        starts = [0, *stops[:-1]]
        clips = list(zip(self._digests, starts, stops, strict=True))
        with atomic_file(data.with_suffix(".json")) as path:
            index = {"crc32": crc, "index_crc32": index_checksum(clips), "clips": clips}
            path.write_text(json.dumps(index))
