"""Archives of modules: packed reproducibly, unpacked once into the cache.

CACHE/modules/KEY/module/...     the content of an archive; KEY: 32 digits of the archive's SHA-256
CACHE/modules/KEY/files.json     names and sizes of its files, to notice missing ones
CACHE/modules/KEY.lock           exclusive file lock of the process that unpacks
"""

import contextlib
import errno
import gzip
import json
import os
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, cast

from hares_tf.hub import saved_model
from hares_tf.hub.errors import HubError
from hares_tf.utils.cache import cache_dir
from hares_tf.utils.errors import reason
from hares_tf.utils.files import atomic_directory, atomic_file, locked, sha256_file

ENDINGS = (".tar.gz", ".tgz", ".tar")

#: Limits of the unpacked content. The largest encoders of the paper are below 1 GB and have about
#: ten files; the limits are far above any module.
MAX_BYTES = 32 * 2**30
MAX_ENTRIES = 100_000
# Disk space that is never filled: a twentieth of the disk, at most 1 GiB.
_RESERVE_SHARE, _MAX_RESERVE = 20, 2**30
# Largest read. tarfile reads a long name or an extended header at once; honest ones have a few
# hundred bytes, but a header that claims gigabytes would fill the memory.
_MAX_READ = 2**20
_GZIP_MAGIC = b"\x1f\x8b"
_TAR_BLOCK = 512
_FILES = "files.json"
_DAMAGE = (
    *(tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, RecursionError),
    OverflowError,  # times beyond what the system knows
)
# Names that no file can have: longer than 255 bytes, for example.
_BAD_NAMES = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)


def check_archive(folder: str | os.PathLike, archive: str | os.PathLike) -> None:
    """Raises HubError where `pack` would; the folder need not exist yet."""
    archive = Path(archive)
    if not archive.name.endswith(".tar.gz"):
        raise HubError(f"{archive}: an archive's name must end in .tar.gz.")
    if Path(os.path.realpath(archive)).is_relative_to(os.path.realpath(folder)):
        raise HubError(f"{archive} would lie inside the module that it holds; write it elsewhere.")


def pack(folder: str | os.PathLike, archive: str | os.PathLike) -> str:
    """Packs a module into a flat `.tar.gz`, and writes its checksum beside it.

    The same files give the same bytes: names are sorted; times, owners and permissions are left
    out. (Two exports of one model differ, because TensorFlow numbers its functions.) Links are
    followed, so that the archive contains plain files only.

    Args:
        folder: holds `saved_model.pb`.
        archive: the file to write, ending in `.tar.gz`; `archive` + ".sha256" in the format of
            sha256sum.

    Returns:
        The archive's SHA-256 in hexadecimal.

    Raises:
        HubError: the name has another ending, or the archive would lie inside `folder`.
    """
    from hares_tf.hub.loader import files_below

    folder, archive = Path(folder), Path(archive)
    check_archive(folder, archive)
    paths = {path.relative_to(folder): path for path in files_below(folder)}
    # tensorflow_hub makes only those folders that an archive names.
    names = {*paths} | {parent for path in paths for parent in path.parents if parent.name}
    with atomic_file(archive) as temporary:
        with (
            open(temporary, "wb") as raw,
            gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w") as tar,
        ):
            for name in sorted(names):
                entry = tarfile.TarInfo(name.as_posix())
                if name not in paths:
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(entry)
                    continue
                entry.size, entry.mode = paths[name].stat().st_size, 0o644
                with open(paths[name], "rb") as file:
                    tar.addfile(entry, file)
        digest = sha256_file(temporary)
    with atomic_file(_checksum_file(archive)) as temporary:
        temporary.write_text(f"{digest}  {archive.name}\n", encoding="utf-8")
    return digest


def unpack(archive: str | os.PathLike) -> Path:
    """Unpacks an archive (flat, or with one top folder) into the cache; returns the folder.

    The folder's name is a hash of the archive, so an archive is unpacked once, and again when it
    changes. A cached folder with missing files is replaced. Of several processes one unpacks.

    Raises:
        HubError: the file is not a readable archive, holds no module, does not match the checksum
            beside it, contains links, devices or paths that lead out of it, or unpacks to more
            than `MAX_BYTES`, `MAX_ENTRIES` or the free disk space.
    """
    archive = Path(archive)
    digest = sha256_file(archive)
    _check_checksum(archive, digest)
    folder = cache_dir() / "modules" / digest[:32]
    # A complete copy needs no lock, and may be on a read-only disk.
    if not _is_intact(folder):
        lock = folder.with_name(f"{folder.name}.lock")
        with locked(lock):
            try:
                _unpack_unless_intact(archive, folder)
            finally:
                lock.unlink(missing_ok=True)
    return folder / "module"


def _unpack_unless_intact(archive: Path, folder: Path) -> None:
    if _is_intact(folder):
        return  # Another process was faster.
    if folder.is_symlink():
        folder.unlink()  # The link's target must not be replaced.
    try:
        with atomic_directory(folder, overwrite=folder.exists()) as temporary:
            files = _extract(archive, temporary / "module")
            saved_model.folder_in(temporary / "module", str(archive))
            (temporary / _FILES).write_text(json.dumps(files), encoding="utf-8")
    except OSError:
        # Without locks another process may have been faster.
        if not _is_intact(folder):
            raise


