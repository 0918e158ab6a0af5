"""Finds the data sets of tasks on disk, and reads single files of them."""

from pathlib import Path

from hares_tf.audio import AudioError
from hares_tf.evaluation.errors import DataAbsentError, EvaluationError
from hares_tf.evaluation.tasks.declaration import Dataset, Places
from hares_tf.recordings.archives import MemberSound
from hares_tf.recordings.sound import Sound


def find(places: Places, dataset: Dataset, *candidates: str) -> Path:
    """Returns the first of some paths that exists below the data folder.

    Args:
        places: the folders in which the user keeps data.
        dataset: the data set; every candidate is looked for below `data_dir/dataset.folder`, then
            below `data_dir` itself.
        candidates: relative paths, the most usual first; "" is the folder of the data set.

    Raises:
        DataAbsentError: none of them exists; the message says how to obtain the data.
    """
    if places.data_dir is None:
        raise DataAbsentError(
            f"{dataset.name} is searched below --data_dir, which is not given.\n{dataset.obtain}"
        )
    roots = [places.data_dir / dataset.folder, places.data_dir]
    for root in roots:
        for candidate in candidates:
            path = root / candidate
            if (candidate or root == roots[0]) and path.exists():
                return path
    names = " or ".join(filter(None, candidates))
    missing = f"there is no {names} in {roots[0]} (nor in {roots[1]})"
    if not names:
        missing = f"there is no folder {roots[0]}"
    raise DataAbsentError(f"{dataset.name} was not found: {missing}.\n{dataset.obtain}")


def file_content(sound: Sound) -> bytes:
    """Returns the bytes of a file on disk or in an archive.

    Raises:
        EvaluationError: it cannot be read.
    """
    try:
        return sound.read() if isinstance(sound, MemberSound) else Path(sound.where).read_bytes()
    except (AudioError, OSError) as error:
        raise EvaluationError(f"{sound.where} cannot be read ({error}).") from error
