"""Remote handles, through tensorflow_hub: the one place that touches it."""

import sys
import types
from pathlib import Path

from hares_tf.hub.errors import HubError
from hares_tf.quiet import quiet_import


def resolve(handle: str) -> Path:
    """Downloads (or finds in tensorflow_hub's cache) the module at an address; gives its folder.

    Raises:
        HubError: it cannot be fetched, or the cache holds a broken copy; the message says what to
            delete.
    """
    hub = _tensorflow_hub()
    try:
        folder = Path(hub.resolve(handle))
    except Exception as error:  # tensorflow_hub raises whatever its download meets
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise HubError(
            f"{handle} cannot be fetched ({reason}); download it by other means and name the "
            "folder or the .tar.gz"
        ) from error
    if not any(folder.rglob("saved_model.pb")):
        raise HubError(
            f"the cached copy of {handle} in {folder} is broken (no saved_model.pb), and "
            f"tensorflow_hub will not fetch it again: delete that folder and {folder}"
            ".descriptor.txt, and set TFHUB_CACHE_DIR to a folder that is never cleaned up"
        )
    return folder


def _tensorflow_hub():
    """Imports tensorflow_hub, also beside setuptools 82 or newer, which dropped pkg_resources.

    tensorflow_hub 0.16.1 needs one function of it, which `packaging` has.
    """
    with quiet_import():
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
