"""Atomic writes, exclusive file locks, and a cache of file digests.

Everything that hares_tf writes appears under its final name only when it is complete: it is written
beside its destination under a temporary name, and renamed. A killed process leaves at most a file
or folder whose name begins with `.tmp-`.
"""

import contextlib
import errno
import fcntl
import functools
import hashlib
import itertools
import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from hares_tf.utils.temporary import temporary_name

# Digests asked for, and remembered, at once: hashing a large data set takes hours, and what is done
# must survive a kill.
_NAMES_PER_QUERY = 500
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
# Errors of rename(2) where the name is taken.
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)


def _temporary_sibling(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(temporary_name(path.name))


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path to write to, and renames it to `path` if the block succeeds."""
    path = Path(path)
    temporary = _temporary_sibling(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | os.PathLike, data: object) -> None:
    """Writes `data` as indented JSON in UTF-8, atomically.

    Raises:
        ValueError: `data` holds NaN or an infinite number, which JSON cannot express.
    """
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


@contextlib.contextmanager
def atomic_directory(path: str | os.PathLike, overwrite: bool = False) -> Iterator[Path]:
    """Yields a temporary folder to fill, and renames it to `path` if the block succeeds.

    Raises:
        FileExistsError: `path` exists and `overwrite` is False (checked before the block runs, and
            again by the rename).
    """
    # Through links, so that the folder is replaced and not the link to it.
    path = Path(os.path.realpath(path))
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already.")
    temporary = _temporary_sibling(path)
    temporary.mkdir()
    try:
        yield temporary
        if path.exists() and overwrite:
            _replace(path, temporary)
        else:
            os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace(path: Path, new: Path) -> None:
    """Replaces the folder at `path` by the folder `new`; restores the old one if that fails.

    rename(2) cannot replace a folder that is not empty: the old one is moved away first, so that a
    half-written folder never has the final name.
    """
    old = _temporary_sibling(path)
    os.rename(path, old)
    try:
        os.rename(new, path)
    except OSError:
        _put_back(old, path)
        raise
    _remove(old)


def _put_back(old: Path, path: Path) -> None:
    try:
        os.rename(old, path)
    except OSError as error:
        if error.errno not in _TAKEN:
            # It may be the only copy, so it is kept.
            raise OSError(
                error.errno, f"{error.strerror}; the old folder is now {old}", str(path)
            ) from error
        # Another process has meanwhile written its own folder, which replaces the old one.
        _remove(old)


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextlib.contextmanager
def locked(path: str | os.PathLike, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Holds an exclusive file lock, which the system releases when this process ends.

    The holder may remove the file and its folder. File systems without locks grant it at once.

    Args:
        path: the file; it is created with its folder.
        on_wait: called before waiting for another process; its exceptions are passed on.
    """
    path = Path(path)
    with contextlib.ExitStack() as stack:
        while True:
            path.parent.mkdir(parents=True, exist_ok=True)
            # The last holder may have removed file and folder: then a new file has to be locked.
            with contextlib.suppress(FileNotFoundError):
                file = stack.enter_context(_opened(path))
                _lock(file, on_wait)
                if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                    break
        yield


def _opened(path: Path):
    try:
        return open(path, "a")
    except PermissionError:
        if not path.exists():
            raise
        return open(path, "rb")  # another user's file can be locked, too


def _lock(file, on_wait: Callable[[], None]) -> None:
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        # Some network file systems have no locks; there nothing protects from other processes.
        if error.errno not in _NO_LOCKS:
            raise


def sha256_file(path: str | os.PathLike) -> str:
    """Returns the SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class DigestCache:
    """A cache of file digests in an SQLite database; a context manager that closes it.

    A digest is valid as long as path, size, inode and the times of modification and change (in
    nanoseconds) are the same, so that a replacement of equal size and date is noticed. SQLite's
    locking makes the cache safe for several processes and for kills; threads may share one object.
    Where the database cannot be read or written, and after `close`, digests are computed.

    Args:
        path: the database file; its folder is created.
        verify: whether to compute every digest again.
    """

    def __init__(self, path: str | os.PathLike, verify: bool = False):
        self._path = Path(path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._verify = verify
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        try:
            self._database = self._open()
        except sqlite3.OperationalError:
            pass  # locked or read-only
        except sqlite3.DatabaseError:  # not a database
            with contextlib.suppress(OSError):
                self._path.unlink()
            with contextlib.suppress(sqlite3.DatabaseError):
                self._database = self._open()

    def __enter__(self) -> "DigestCache":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the database."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=60, check_same_thread=False)
        database.execute(
            "CREATE TABLE IF NOT EXISTS digests (path TEXT PRIMARY KEY, stat TEXT, digest TEXT)"
        )
        database.execute("SELECT path, stat, digest FROM digests LIMIT 1").fetchone()
        return database

    def digest(self, path: str | os.PathLike) -> str:
        """Returns the SHA-256 of the file at `path`; raises OSError if it cannot be read."""
        return self.digests([path])[0]

    def digests(self, paths: list) -> list[str]:
        """Returns the SHA-256 of each file; new ones are stored in one transaction."""
        paths = [os.path.abspath(path) for path in paths]
        return self.remembered((path, path, functools.partial(sha256_file, path)) for path in paths)

    def remembered(self, contents: Iterable[tuple[str, str, Callable[[], str]]]) -> list[str]:
        """Returns digests of contents; computes those that are unknown or may have changed.

        Args:
            contents: for each a unique name, the path of the file that holds it (whose size and
                times show changes; an archive holds many contents), and the function that computes
                the digest. Its exceptions are not caught.
        """
        states: dict[str, str | None] = {}
        digests: list[str] = []
        contents = iter(contents)
        while batch := list(itertools.islice(contents, _NAMES_PER_QUERY)):
            known = {} if self._verify else self._known([name for name, _, _ in batch])
            new: list[tuple[str, str, str]] = []
            for name, path, compute in batch:
                if path not in states:
                    states[path] = _state(path)
                stored = known.get(name)
                if stored is not None and stored[0] == states[path]:
                    digests.append(stored[1])
                    continue
                digests.append(compute())
                state = states[path]
                if state is not None:
                    new.append((name, state, digests[-1]))
            self._remember(new)
        return digests

    def _remember(self, rows: list[tuple[str, str, str]]) -> None:
        if not rows:
            return
        with self._lock, contextlib.suppress(sqlite3.DatabaseError):
            if self._database is None:
                return
            # A full disk or a read-only store costs time at the next run, nothing else.
            with self._database:
                self._database.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?)", rows)

    def _known(self, names: list[str]) -> dict[str, tuple[str, str]]:
        """Returns the stored rows of some contents, by one query."""
        marks = ",".join("?" * len(names))
        try:
            with self._lock:
                if self._database is None:
                    return {}
                rows = self._database.execute(
                    f"SELECT path, stat, digest FROM digests WHERE path IN ({marks})", names
                ).fetchall()
            return {path: (stat, digest) for path, stat, digest in rows}
        except sqlite3.DatabaseError:
            return {}


def _state(path: str) -> str | None:
    """Returns the size, inode and times of a file as text; None if they cannot be read."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return f"{stat.st_size} {stat.st_ino} {stat.st_mtime_ns} {stat.st_ctime_ns}"
