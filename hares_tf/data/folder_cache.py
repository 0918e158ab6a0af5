"""A folder of audio as prepared clips, made once and kept in the cache."""

import os
from pathlib import Path

from hares_tf.data import sidecar
from hares_tf.data.errors import DataError
from hares_tf.data.plan import make_plan
from hares_tf.data.prepare import UNFINISHED, carry_out
from hares_tf.data.shard_writer import Settings
from hares_tf.recordings.labeled_folder import SUBFOLDER, folder_source
from hares_tf.recordings.labeled_table import table_source
from hares_tf.utils.files import cache_dir
from hares_tf.utils.progress import Progress


def prepared(
    path: str | os.PathLike,
    *,
    sample_rate: int = 16_000,
    cache: str | os.PathLike | None = None,
    progress: str = "none",
    labels: str | os.PathLike | None = None,
) -> Path | str:
    """A folder of prepared clips for `path`: itself, or its recordings prepared into the cache.

    A cached copy is used as long as names, sizes and dates of the recordings (and the labels) are
    the same. Processes that ask for the same at the same time prepare it once.

    Args:
        path: a folder of prepared clips (also one in a bucket, gs://...), or of audio (meant for
            what decodes in minutes; what is larger belongs into a folder that `hares-prepare`
            makes).
        sample_rate: of clips that are prepared here, in Hz.
        cache: the cache folder, in which copies go to `prepared`; default: `files.cache_dir()`.
        progress: a mode of `hares_tf.utils.progress.Progress`.
        labels: None; "subfolder"; or a CSV with the columns `file` and `label`. See `sources`.

    Raises:
        DataError: `path` is neither, or nothing in it can be used.
    """
    if "://" in str(path):
        if labels is not None:
            raise DataError(f"{path} must hold prepared clips, which bring their labels")
        # Elsewhere than on a disk, clips are prepared already: the reader says if they are not.
        return str(path)
    path = Path(path)
    if sidecar.finished(path):
        if labels is not None:
            raise DataError(
                f"{path} holds prepared clips, which bring their labels; leave out labels="
            )
        return path
    if (path / UNFINISHED).is_dir():
        raise DataError(
            f"{path} holds clips that are not all prepared; run the same hares-prepare again"
        )
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
