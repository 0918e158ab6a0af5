"""Prepared clips of a folder of audio, kept in the cache."""

import os
from pathlib import Path

from hares_tf.data import sidecar
from hares_tf.data.errors import DataError
from hares_tf.data.plan import make_plan
from hares_tf.data.prepare import UNFINISHED, carry_out
from hares_tf.data.shard_writer import Settings
from hares_tf.recordings.labeled_folder import SUBFOLDER, folder_source
from hares_tf.recordings.labeled_table import table_source
from hares_tf.utils.cache import cache_dir
from hares_tf.utils.progress import Progress


def prepared(
    path: str | os.PathLike,
    *,
    sample_rate: int = 16_000,
    cache: str | os.PathLike | None = None,
    progress: str = "none",
    labels: str | os.PathLike | None = None,
) -> Path | str:
    """Returns a folder of prepared clips: `path` itself, or its recordings prepared in the cache.

    A cached copy is used as long as names, sizes and times of modification of the recordings, and
    their labels, are the same. Concurrent processes prepare a folder once.

    Args:
        path: a folder of prepared clips (also a remote one, gs://...), or of audio. The latter is
            meant for small folders, which are decoded in minutes; use `hares-prepare` for others.
        sample_rate: sample rate of clips that are prepared here, in hertz.
        cache: the cache folder, whose subfolder `prepared` holds the copies; default:
            `cache_dir()`.
        progress: a mode of `hares_tf.utils.progress.Progress`.
        labels: None; "subfolder"; or a CSV with the columns `file` and `label`. See
            `recordings.folder_source` and `recordings.table_source`.

    Raises:
        DataError: `path` is neither, or none of its recordings can be used.
    """
    if "://" in str(path):
        if labels is not None:
            raise DataError(
                f"{path} must hold prepared clips, which have their own labels; leave out labels=."
            )
        # Remote folders hold prepared clips; the reader raises an error if they do not.
        return str(path)
    path = Path(path)
    if sidecar.finished(path):
        if labels is not None:
            raise DataError(
                f"{path} holds prepared clips, which have their own labels; leave out labels=."
            )
        return path
    if (path / UNFINISHED).is_dir():
        raise DataError(f"{path} holds unfinished clips; run the same hares-prepare command again.")
    if labels is None or labels == SUBFOLDER:
        source = folder_source(path, labels)
    else:
        source = table_source(path, labels)
    plan = make_plan(source, Settings(sample_rate=sample_rate))
    home = cache_dir() if cache is None else Path(cache)
    folder = home / "prepared" / plan.hash[:32]
    damaged = sidecar.finished(folder) and sidecar.size_problem(folder, sidecar.read(folder))
    if damaged or not sidecar.finished(folder):
        Progress(progress).say(
            f"preparing {len(source.recordings)} recordings of {path} in {folder} ..."
        )
    carry_out(plan, folder, wait=True, repair=True, progress=progress)
    return folder
