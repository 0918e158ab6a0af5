"""MagnaTagATune: which of 50 tags hold for 29 seconds of music.

Split and tags are those of musicnn-training (J. Pons, data/index/mtt), which the paper names
(Appendix A, with CLMR): the recordings lie in 16 folders, of which 0 to b are for training, c for
validation and d to f for testing; the tags are the 50 most frequent ones, with near synonyms kept
apart ("no vocals", "no vocal", "no voice"). Three recordings are empty files and left out.

Clips that carry none of the 50 tags are kept (997 of the 5,329 for testing). A cleaned split
without them (15,244/1,529/4,332) is common as well: its scores are higher, and not comparable.
"""

from collections.abc import Mapping
from pathlib import Path

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.tasks.declaration import (
    Dataset,
    Manifest,
    Places,
    Schedule,
    Task,
    Windows,
)
from hares_tf.evaluation.tasks.finding import find
from hares_tf.evaluation.tasks.labels import Labels
from hares_tf.evaluation.tasks.listing import Listing, located_rows
from hares_tf.recordings.archives import sounds_in
from hares_tf.recordings.sound import Sound

# In the order of musicnn-training's output_labels_mtt.txt: by falling frequency.
TAGS = (
    *("guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast"),
    *("piano", "ambient", "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male"),
    *("singing", "vocals", "no vocals", "harpsichord", "loud", "quiet", "flute", "woman"),
    *("male vocal", "no vocal", "pop", "soft", "sitar", "solo", "man", "classic", "choir"),
    *("voice", "new age", "dance", "male voice", "female vocal", "beats", "harp", "cello"),
    *("no voice", "weird", "country", "metal", "female voice", "choral"),
)
LABELS = Labels.tags(TAGS)
_FOLDERS = "0123456789abcdef"
_EMPTY_FILE = "the published mp3 is an empty file"

DATASET = Dataset(
    name="MagnaTagATune",
    folder="magnatagatune",
    license="CC BY-NC-SA 3.0",
    citation="E. Law, K. West, M. Mandel, M. Bay, J. S. Downie, Evaluation of algorithms using "
    "games: the case of music tagging, ISMIR 2009",
    obtain="""Get mp3.zip.001, mp3.zip.002, mp3.zip.003 (3 GB) and annotations_final.csv from
https://mirg.city.ac.uk/codeapps/the-magnatagatune-dataset and join the three parts with
cat mp3.zip.001 mp3.zip.002 mp3.zip.003 > mp3.zip
Put annotations_final.csv into DATA_DIR/magnatagatune/, and beside it either mp3.zip, which is read
in place, or what it unpacks to: the folders 0 to f, there or in a folder mp3.""",
    known_bad={"35644": _EMPTY_FILE, "55753": _EMPTY_FILE, "57881": _EMPTY_FILE},
)


def _read(places: Places) -> Manifest:
    """Reads all clips of annotations_final.csv, in its order; ids are from its column clip_id."""
    table = find(places, DATASET, "annotations_final.csv")
    files = _sounds(find(places, DATASET, "mp3", "mp3.zip", "mp3_all.zip", "0"))
    listing, sounds = Listing(LABELS), {}
    for where, row in located_rows(table, ("clip_id", "mp3_path", *TAGS), "\t"):
        clip, path = row["clip_id"], row["mp3_path"]
        listing.add(where, clip, _tags(where, row), _part(where, path))
        if path in files:
            sounds[clip] = files[path]
    return listing.manifest(LABELS, sounds, table.parent, DATASET)


def _sounds(place: Path) -> dict[str, Sound]:
    """Returns the sounds by path as in the table ("folder/name.mp3").

    Args:
        place: an archive, a folder that holds the 16 folders, or the first of these.
    """
    if not place.is_dir():
        # However the archive was made, the last two parts of a path are what the table names.
        return {
            "/".join(name.split("/")[-2:]): sound
            for name, sound in sounds_in(place, ".mp3").items()
        }
    # Only the 16 folders: beside them may lie all the other data sets.
    root = place.parent if place.name == "0" else place
    return {
        f"{folder}/{name}": sound
        for folder in _FOLDERS
        if (root / folder).is_dir()
        for name, sound in sounds_in(root / folder, ".mp3").items()
    }


def _part(where: str, path: str) -> str:
    folder = path.split("/")[0]
    if len(folder) != 1 or folder not in _FOLDERS:
        raise EvaluationError(
            f"{where}: mp3_path {path!r} does not begin with one of the folders 0 to f."
        )
    number = int(folder, 16)
    return "train" if number < 12 else "validation" if number == 12 else "test"


def _tags(where: str, row: Mapping[str, str]) -> tuple[str, ...]:
    for tag in TAGS:
        if row[tag] not in ("0", "1"):
            raise EvaluationError(f"{where}: the tag {tag!r} is {row[tag]!r}, neither 0 nor 1.")
    return tuple(tag for tag in TAGS if row[tag] == "1")


TASKS = (
    Task(
        id="magnatagatune",
        version=1,
        domain="music",
        # Appendix A: crops of 3 seconds, batches of 128 for 20k steps.
        windows=Windows(3.0),
        head="linear",
        metric="mean_average_precision",
        read=_read,
        suite="hares",
        expected={"train": 18_706, "validation": 1_825, "test": 5_329},
        dataset=DATASET,
        schedule=Schedule(steps=20_000, batch=128),
        source="hares_tf.evaluation.tasks.magnatagatune",
    ),
)
