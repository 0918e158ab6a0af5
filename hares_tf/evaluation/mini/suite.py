"""The mini suite: generated once, checked at every use, read by the readers of the real tasks."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path

from hares_tf.evaluation.mini.tree import VERSION, write
from hares_tf.evaluation.tasks import HARES, load_task
from hares_tf.evaluation.tasks.declaration import SPLITS, Manifest, Places, Task
from hares_tf.evaluation.tasks.labels import Labels
from hares_tf.utils.cache import cache_dir
from hares_tf.utils.files import atomic_directory, locked

_LIST = "sizes.json"
# Module of this package -> its functions that return the tree of a data set.
_TREES = {
    "environment": ("audioset", "birdsong", "tut18", "esc50"),
    "speech": ("speech_commands", "fluent_speech_commands", "voxforge", "voxceleb1"),
    "music": ("nsynth", "magnatagatune"),
}
# Clips by split, in the order of `SPLITS`.
_SIZES = {
    "audioset": (22, 0, 16),
    "birdsong": (30, 6, 24),
    "tut18": (16, 4, 16),
    "speech_commands_v1": (99, 21, 36),
    "speech_commands_v2": (84, 18, 48),
    "fluent_speech_commands": (24, 8, 16),
    "voxforge": (24, 6, 18),
    "voxceleb1": (24, 6, 18),
    "nsynth_instrument": (30, 6, 18),
    "nsynth_pitch": (30, 6, 18),
    "magnatagatune": (20, 3, 12),
}
# By fold.
_FOLD_SIZES = {"esc50": {"1": 8, "2": 8, "3": 8, "4": 8, "5": 50}}


def _expected(task_id: str) -> dict[str, int]:
    if task_id in _FOLD_SIZES:
        return _FOLD_SIZES[task_id]
    return {part: size for part, size in zip(SPLITS, _SIZES[task_id], strict=True) if size}


def mini_task_ids() -> tuple[str, ...]:
    """Returns the ids of the suite's tasks: those of the twelve tasks with the prefix "mini_"."""
    return tuple(f"mini_{task_id}" for task_id in HARES)


def mini_suite() -> list[Task]:
    """Returns the tasks; the first call on a machine generates the files (a few seconds)."""
    folder = cache_dir() / f"mini-{VERSION}"
    if not _is_whole(folder):
        # Another process may have written it while this one waited for the lock.
        with locked(folder.with_name(f".{folder.name}.lock")):
            if not _is_whole(folder):
                _write_at(folder)
    return [_task(task_id, folder) for task_id in HARES]


def _write_at(folder: Path) -> None:
    try:
        with atomic_directory(folder, overwrite=True) as temporary:
            write_suite(temporary)
            sizes = json.dumps(_sizes(temporary))
            (temporary / _LIST).write_text(sizes, encoding="utf-8")
    except OSError:
        # Without file locks, another process may have been faster.
        if not _is_whole(folder):
            raise


def write_suite(folder: Path) -> None:
    """Writes all ten data sets below `folder` in the layout of a user's data folder."""
    trees = [
        getattr(import_module(f"hares_tf.evaluation.mini.{module}"), name)()
        for module, names in _TREES.items()
        for name in names
    ]
    # Most of the time is spent in Fourier transforms, which run in parallel.
    with ThreadPoolExecutor() as pool:
        list(pool.map(partial(write, folder=folder), trees))


def _task(task_id: str, folder: Path) -> Task:
    real = load_task(task_id)
    return replace(
        real,
        id=f"mini_{task_id}",
        suite="mini",
        version=VERSION,
        expected=_expected(task_id),
        read=partial(_read, real.read, folder),
        source="hares_tf.evaluation.mini",
    )


def _read(read: Callable[[Places], Manifest], folder: Path, _: Places) -> Manifest:
    """Reads the small version, whatever folders of data the user gives.

    Missing clips and notes of the reader are dropped, because they compare with the real data set;
    `Task.expected` has the sizes of the small one. Tags without clips are dropped, because they
    have no average precision.
    """
    manifest = read(Places(data_dir=folder))
    labels = manifest.labels
    if labels.kind == "tags":
        used = {tag for clip in manifest.clips for tag in clip.label}
        labels = Labels.tags(name for name in labels.names if name in used)
    return replace(manifest, labels=labels, missing=(), notes=())


def _sizes(folder: Path) -> dict[str, int]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def _is_whole(folder: Path) -> bool:
    """Returns whether no file of the suite was deleted, truncated or added."""
    try:
        sizes = json.loads((folder / _LIST).read_text(encoding="utf-8"))
        found = _sizes(folder)
        found.pop(_LIST)
        return found == sizes
    except (OSError, ValueError, KeyError):
        return False
