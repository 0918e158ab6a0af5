"""ESC-50: which of fifty environmental sounds is heard in a recording of five seconds?

2,000 recordings in five folds of 400, eight of each class in every fold. Appendix A: whole clips
of 5 s; a linear SVM for each fold; mean accuracy of the five folds.

Traps: clips cut from one recording are always in one fold, so only the published folds are right
(a random split mixes them and scores too high). The number at the beginning of a file name is its
fold, the one at its end its class; both are taken from the table, not from the name.
"""

from collections.abc import Iterator
from pathlib import Path

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.tasks.declaration import Dataset, Manifest, Places, Task, Windows
from hares_tf.evaluation.tasks.finding import file_content, find
from hares_tf.evaluation.tasks.labels import Labels
from hares_tf.evaluation.tasks.listing import Listing, located_rows
from hares_tf.recordings.archives import sounds_in

DATASET = Dataset(
    name="ESC-50",
    folder="esc50",
    license="CC BY-NC 3.0",
    citation="Piczak, ESC: Dataset for environmental sound classification, 2015",
    obtain="""\
1. Open https://github.com/karolpiczak/ESC-50 and fetch ESC-50-master.zip (about 600 MB), or clone
   the repository.
2. Put the archive into esc50/ below the data folder; it is read in place. Unpacked, the layout is
   esc50/ESC-50-master/audio and esc50/ESC-50-master/meta/esc50.csv.""",
)

FOLDS = ("1", "2", "3", "4", "5")
N_CLASSES = 50
TABLE = "meta/esc50.csv"
_COLUMNS = ("filename", "fold", "target", "category")


def _read(places: Places) -> Manifest:
    place = _place(places)
    listing = Listing(parts=FOLDS)
    category_of: dict[str, str] = {}
    for where, row in _rows(place):
        listing.add(where, row["filename"], row["category"], row["fold"])
        if category_of.setdefault(row["target"], row["category"]) != row["category"]:
            raise EvaluationError(
                f"{where}: target {row['target']} is {row['category']!r} here and "
                f"{category_of[row['target']]!r} further up."
            )
    names = sorted(category_of.values())
    if len(names) != N_CLASSES or len(set(names)) != N_CLASSES:
        raise EvaluationError(
            f"{place}: {TABLE} has {len(set(names))} categories and {len(names)} targets, "
            f"not {N_CLASSES} of each."
        )
    sounds = {
        name.rpartition("/")[2]: sound
        for name, sound in sounds_in(place, ".wav").items()
        if f"/{name}".rpartition("/")[0].endswith("/audio")
    }
    return listing.manifest(Labels.classes(names), sounds, place, DATASET, folds=FOLDS)


def _place(places: Places) -> Path:
    """Returns the folder or archive that holds `audio` and `meta`."""
    found = find(places, DATASET, "ESC-50-master", "ESC-50", "ESC-50-master.zip", TABLE)
    return found.parent.parent if found.name == "esc50.csv" else found


def _rows(place: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields (place, row) of the table, which is in the folder or in the archive."""
    if place.is_dir():
        return located_rows(place / TABLE, _COLUMNS)
    where, content = _table_in(place)
    return located_rows(where, _COLUMNS, content=content)


def _table_in(place: Path) -> tuple[str, bytes]:
    """Returns the name and the content of the table in an archive."""
    tables = [m for name, m in sounds_in(place, ".csv").items() if f"/{name}".endswith(f"/{TABLE}")]
    if len(tables) != 1:
        raise EvaluationError(f"{place} has {len(tables)} tables {TABLE}, not one; fetch it again.")
    return tables[0].where, file_content(tables[0])


TASKS = (
    Task(
        id="esc50",
        version=1,
        domain="environment",
        windows=Windows(5.0, train="whole"),
        head="svm",
        metric="accuracy",
        read=_read,
        suite="hares",
        expected={fold: 400 for fold in FOLDS},
        dataset=DATASET,
        source="hares_tf.evaluation.tasks.esc50",
    ),
)
