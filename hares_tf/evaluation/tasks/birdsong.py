"""Birdsong: is there a bird in a recording of ten seconds?

The three development sets of DCASE 2018 task 3 (freefield1010, warblrb10k, BirdVox-DCASE-20k);
the labels of the challenge's test sets are not public. Appendix A: train on crops of 1 s, average
the scores of consecutive windows of 1 s; linear head; accuracy.

Traps: the paper does not use the challenge's splits but those of its reference [14], which are no
part of the data sets (`birdsong` therefore needs `splits/birdsong.csv`). The share of clips with
birds differs a lot between the sets (a quarter of freefield1010, three quarters of warblrb10k), so
the split moves the score. Every archive holds a folder `wav`, so sets unpacked in one place share
it; clips are matched by their id alone, which is unique over the sets.
"""

from collections.abc import Callable
from pathlib import Path

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.tasks.declaration import Dataset, Manifest, Places, Task, Windows
from hares_tf.evaluation.tasks.finding import find
from hares_tf.evaluation.tasks.labels import Labels
from hares_tf.evaluation.tasks.user_splits import (
    put_together,
    sounds_by_stem,
    split_as_paper,
    stem,
)
from hares_tf.recordings.folders import audio_files
from hares_tf.recordings.tables import read_table

DATASET = Dataset(
    name="Birdsong (DCASE 2018 task 3, development sets)",
    folder="birdsong",
    license="Creative Commons (warblrb10k and BirdVox-DCASE-20k: CC BY 4.0)",
    citation="Stowell et al., Automatic acoustic detection of birds through deep learning, 2019",
    obtain="""\
1. Open https://dcase.community/challenge2018/task-bird-audio-detection, section Download.
2. Fetch labels and audio of the three development sets (about 26 GB): ff1010bird_metadata_2018.csv
   with ff1010bird_wav.zip, warblrb10k_public_metadata_2018.csv with warblrb10k_public_wav.zip,
   BirdVoxDCASE20k_csvpublic.csv with BirdVox-DCASE-20k.zip.
3. Put all six files into birdsong/ below the data folder. The archives are read in place; unpacked
   they may lie in any folders below birdsong/.""",
)

LABELS = Labels.classes(("0", "1"))

# Data set -> (the usual name of its table, what a renamed table must still contain).
SETS = {
    "ff1010bird": ("ff1010bird_metadata_2018.csv", "ff1010"),
    "warblrb10k": ("warblrb10k_public_metadata_2018.csv", "warblr"),
    "BirdVox-DCASE-20k": ("BirdVoxDCASE20k_csvpublic.csv", "birdvox"),
}
# Clips by data set, from the challenge's page; 35,690 in total.
SIZES = {"ff1010bird": 7_690, "warblrb10k": 8_000, "BirdVox-DCASE-20k": 20_000}
# Table 1: 36k, train and test together.
PAPER_CLIPS = range(35_500, 35_691)

EXPLANATION = """\
The paper scores Birdsong on the train and test split that the authors of its reference [14]
(Tagliasacchi et al., Pre-training audio representations with self-supervision, 2020) made and
handed out. It is no part of the data sets and is not part of hares-tf; the page
https://github.com/google-deepmind/slowfast_nfnets linked it ("download link"). Write it as a table
with the header file,split: the id of each clip (folder and ending do not matter), then train,
validation or test.
Without it, the task birdsong_official scores the challenge's own scheme, in which each of the
three sets is tested once; its score cannot be compared with the paper's and enters no HARES
total."""


def _read(places: Places) -> Manifest:
    """Reads the paper's task: all three sets, split by the user's file."""
    root, tables = _tables(places)
    listed = {key: label for table in tables.values() for key, label in table.items()}
    splits, shortfall = split_as_paper(places, "birdsong", EXPLANATION, listed, PAPER_CLIPS)
    sounds, notes = sounds_by_stem(root)
    return put_together(LABELS, listed, splits, sounds, root, missing=shortfall, notes=notes)


def _read_official(places: Places) -> Manifest:
    """Reads the challenge's scheme, in which each set is a fold."""
    root, tables = _tables(places)
    listed = {key: label for table in tables.values() for key, label in table.items()}
    folds = {key: name for name, table in tables.items() for key in table}
    sounds, notes = sounds_by_stem(root)
    return put_together(LABELS, listed, folds, sounds, root, folds=tuple(SETS), notes=notes)


def _tables(places: Places) -> tuple[Path, dict[str, dict[str, str]]]:
    """Returns the folder of all data sets, and the labels by id of each data set."""
    usual = [table for table, _ in SETS.values()]
    found = find(places, DATASET, "", *usual)
    root = found if found.is_dir() else found.parent
    paths = [Path(path) for path in audio_files(root, ".csv").values()]
    tables: dict[str, dict[str, str]] = {}
    first_in: dict[str, str] = {}
    for name, (table, token) in SETS.items():
        path = _table_path(root, paths, name, table, token)
        tables[name] = _read_labels(path, first_in)
    return root, tables


def _table_path(root: Path, paths: list[Path], name: str, usual: str, token: str) -> Path:
    """Returns a data set's table: that of the usual name, or the only one that names the set."""
    exact = [path for path in paths if path.name == usual]
    near = exact[:1] or [path for path in paths if token in path.name.lower()]
    if len(near) == 1:
        return near[0]
    if near:
        raise EvaluationError(
            f"{root} has {len(near)} tables that may be the labels of {name} "
            f"({', '.join(path.name for path in near)}); keep only {usual}."
        )
    raise EvaluationError(
        f"{root} lacks the labels of {name}: no table {usual} is in it.\n{DATASET.obtain}"
    )


def _read_labels(path: Path, first_in: dict[str, str]) -> dict[str, str]:
    """{id: "0" or "1"} of one table. The column `datasetid` is not needed and not trusted."""
    table: dict[str, str] = {}
    for number, row in read_table(path, ("itemid", "hasbird")):
        key, label = stem(row["itemid"]), row["hasbird"].strip()
        where = f"{path}, row {number}"
        if not key:
            raise EvaluationError(f"{where}: the column 'itemid' is empty.")
        if label not in LABELS.names:
            raise EvaluationError(f"{where}: hasbird of {key} is {label!r}, not 0 or 1.")
        if key in first_in:
            raise EvaluationError(f"{where}: {key} is listed already ({first_in[key]}).")
        table[key], first_in[key] = label, where
    return table


def _declare(task_id: str, read: Callable[[Places], Manifest], suite: str, **more) -> Task:
    return Task(
        id=task_id,
        version=1,
        domain="environment",
        windows=Windows(1.0),
        head="linear",
        metric="accuracy",
        read=read,
        suite=suite,
        dataset=DATASET,
        source="hares_tf.evaluation.tasks.birdsong",
        **more,
    )


# How many clips each split of the paper has is not known: see PAPER_CLIPS.
TASKS = (
    _declare("birdsong", _read, "hares"),
    _declare("birdsong_official", _read_official, "variant", expected=SIZES),
)
