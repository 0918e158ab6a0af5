"""Files that are either whole or absent, and digests that are computed once.

Everything hares_tf writes appears under its final name only when complete: it is written beside
its destination under a temporary name and renamed. A killed process leaves at worst a file that
starts with `.tmp-`.
"""

import contextlib
import hashlib
import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path


def cache_dir() -> Path:
    """For embeddings and generated suites: $HARES_CACHE_DIR, else in the user's cache folder."""
    if "HARES_CACHE_DIR" in os.environ:
        return Path(os.environ["HARES_CACHE_DIR"])
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "hares-tf"


def _temporary_sibling(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".tmp-{uuid.uuid4().hex[:12]}-{path.name}")


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path to write to; renames it to `path` if the block succeeds."""
    path = Path(path)
    temporary = _temporary_sibling(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(path: str | os.PathLike, overwrite: bool = False) -> Iterator[Path]:
    """Yields a temporary folder to fill; renames it to `path` if the block succeeds.

    Raises:
        FileExistsError: `path` exists and `overwrite` is False (checked before the block runs, and
            again by the rename).
    """
    # Behind links and dots stands the folder that is to be replaced.
    path = Path(os.path.realpath(path))
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already")
    temporary = _temporary_sibling(path)
    temporary.mkdir()
    try:
        yield temporary
        if path.exists() and overwrite:
            # rename(2) cannot replace a folder that has content: move the old one away first, so
            # that at no moment a half-written folder carries the final name.
            old = _temporary_sibling(path)
            os.rename(path, old)
            try:
                os.rename(temporary, path)
            except OSError:
                os.rename(old, path)
                raise
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        else:
            os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sha256_file(path: str | os.PathLike) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class DigestCache:
    """File digests, remembered by what the file system tells of a file.

    Path, size, inode and the times of modification and change (in nanoseconds): also a file that
    was replaced by one of equal size and date is noticed. Kept in SQLite, whose locking makes it
    safe for several processes and for kills. It is only a cache: where it cannot be read or
    written, digests are computed.

    Args:
        path: the database file; its folder is created.
        verify: True computes every digest afresh.
    """

    def __init__(self, path: str | os.PathLike, verify: bool = False):
        self._path = Path(path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._verify = verify
        try:
            self._database = self._open()
        except sqlite3.DatabaseError:
            # Not a database, or an older table. Operational errors (locked, read-only) too: then
            # the removal fails as well and the cache stays off.
            with contextlib.suppress(OSError):
                self._path.unlink()
            try:
                self._database = self._open()
            except sqlite3.DatabaseError:
                self._database = None

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=60)
        database.execute(
            "CREATE TABLE IF NOT EXISTS digests (path TEXT PRIMARY KEY, stat TEXT, digest TEXT)"
        )
        database.execute("SELECT path, stat, digest FROM digests LIMIT 1").fetchone()
        return database

    def digest(self, path: str | os.PathLike) -> str:
        """SHA-256 of the file at `path`; raises OSError when it cannot be read."""
        return self.digests([path])[0]

    def digests(self, paths: list) -> list[str]:
        """SHA-256 of each file; new ones are remembered in one transaction."""
        found, new = [], []
        for path in map(os.path.abspath, paths):
            stat = os.stat(path)
            state = f"{stat.st_size} {stat.st_ino} {stat.st_mtime_ns} {stat.st_ctime_ns}"
            digest = None if self._verify else self._remembered(path, state)
            if digest is None:
                digest = sha256_file(path)
                new.append((path, state, digest))
            found.append(digest)
        if new and self._database is not None:
            # A full disk or a read-only store costs time at the next run, nothing else.
            with contextlib.suppress(sqlite3.DatabaseError), self._database:
                self._database.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?)", new)
        return found

    def _remembered(self, path: str, state: str) -> str | None:
        if self._database is None:
            return None
        try:
            row = self._database.execute(
                "SELECT digest FROM digests WHERE path = ? AND stat = ?", (path, state)
            ).fetchone()
        except sqlite3.DatabaseError:
            return None
        return row[0] if row else None
