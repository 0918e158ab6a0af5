"""Splits that a user supplies, for tasks whose data set ships another one or none.

The paper scores Birdsong and TUT18 on splits of its own reference [14]. They are no part of the
data sets, so the user puts them below the data folder as `splits/<task id>.csv`:

    file,split
    audio/airport-barcelona-0-0-a.wav,train
    airport-barcelona-0-1-a,test

Folder and ending of a file do not matter; recordings are matched by what is left, their stem. The
functions here find recordings by stem and put tables, recordings and split together.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from hares_tf.evaluation.errors import DataAbsentError, EvaluationError
from hares_tf.evaluation.tasks.declaration import SPLITS, Clip, Manifest, Places
from hares_tf.evaluation.tasks.labels import Labels
from hares_tf.recordings.archives import sounds_in
from hares_tf.recordings.folders import audio_files
from hares_tf.recordings.sound import Sound
from hares_tf.recordings.tables import read_table

# What libsndfile reads and what recordings are passed on as.
AUDIO_ENDINGS = (".wav", ".flac", ".ogg", ".mp3")
# Read in place where they lie beside or below the recordings. Compressed tars are not: a large one
# beside its own unpacked copy would be refused for nothing.
_ARCHIVES = (".zip", ".tar")


def stem(name: str) -> str:
    """A recording's name without folder and without the ending of an audio file.

    Other endings stay: ids may contain dots.
    """
    base = name.strip().replace("\\", "/").rpartition("/")[2]
    for ending in AUDIO_ENDINGS:
        if base.lower().endswith(ending):
            return base[: -len(ending)]
    return base


def read_splits(places: Places, task_id: str, explanation: str) -> dict[str, str]:
    """Returns the split of every recording, from `data_dir/splits/<task_id>.csv`.

    Args:
        places: the folders in which the user keeps data.
        task_id: id of the task that needs the split.
        explanation: why a file is needed, where its content comes from, and what to do without
            it; the message of the error when it is absent.

    Returns:
        stem of the recording -> "train", "validation" or "test", in the order of the file.

    Raises:
        EvaluationError: there is no such file, it lacks the columns `file` and `split`, or a row
            is empty, names another split, or names a recording for the second time.
    """
    if places.data_dir is None:
        raise DataAbsentError(f"{task_id} needs the folder that --data_dir names; give it.")
    path = split_file(places, task_id)
    if not path.is_file():
        raise DataAbsentError(
            f"{task_id} needs the file {path}, which is not there.\n{explanation}"
        )
    splits: dict[str, str] = {}
    row_of: dict[str, int] = {}
    for number, row in read_table(path, ("file", "split")):
        key, split = stem(row["file"]), row["split"].strip()
        if not key:
            raise EvaluationError(f"{path}, row {number}: the column 'file' is empty.")
        if split not in SPLITS:
            raise EvaluationError(
                f"{path}, row {number}: split {split!r} is not one of {', '.join(SPLITS)}."
            )
        if key in splits:
            raise EvaluationError(
                f"{path}, row {number}: {key} is listed already in row {row_of[key]}."
            )
        splits[key], row_of[key] = split, number
    for split in ("train", "test"):
        if split not in splits.values():
            raise EvaluationError(f"{path}: no row has the split {split!r}.")
    return splits


def split_file(places: Places, task_id: str) -> Path:
    """Where the split of a task is looked for."""
    return places.data_dir / "splits" / f"{task_id}.csv"


def sounds_by_stem(
    root: Path, archives: Iterable[Path] = ()
) -> tuple[dict[str, Sound], tuple[str, ...]]:
    """All wav files below a folder, in folders and in archives, by stem.

    Args:
        root: the folder; `.zip` and `.tar` files in it are read in place.
        archives: further archives that lie elsewhere.

    Returns:
        stem -> sound (files win over archives, then the first path in sorted order), and a note
        where some recordings are there more than once.

    Raises:
        EvaluationError: an archive is damaged.
    """
    found: dict[str, Sound] = {}
    doubles: list[tuple[str, str]] = []
    for place in (root, *map(Path, audio_files(root, _ARCHIVES).values()), *archives):
        for name, sound in sounds_in(place, ".wav").items():
            key = stem(name)
            first = found.setdefault(key, sound)
            if first is not sound:
                doubles.append((first.where, sound.where))
    if not doubles:
        return found, ()
    used, unused = doubles[0]
    note = f"{len(doubles)} recordings are there more than once: {used} is used, not {unused}."
    return found, (note,)


def split_as_paper(
    places: Places,
    task_id: str,
    explanation: str,
    listed: Mapping[str, str],
    paper_clips: range,
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Returns the user's split of a data set, checked against its tables and the paper.

    Args:
        places, task_id, explanation: see `read_splits`.
        listed: stem -> label of all recordings of the data set.
        paper_clips: how many train and test clips together the paper's Table 1 leaves open, since
            it gives thousands.

    Returns:
        stem -> split, and what keeps it from being the paper's split: a sentence for
        `Manifest.missing`, or nothing. The sizes of the single splits are not known, so they
        cannot be declared as `Task.expected`; yet a split of a few clips must not pass.

    Raises:
        EvaluationError: see `read_splits`; or the split names recordings the data set has not.
    """
    splits = read_splits(places, task_id, explanation)
    path = split_file(places, task_id)
    strangers = [name for name in splits if name not in listed]
    if strangers:
        raise EvaluationError(
            f"{path} names {len(strangers)} recordings that the tables of the data set do not "
            f"list, such as {strangers[0]!r}; it must be a split of this data set."
        )
    count = sum(split != "validation" for split in splits.values())
    if count in paper_clips:
        return splits, ()
    return splits, (
        f"[{path} has {count:,} train and test clips; the paper's split has {paper_clips.start:,} "
        f"to {paper_clips.stop - 1:,}]",
    )


def put_together(
    labels: Labels,
    listed: Mapping[str, str],
    parts: Mapping[str, str],
    sounds: Mapping[str, Sound],
    place: Path,
    folds: tuple[str, ...] = (),
    missing: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> Manifest:
    """Returns a manifest of the listed recordings, in the order of the list.

    Args:
        labels: the label space.
        listed: key -> label of every recording of the data set.
        parts: key -> split or fold; recordings without one are left out and counted.
        sounds: key -> sound of the recordings that are there.
        place: where they were looked for, for the message.
        folds, missing, notes: of the manifest; absent recordings come before `missing`.

    Raises:
        EvaluationError: not one recording is there.
    """
    taking_part = [key for key in listed if key in parts]
    clips = tuple(
        Clip(key, sounds[key], listed[key], parts[key]) for key in taking_part if key in sounds
    )
    if not clips:
        example = taking_part[0] if taking_part else "any"
        raise EvaluationError(
            f"{place} holds none of the {len(taking_part)} listed recordings, such as {example!r}."
        )
    n_excluded = len(listed) - len(taking_part)
    if n_excluded:
        notes += (f"{n_excluded} listed recordings have no split and are left out.",)
    absent = tuple(key for key in taking_part if key not in sounds)
    return Manifest(clips, labels, folds, absent + missing, n_excluded, notes)
