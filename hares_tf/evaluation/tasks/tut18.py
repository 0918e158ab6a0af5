"""TUT18: in which of ten urban scenes was a recording of ten seconds made?

TUT Urban Acoustic Scenes 2018, development set (DCASE 2018 task 1A): 8,640 recordings, 864 of each
scene, stereo, 48 kHz, 24 bit. Appendix A: train on crops of 5 s, average the scores of the two
windows of 5 s; linear head; accuracy.

Traps: the paper does not use the challenge's fold but a split of its reference [14], which is no
part of the data set (`tut18` therefore needs `splits/tut18.csv`). Recordings of one place were cut
into several clips: the challenge's fold keeps places apart, and scores on it are lower. The tables
are separated by tabs, and `fold1_test.txt` has no labels, `fold1_evaluate.txt` has. The mobile data
set of task 1B has files of the same names, in other quality, in a folder of nearly the same name.
"""

from functools import partial
from pathlib import Path

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.tasks.declaration import Dataset, Manifest, Places, Task, Windows
from hares_tf.evaluation.tasks.finding import find
from hares_tf.evaluation.tasks.labels import Labels
from hares_tf.evaluation.tasks.listing import Listing, located_lines, located_rows
from hares_tf.evaluation.tasks.user_splits import sounds_by_stem, split_as_paper, stem

FOLDER = "TUT-urban-acoustic-scenes-2018-development"
DATASET = Dataset(
    name="TUT Urban Acoustic Scenes 2018, development set",
    folder="tut18",
    license="non-commercial use, by the license of Tampere University of Technology",
    citation="Mesaros, Heittola, Virtanen, A multi-device dataset for urban acoustic scene "
    "classification, 2018",
    obtain=f"""\
1. Open https://zenodo.org/record/1228142 (about 25 GB).
2. Fetch {FOLDER}.meta.zip and the 13 archives {FOLDER}.audio.1.zip to .audio.13.zip.
3. Unpack meta.zip in tut18/ below the data folder, so that tut18/{FOLDER}/meta.csv is there.
4. Put the audio archives into tut18/; they are read in place. Unpacked there, they fill
   tut18/{FOLDER}/audio.""",
)

# The ten scenes of the challenge's page, in alphabetical order.
SCENES = (
    "airport",
    "bus",
    "metro",
    "metro_station",
    "park",
    "public_square",
    "shopping_mall",
    "street_pedestrian",
    "street_traffic",
    "tram",
)
LABELS = Labels.classes(SCENES)
# Lines of fold1_train.txt and fold1_evaluate.txt, 8,640 together.
OFFICIAL_SIZES = {"train": 6_122, "test": 2_518}
# Table 1: 8.6k, train and test together.
PAPER_CLIPS = range(8_550, 8_641)


def _read(places: Places) -> Manifest:
    """Reads the paper's task: all recordings, split by the user's file."""
    meta = _meta(places)
    listing = Listing(LABELS)
    for where, row in located_rows(meta, ("filename", "scene_label"), "\t"):
        listing.add(where, stem(row["filename"]), row["scene_label"])
    official = "the challenge's own fold, which keeps recording places apart"
    shortfall = split_as_paper(places, "tut18", listing, "TUT18", official, PAPER_CLIPS)
    return _manifest(listing, meta.parent, missing=shortfall)


def _read_official(places: Places) -> Manifest:
    """Reads the fold of the data set's own `evaluation_setup`."""
    home = _meta(places).parent
    listing = Listing(LABELS)
    for part, name in (("train", "fold1_train.txt"), ("test", "fold1_evaluate.txt")):
        for where, line in located_lines(home / "evaluation_setup" / name):
            file, tab, scene = line.partition("\t")
            if not tab or "\t" in scene:
                raise EvaluationError(f"{where}: not a file and its scene, separated by a tab.")
            listing.add(where, stem(file), scene.strip(), part)
    return _manifest(listing, home)


def _meta(places: Places) -> Path:
    """Returns the table of all recordings, which is in the data set's folder."""
    return find(places, DATASET, f"{FOLDER}/meta.csv", "meta.csv")


def _manifest(listing: Listing, home: Path, missing: tuple[str, ...] = ()) -> Manifest:
    # Beside the data set's folder, only its archives are looked at: the mobile data set has the
    # same file names.
    sounds, notes = sounds_by_stem(home, sorted(home.parent.glob(f"{FOLDER}.audio*.zip")))
    return listing.manifest(LABELS, sounds, home, DATASET, missing=missing, notes=notes)


_task = partial(
    Task,
    version=1,
    domain="environment",
    windows=Windows(5.0),
    head="linear",
    metric="accuracy",
    dataset=DATASET,
    source="hares_tf.evaluation.tasks.tut18",
)

# How many clips each split of the paper has is not known: see PAPER_CLIPS.
TASKS = (
    _task("tut18", read=_read, suite="hares"),
    _task("tut18_official", read=_read_official, suite="variant", expected=OFFICIAL_SIZES),
)
