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
from hares_tf.recordings.sound import Sound
from hares_tf.recordings.tables import read_lines, read_table

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

EXPLANATION = """\
The paper scores TUT18 on the train and test split that the authors of its reference [14]
(Tagliasacchi et al., Pre-training audio representations with self-supervision, 2020) made and
handed out. It is no part of the data set and is not part of hares-tf; the page
https://github.com/google-deepmind/slowfast_nfnets linked it ("download link"). Write it as a table
with the header file,split: the name of each recording (folder and ending do not matter), then
train, validation or test.
Without it, the task tut18_official scores the challenge's own fold, which keeps recording places
apart; its score cannot be compared with the paper's and enters no HARES total."""


def _read(places: Places) -> Manifest:
    """Reads the paper's task: all recordings, split by the user's file."""
    meta = _meta(places)
    listed: dict[str, str] = {}
    for number, row in read_table(meta, ("filename", "scene_label"), "\t"):
        _list(listed, row["filename"], row["scene_label"], f"{meta}, row {number}")
    splits, shortfall = split_as_paper(places, "tut18", EXPLANATION, listed, PAPER_CLIPS)
    sounds, notes = _sounds(meta.parent)
    return put_together(LABELS, listed, splits, sounds, meta.parent, missing=shortfall, notes=notes)


def _read_official(places: Places) -> Manifest:
    """Reads the fold of the data set's own `evaluation_setup`."""
    home = _meta(places).parent
    listed: dict[str, str] = {}
    parts: dict[str, str] = {}
    for part, name in (("train", "fold1_train.txt"), ("test", "fold1_evaluate.txt")):
        path = home / "evaluation_setup" / name
        for number, line in enumerate(read_lines(path), 1):
            cells = line.split("\t")
            where = f"{path}, entry {number}"
            if len(cells) != 2:
                raise EvaluationError(f"{where}: not a file and its scene, separated by a tab.")
            parts[_list(listed, *cells, where)] = part
    sounds, notes = _sounds(home)
    return put_together(LABELS, listed, parts, sounds, home, notes=notes)


def _meta(places: Places) -> Path:
    """Returns the table of all recordings, which is in the data set's folder."""
    return find(places, DATASET, f"{FOLDER}/meta.csv", "meta.csv")


def _list(listed: dict[str, str], file: str, scene: str, where: str) -> str:
    """Adds a recording to the list and returns its key."""
    key, scene = stem(file), scene.strip()
    if not key:
        raise EvaluationError(f"{where}: the name of the recording is empty.")
    if scene not in SCENES:
        raise EvaluationError(f"{where}: {scene!r} is none of the scenes {', '.join(SCENES)}.")
    if key in listed:
        raise EvaluationError(f"{where}: {key} is listed already.")
    listed[key] = scene
    return key


def _sounds(home: Path) -> tuple[dict[str, Sound], tuple[str, ...]]:
    """Returns the recordings in the data set's folder and in the archives beside it.

    Nothing else beside it is looked at: the mobile data set has the same file names.
    """
    return sounds_by_stem(home, sorted(home.parent.glob(f"{FOLDER}.audio*.zip")))


def _declare(task_id: str, read: Callable[[Places], Manifest], suite: str, **more) -> Task:
    return Task(
        id=task_id,
        version=1,
        domain="environment",
        windows=Windows(5.0),
        head="linear",
        metric="accuracy",
        read=read,
        suite=suite,
        dataset=DATASET,
        source="hares_tf.evaluation.tasks.tut18",
        **more,
    )


# How many clips each split of the paper has is not known: see PAPER_CLIPS.
TASKS = (
    _declare("tut18", _read, "hares"),
    _declare("tut18_official", _read_official, "variant", expected=OFFICIAL_SIZES),
)
