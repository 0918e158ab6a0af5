"""The folder that TensorFlow Serving watches: `models/hares/1`, `models/hares/2`, ...

A server looks at the folder every second or so, and loads the highest version that it finds. So a
version appears whole: it is written under a name that is not a number, and renamed.
"""

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from hares_tf.hub.errors import HubError
from hares_tf.utils.temporary import temporary_name


def check_serving_root(root: Path) -> None:
    """Raises HubError if a path cannot be a folder of versions.

    Raises:
        HubError: it is a file, or the folder of a module.
    """
    if root.exists() and not root.is_dir():
        raise HubError(f"{root} is a file; --serving_root names a folder of numbered versions.")
    if (root / "saved_model.pb").exists():
        raise HubError(
            f"{root} is itself a module; --serving_root names the folder above, which holds "
            "numbered versions."
        )


def next_version(root: Path) -> int:
    """Returns the highest version in the folder plus one; 1 for a new folder."""
    names = [entry.name for entry in root.iterdir()] if root.is_dir() else []
    return max((int(name) for name in names if name.isascii() and name.isdigit()), default=0) + 1


def add_version(
    root: str | os.PathLike,
    export: Callable[[Path], tuple[Path, list[str]]],
    sample_rate: int,
) -> tuple[Path, list[str]]:
    """Exports a module as the next version, with warm-up requests.

    Several programs may add versions at the same time. A server may run as another user: all users
    may read a version, whatever the umask.

    Args:
        root: the folder that the server watches; its name is the model's.
        export: creates the SavedModel at a path, and gives what `export_module` does.
        sample_rate: of the module, in Hz.

    Returns:
        The version's folder, and one line for each check that was made.

    Raises:
        HubError: see `check_serving_root` and `warmup.write_warmup`.
    """
    from hares_tf.hub.export.warmup import write_warmup

    root = Path(os.path.realpath(root))
    check_serving_root(root)
    # Inside of the root: a folder elsewhere may be on another disk, from where none can be renamed.
    staging = root / temporary_name("version")
    new_folders = [folder for folder in (root, *root.parents) if not folder.exists()]
    staging.mkdir(parents=True)
    for folder in new_folders:
        _open_to_all(folder)
    try:
        module, checks = export(staging / "module")
        warmed = write_warmup(module, root.name, sample_rate)
        return _publish(module, root), [*checks, f"warm-up requests for {', '.join(warmed)}"]
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _open_to_all(path: Path) -> None:
    # Who made a file may change its mode, unless the file system has none: then its mount decides.
    with contextlib.suppress(OSError):
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))


def _publish(module: Path, root: Path) -> Path:
    for path in (module, *module.rglob("*")):
        _open_to_all(path)
    while True:
        path = root / str(next_version(root))
        try:
            os.rename(module, path)
            return path
        except OSError:
            # rename(2) never replaces a folder with content: another program took the number.
            if not path.exists():
                raise
