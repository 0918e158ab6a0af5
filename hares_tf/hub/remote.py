"""Remote handles, through tensorflow_hub: the one place that touches it."""

import hashlib
import os
import shutil
import sys
import types
import uuid
from pathlib import Path

from hares_tf.hub import saved_model
from hares_tf.hub.errors import HubError
from hares_tf.utils.tensorflow import import_tensorflow


def resolve(handle: str) -> Path:
    """Downloads (or finds in tensorflow_hub's cache) the module at an address; gives its folder.

    tensorflow_hub takes any folder in its cache for whole, but cleaners of temporary folders delete
    single files. A cached copy that lacks some is fetched again; the old one is deleted once the
    new one is there.

    Raises:
        HubError: it cannot be fetched, or what is found lacks files; the message says what to do.
    """
    hub = _tensorflow_hub()
    folder = _fetch(hub, handle)
    missing = _missing_part(folder)
    if missing and _is_cached_copy(handle, folder):
        # A name that tensorflow_hub gives to nothing.
        aside = folder.with_name(f"{folder.name}.incomplete-{uuid.uuid4().hex[:12]}")
        os.rename(folder, aside)
        try:
            folder = _fetch(hub, handle)
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


def _fetch(hub, handle: str) -> Path:
    try:
        return Path(hub.resolve(handle))
    except Exception as error:  # tensorflow_hub raises whatever its download meets
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise HubError(
            f"{handle} cannot be fetched ({reason}); download it by other means and name the "
            "folder or the .tar.gz."
        ) from error


def _missing_part(folder: Path) -> str | None:
    """What the SavedModel in `folder`, or in a folder in it, lacks; None if nothing."""
    if (folder / "saved_model.pb").is_file():
        return saved_model.missing_part(folder)
    below = sorted(folder.rglob("saved_model.pb"))
    return saved_model.missing_part(below[0].parent) if below else "saved_model.pb"


def _is_cached_copy(handle: str, folder: Path) -> bool:
    """Whether tensorflow_hub 0.16.1 made the folder for this very handle.

    A folder that was given to it, or a copy of another program, is not ours to replace.
    """
    return not folder.is_symlink() and folder.name == hashlib.sha1(handle.encode()).hexdigest()


def _tensorflow_hub():
    """Imports tensorflow_hub, also beside setuptools 82 or newer, which dropped pkg_resources.

    tensorflow_hub 0.16.1 needs one function of it, which `packaging` has.
    """
    import_tensorflow()
    try:
        import pkg_resources  # noqa: F401
    except ModuleNotFoundError:
        from packaging.version import parse

        stand_in = types.ModuleType("pkg_resources")
        stand_in.parse_version = parse
        sys.modules["pkg_resources"] = stand_in
        try:
            import tensorflow_hub
        finally:
            del sys.modules["pkg_resources"]
    import tensorflow_hub

    return tensorflow_hub
