"""Names of temporary files, which tell whether the process that made them still runs.

A killed process leaves files and folders whose names begin with `.tmp-`. In a folder that several
processes share, such as the cache, only those of a process that is gone may be removed.
"""

import functools
import hashlib
import os
import platform
import re
import shutil
import time
import uuid
from pathlib import Path

PREFIX = ".tmp-"
_OWNED = re.compile(r"\.tmp-([0-9a-f]{8})\.(\d+)\.(\d+)-[0-9a-f]{12}")
# Bytes of the final name that are kept: names have at most 255, and the end has the file's suffix.
_NAME_BYTES = 150
# Whether a process of another machine runs cannot be seen: its files are left alone for a week.
_FOREIGN_SECONDS = 7 * 24 * 3600


def temporary_name(name: str) -> str:
    """Returns a new name for what will be renamed to `name`."""
    owner = f"{_machine()}.{os.getpid()}.{_started(os.getpid())}"
    end = os.fsdecode(os.fsencode(name)[-_NAME_BYTES:])
    return f"{PREFIX}{owner}-{uuid.uuid4().hex[:12]}-{end}"


def remove_abandoned(folder: Path) -> None:
    """Removes temporary files and folders in `folder` whose processes are gone.

    What cannot be removed stays: other users' files, for example.
    """
    for path in folder.glob(f"{PREFIX}*"):
        if is_abandoned(path):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                _unlink(path)


def is_abandoned(path: Path) -> bool:
    """Whether a file has a name of `temporary_name`, and the process that made it is gone."""
    match = _OWNED.match(path.name)
    if match is None:
        return False
    if match[1] == _machine():
        return _started(int(match[2])) != int(match[3])
    try:
        return time.time() - path.stat().st_mtime > _FOREIGN_SECONDS
    except OSError:  # it has just been renamed
        return False


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


@functools.cache
def _machine() -> str:
    """Returns what processes with comparable numbers have in common: host, boot and container."""
    parts = [platform.node()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(os.readlink("/proc/self/ns/pid"))
    except OSError:  # not Linux
        pass
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def _started(pid: int) -> int:
    """Returns when a process began, in ticks (1 where that cannot be read), or 0 if it is gone."""
    try:
        # Behind the name in parentheses, which may hold anything, this is the 20th field.
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        if Path("/proc/self/stat").exists():
            return 0
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return 0
    except OSError:  # another user's
        pass
    return 1
