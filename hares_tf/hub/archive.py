"""Archives of modules: unpacked once, into the cache, and never outside of it."""

import os
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from hares_tf.files import atomic_directory, cache_dir, sha256_file
from hares_tf.hub.errors import HubError

# Far above any module; an archive that claims more is damaged or malicious.
_MAX_BYTES = 32 * 2**30
_MAX_FILES = 100_000


def unpack(archive: str | os.PathLike) -> Path:
    """Unpacks a `.tar.gz` (flat, or with one top folder) into the cache; gives the folder.

    The folder is named by the archive's content, so an archive is unpacked once, and a changed one
    anew.

    Raises:
        HubError: the file is no readable archive, or holds links, devices, or paths that lead out
            of it.
    """
    archive = Path(archive)
    folder = cache_dir() / "modules" / sha256_file(archive)[:32]
    if not folder.is_dir():
        try:
            with tarfile.open(archive, "r:*") as tar, atomic_directory(folder) as temporary:
                members = _checked(tar, archive)
                tar.extractall(temporary, members=members, filter="data")
        except (tarfile.TarError, EOFError, zlib.error, UnicodeDecodeError) as error:
            raise HubError(
                f"{archive} cannot be unpacked ({error}); it may be incomplete: fetch it again"
            ) from error
        except FileExistsError:
            pass  # Another process was faster.
    return folder


def _checked(tar: tarfile.TarFile, archive: Path) -> list[tarfile.TarInfo]:
    members, total = [], 0
    for member in tar:
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts:
            raise HubError(f"{archive} holds a path that leads out of it: {member.name!r}")
        if not (member.isfile() or member.isdir()):
            raise HubError(f"{archive} holds {member.name!r}, which is no plain file or folder")
        total += member.size
        members.append(member)
        if total > _MAX_BYTES or len(members) > _MAX_FILES:
            raise HubError(f"{archive} would unpack to more than any module holds; refused")
    return members
