"""Splits that a user supplies, for tasks whose data set ships another one or none.

The paper scores Birdsong and TUT18 on splits of its own reference [14]. They are no part of the
data sets, so the user puts them below the data folder as `splits/<task id>.csv`:

    file,split
    audio/airport-barcelona-0-0-a.wav,train
    airport-barcelona-0-1-a,test

Folder and ending of a file do not matter; recordings are matched by what is left, their stem.
"""

from collections.abc import Iterable
from pathlib import Path

from hares_tf.evaluation.errors import DataAbsentError, EvaluationError
from hares_tf.evaluation.tasks.declaration import Places
from hares_tf.evaluation.tasks.listing import Listing, located_rows
from hares_tf.recordings.archives import sounds_in
from hares_tf.recordings.folders import audio_files
from hares_tf.recordings.sound import Sound

# What libsndfile reads and what recordings are passed on as.
AUDIO_ENDINGS = (".wav", ".flac", ".ogg", ".mp3")
# Read in place where they lie beside or below the recordings. Compressed tars are not: a large one
# beside its own unpacked copy would be refused for nothing.
_ARCHIVES = (".zip", ".tar")
_EXPLANATION = """\
The paper scores {name} on the train and test split that the authors of its reference [14]
(Tagliasacchi et al., Pre-training audio representations with self-supervision, 2020) made and
handed out. It is no part of the data set and is not part of hares-tf; the page
https://github.com/google-deepmind/slowfast_nfnets linked it ("download link"). Write it as a table
with the header file,split: the name of each recording (folder and ending do not matter), then
train, validation or test.
Without it, the task {task_id}_official scores {official}; its score cannot be compared with the
paper's and enters no HARES total."""


def stem(name: str) -> str:
    """A recording's name without folder and without the ending of an audio file.

    Other endings stay: ids may contain dots.
    """
    base = name.strip().replace("\\", "/").rpartition("/")[2]
    for ending in AUDIO_ENDINGS:
        if base.lower().endswith(ending):
            return base[: -len(ending)]
    return base


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
    places: Places, task_id: str, listing: Listing, name: str, official: str, paper_clips: range
) -> tuple[str, ...]:
    """Gives listed recordings the splits of the user's file `data_dir/splits/<task_id>.csv`.

    Args:
        places: the folders in which the user keeps data.
        task_id: id of the task that needs the split.
        listing: all recordings of the data set, by stem.
        name: the data set's, for messages.
        official: what the variant `<task_id>_official` scores, for messages.
        paper_clips: how many train and test clips together the paper's Table 1 leaves open, since
            it gives thousands.

    Returns:
        What keeps the split from being the paper's: a sentence for `Manifest.missing`, or nothing.
        The sizes of the single splits are not known, so they cannot be declared as
        `Task.expected`; yet a split of a few clips must not pass.

    Raises:
        EvaluationError: there is no such file, it lacks the columns `file` and `split`, or a row
            is empty, names another split, or names a recording for the second time or one that
            the data set has not.
    """
    if places.data_dir is None:
        raise DataAbsentError(f"{task_id} needs the folder that --data_dir names; give it.")
    path = places.data_dir / "splits" / f"{task_id}.csv"
    if not path.is_file():
        explanation = _EXPLANATION.format(name=name, task_id=task_id, official=official)
        raise DataAbsentError(
            f"{task_id} needs the file {path}, which is not there.\n{explanation}"
        )
    table = Listing()
    for where, row in located_rows(path, ("file", "split")):
        table.add(where, stem(row["file"]), part=row["split"])
    splits = list(table.parts.values())
    for split in ("train", "test"):
        if split not in splits:
            raise EvaluationError(f"{path}: no row has the split {split!r}.")
    strangers = [key for key in table.parts if key not in listing.labels]
    if strangers:
        raise EvaluationError(
            f"{path} names {len(strangers)} recordings that the tables of the data set do not "
            f"list, such as {strangers[0]!r}; it must be a split of this data set."
        )
    listing.parts = table.parts
    count = len(splits) - splits.count("validation")
    if count in paper_clips:
        return ()
    return (
        f"[{path} has {count:,} train and test clips; the paper's split has {paper_clips.start:,} "
        f"to {paper_clips.stop - 1:,}]",
    )
