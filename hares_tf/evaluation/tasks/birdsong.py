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

from functools import partial
from pathlib import Path

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.tasks.declaration import Dataset, Manifest, Places, Task, Windows
from hares_tf.evaluation.tasks.finding import find
from hares_tf.evaluation.tasks.labels import Labels
from hares_tf.evaluation.tasks.listing import Listing, located_rows
from hares_tf.evaluation.tasks.user_splits import sounds_by_stem, split_as_paper, stem
from hares_tf.recordings.folders import audio_files

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


def _read(places: Places) -> Manifest:
    """Reads the paper's task: all three sets, split by the user's file."""
    root, listing = _listing(places)
    official = "the challenge's own scheme, in which each of the three sets is tested once"
    shortfall = split_as_paper(places, "birdsong", listing, "Birdsong", official, PAPER_CLIPS)
    sounds, notes = sounds_by_stem(root)
    return listing.manifest(LABELS, sounds, root, DATASET, missing=shortfall, notes=notes)


def _read_official(places: Places) -> Manifest:
    """Reads the challenge's scheme, in which each set is a fold."""
    root, listing = _listing(places)
    sounds, notes = sounds_by_stem(root)
    return listing.manifest(LABELS, sounds, root, DATASET, folds=tuple(SETS), notes=notes)


def _listing(places: Places) -> tuple[Path, Listing]:
    """Returns the folder of all sets, and the recordings in their tables, with sets as folds."""
    found = find(places, DATASET, "", *(table for table, _ in SETS.values()))
    root = found if found.is_dir() else found.parent
    paths = [Path(path) for path in audio_files(root, ".csv").values()]
    listing = Listing(LABELS, tuple(SETS))
    for name, (usual, token) in SETS.items():
        table = _table_path(root, paths, name, usual, token)
        # The column `datasetid` is not needed and not trusted.
        for where, row in located_rows(table, ("itemid", "hasbird")):
            listing.add(where, stem(row["itemid"]), row["hasbird"], name)
    return root, listing


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


_task = partial(
    Task,
    version=1,
    domain="environment",
    windows=Windows(1.0),
    head="linear",
    metric="accuracy",
    dataset=DATASET,
    source="hares_tf.evaluation.tasks.birdsong",
)

# How many clips each split of the paper has is not known: see PAPER_CLIPS.
TASKS = (
    _task("birdsong", read=_read, suite="hares"),
    _task("birdsong_official", read=_read_official, suite="variant", expected=SIZES),
)
