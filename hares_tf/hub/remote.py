"""Remote handles: downloads by tensorflow_hub. No other file imports it."""

import hashlib
import os
import shutil
import uuid
from pathlib import Path

from hares_tf.hub import saved_model
from hares_tf.hub.errors import HubError
from hares_tf.utils.errors import reason
from hares_tf.utils.tensorflow import import_tensorflow


def resolve(handle: str) -> Path:
    """Returns the folder of the module at an address, downloaded or from tensorflow_hub's cache.

    tensorflow_hub does not check a cached copy, of which cleaners of temporary folders may have
    deleted single files. A copy with missing files is downloaded again; the old one is deleted once
    the new one is complete.

    Raises:
        HubError: the module cannot be downloaded, or its files are incomplete.
    """
    folder = _fetch(handle)
    missing = _missing_part(folder)
    if missing and _is_cached_copy(handle, folder):
        # tensorflow_hub uses no such name.
        aside = folder.with_name(f"{folder.name}.incomplete-{uuid.uuid4().hex[:12]}")
        os.rename(folder, aside)
        try:
            folder = _fetch(handle)
        except HubError as error:
            if not folder.exists():
                os.rename(aside, folder)
            raise HubError(
                f"The cached copy of {handle} in {folder} has lost {missing}, and {error}"
            ) from error
        shutil.rmtree(aside)
        missing = _missing_part(folder)
    if missing:
        raise HubError(
            f"The copy of {handle} in {folder} is broken (no {missing}): fetch it again, or ask "
            "who publishes it; set TFHUB_CACHE_DIR to a folder that is never cleaned up."
        )
    return folder


def _fetch(handle: str) -> Path:
    import_tensorflow()
    import tensorflow_hub

    try:
        return Path(tensorflow_hub.resolve(handle))
    except Exception as error:  # tensorflow_hub raises whatever its download meets
        raise HubError(
            f"{handle} cannot be fetched ({reason(error)}); download it by other means and "
            "name the folder or the .tar.gz."
        ) from error


def _missing_part(folder: Path) -> str | None:
    """Returns the first missing file of the SavedModel in `folder` or below it, or None."""
    if (folder / "saved_model.pb").is_file():
        return saved_model.missing_part(folder)
    below = sorted(folder.rglob("saved_model.pb"))
    return saved_model.missing_part(below[0].parent) if below else "saved_model.pb"


def _is_cached_copy(handle: str, folder: Path) -> bool:
    """Returns whether tensorflow_hub 0.16.1 made the folder for this handle.

    Other folders (the user's own, or those of another program) must not be replaced.
    """
    return not folder.is_symlink() and folder.name == hashlib.sha1(handle.encode()).hexdigest()