def _is_intact(folder: Path) -> bool:
    """Returns whether no unpacked file is missing (cleaners of temporary folders delete some)."""
    try:
        files = json.loads((folder / _FILES).read_text(encoding="utf-8"))
        return not folder.is_symlink() and all(
            (folder / "module" / name).stat().st_size == size for name, size in files.items()
        )
    except (OSError, ValueError, AttributeError):
        return False


def _checksum_file(archive: Path) -> Path:
    return archive.with_name(archive.name + ".sha256")


def _check_checksum(archive: Path, digest: str) -> None:
    try:
        lines = _checksum_file(archive).read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        return
    # sha256sum writes "DIGEST  NAME", of binary mode "DIGEST *NAME".
    entries = [line.split(maxsplit=1) for line in lines]
    stated = [e[0].lower() for e in entries if len(e) == 2 and e[1].lstrip("*") == archive.name]
    if stated and digest not in stated:
        raise HubError(
            f"{archive} does not fit its checksum in {_checksum_file(archive).name}; it may be "
            "incomplete: fetch both again."
        )


def _extract(archive: Path, target: Path) -> dict[str, int]:
    """Unpacks into `target`; returns the size of each file by its path below it.

    Every entry is checked before it is written. `target` is a draft, deleted if a check fails.
    """
    target.mkdir()
    files = {}
    try:
        with open(archive, "rb") as raw, contextlib.ExitStack() as stack:
            file: IO[bytes] = raw
            if raw.read(2) == _GZIP_MAGIC:
                file = cast(IO[bytes], stack.enter_context(gzip.open(archive, "rb")))
            file.seek(0)
            stream = cast(IO[bytes], _Stream(file))
            tar = stack.enter_context(tarfile.open(fileobj=stream, mode="r:"))
            total = 0
            for entries, member in enumerate(tar, start=1):
                _check_member(member, archive)
                total += member.size
                _check_amount(entries, total, archive)
                _check_space(member.size, target, archive)
                tar.extract(member, target, filter="data")
                if member.isfile():
                    files[str(PurePosixPath(member.name))] = member.size
            _check_end(stream, tar.offset)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise HubError(
            f"{archive} holds a file and a folder of one name: {error.filename!r}."
        ) from error
    except _DAMAGE as error:
        raise HubError(
            f"{archive} cannot be unpacked ({reason(error)}); it may be incomplete: fetch it again."
        ) from error
    except OSError as error:
        if error.errno not in _BAD_NAMES:
            raise
        raise HubError(
            f"{archive} cannot be unpacked: it holds a name that this system cannot store "
            f"({reason(error)})."
        ) from error
    return files


def _check_member(member: tarfile.TarInfo, archive: Path) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise HubError(f"{archive} holds a path that leads out of it: {member.name!r}.")
    if not (member.isreg() or member.isdir()):
        raise HubError(f"{archive} holds {member.name!r}, which is no plain file or folder.")
    if member.size < 0:
        raise HubError(f"{archive} is damaged: the size of {member.name!r} is negative.")


def _check_amount(entries: int, total: int, archive: Path) -> None:
    if total > MAX_BYTES or entries > MAX_ENTRIES:
        raise HubError(
            f"{archive} would unpack to more than any module holds ({MAX_BYTES / 2**30:.3g} GiB, "
            f"{MAX_ENTRIES} entries); refused."
        )


def _check_space(size: int, target: Path, archive: Path) -> None:
    """Raises HubError unless `size` bytes fit onto the disk of `target` beside the reserve."""
    disk = shutil.disk_usage(target)
    reserve = min(disk.total // _RESERVE_SHARE, _MAX_RESERVE)
    # Some file systems do not report their size: all numbers are 0.
    if disk.total and size > disk.free - reserve:
        raise HubError(
            f"{archive} needs {_in_mb(size)} of disk space, but in {cache_dir()} only "
            f"{_in_mb(disk.free)} are free, of which {_in_mb(reserve)} are kept; make room, or set "
            "HARES_CACHE_DIR to a folder on another disk."
        )


def _in_mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def _check_end(stream: IO[bytes], offset: int) -> None:
    """Checks that the tar ends with zeros, and gzip's checksum by reading to the end."""
    stream.seek(offset)
    if stream.read(_TAR_BLOCK) != bytes(_TAR_BLOCK):
        raise EOFError("its end is missing")
    after = 0
    while piece := stream.read(_MAX_READ):
        after += len(piece)
        if after > MAX_BYTES:
            raise tarfile.ReadError("it goes on behind its end")


class _Stream:
    """A file for `tarfile` that refuses reads of more than `_MAX_READ` bytes."""

    def __init__(self, file: IO[bytes]):
        self.seek, self.tell, self._file = file.seek, file.tell, file

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _MAX_READ:
            raise tarfile.ReadError(f"it claims a header of {size} bytes")
        return self._file.read(size)
