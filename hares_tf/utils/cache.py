"""The cache folder: embeddings, unpacked modules, and whatever else can be made again."""

import functools
import os
from pathlib import Path

from hares_tf.utils.errors import HaresError, reason
from hares_tf.utils.temporary import remove_abandoned

VARIABLE = "HARES_CACHE_DIR"


class CacheError(HaresError):
    """The cache folder is missing and cannot be created."""


def cache_dir() -> Path:
    """Returns the cache folder: $HARES_CACHE_DIR, else `hares-tf` in the user's cache folder.

    The folder is created. What killed processes left in it and in its subfolders is removed.

    Raises:
        CacheError: there is no home folder, or the folder cannot be created.
    """
    folder = _folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CacheError(
            f"The cache folder {folder} cannot be created: {reason(error)}. Set {VARIABLE} to a "
            "folder that can be written."
        ) from error
    _tidy(folder)
    return folder


def _folder() -> Path:
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "hares-tf"
    try:
        return Path.home() / ".cache" / "hares-tf"
    except RuntimeError as error:  # a user whom the system does not know, as in containers
        raise CacheError(
            f"This user has no home folder, where the cache could be; set {VARIABLE} to a folder "
            "that can be written."
        ) from error


@functools.cache
def _tidy(folder: Path) -> None:
    """Runs once in a process: what others leave meanwhile can wait for the next one."""
    remove_abandoned(folder)
    for subfolder in folder.iterdir():
        if subfolder.is_dir():
            remove_abandoned(subfolder)
