"""VoxCeleb1: which of 1,251 people is speaking?

153,516 utterances cut from interviews (Nagrani et al., arXiv:1706.08612), split by
`iden_split.txt` for identification: every speaker is in every split. Appendix A: crops of 3 s for
training, all consecutive 3 s for testing. 138,361 + 8,251 clips are the paper's 147k.

Traps: the split needs both archives, `vox1_dev_wav.zip` (1,211 speakers) and `vox1_test_wav.zip`
(40 speakers of the verification test, id10270 to id10309). tensorflow-datasets reads the first
only and leaves out, without a word, what it lacks. The first release named its folders by persons
(`A.J._Buckley`), with other recordings.
"""

import re
from dataclasses import replace
from pathlib import Path

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.tasks import prepared_tfds
from hares_tf.evaluation.tasks.declaration import Dataset, Manifest, Places, Task, Windows
from hares_tf.evaluation.tasks.finding import find
from hares_tf.evaluation.tasks.labels import Labels
from hares_tf.evaluation.tasks.listing import Listing, located_lines
from hares_tf.recordings.archives import sounds_in
from hares_tf.recordings.sound import Sound

SPEAKERS = tuple(f"id{number}" for number in range(10_001, 11_252))
# Those in vox1_test_wav.zip; all others are in vox1_dev_wav.zip.
TEST_SPEAKERS = frozenset(f"id{number}" for number in range(10_270, 10_310))
LABELS = Labels.classes(SPEAKERS)
_PARTS = {"1": "train", "2": "validation", "3": "test"}
_LINE = re.compile(r"([123])\s+((id\d{5})/[^/\s]+/[^/\s]+\.wav)")
# What is looked for beside the list: unpacked (also each archive into a folder of its name or
# as dev and test), then the archives, last under the name that tensorflow-datasets wants.
_PLACES = (
    "wav",
    "vox1_dev_wav",
    "vox1_test_wav",
    "dev",
    "test",
    "vox1_dev_wav.zip",
    "vox1_test_wav.zip",
    "vox_dev_wav.zip",
)

DATASET = Dataset(
    name="VoxCeleb1",
    folder="voxceleb1",
    license="CC BY 4.0; the rights in the videos remain with their owners",
    citation="A. Nagrani, J. S. Chung, A. Zisserman, VoxCeleb: a large-scale speaker "
    "identification dataset, Interspeech 2017",
    obtain="""Register at https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html and fetch both
vox1_dev_wav.zip (about 30 GB; join its parts: cat vox1_dev_wav_parta* > vox1_dev_wav.zip) and
vox1_test_wav.zip (1 GB), as well as
https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/iden_split.txt (5 MB).
Put all three into DATA_DIR/voxceleb1/. The archives are read in place; unpacked, the layout is
DATA_DIR/voxceleb1/wav/SPEAKER/VIDEO/UTTERANCE.wav.""",
)


def _read(places: Places) -> Manifest:
    if (prepared := prepared_tfds.voxceleb(places, LABELS)) is not None:
        return prepared
    table = find(places, DATASET, "iden_split.txt")
    listing = Listing(LABELS)
    for where, line in located_lines(table):
        match = _LINE.fullmatch(line)
        if not match:
            raise EvaluationError(
                f"{where}: {line!r} is not '1, 2 or 3 SPEAKER/VIDEO/UTTERANCE.wav'; fetch the "
                "list again."
            )
        listing.add(where, match[2], match[3], _PARTS[match[1]])
    sounds = _sounds(table.parent)
    _check_release(table, sounds)
    manifest = listing.manifest(LABELS, sounds, table.parent, DATASET)
    return replace(manifest, notes=_notes(table, manifest))


def _sounds(root: Path) -> dict[str, Sound]:
    """ "SPEAKER/VIDEO/UTTERANCE.wav" -> sound; unpacked recordings before those in archives."""
    sounds: dict[str, Sound] = {}
    for name in _PLACES:
        if (root / name).exists():
            for path, sound in sounds_in(root / name).items():
                sounds.setdefault("/".join(path.rsplit("/", 3)[-3:]), sound)
    return sounds


def _check_release(table: Path, sounds: dict[str, Sound]) -> None:
    """Raises EvaluationError for the first release, whose folders are called by persons."""
    folders = [name.split("/")[0] for name in sounds if name.count("/") == 2]
    if folders and not any(re.fullmatch(r"id\d{5}", folder) for folder in folders):
        raise EvaluationError(
            f"The recordings beside {table} lie in folders such as {folders[0]!r}, not "
            f"{SPEAKERS[0]}: the first release, which had other recordings; fetch the present "
            f"one.\n{DATASET.obtain}"
        )


def _notes(table: Path, manifest: Manifest) -> tuple[str, ...]:
    """Returns a note for an archive of which no speaker is there."""
    found = {clip.label in TEST_SPEAKERS for clip in manifest.clips}
    lacking = {name[:7] in TEST_SPEAKERS for name in manifest.missing} - found
    return tuple(
        f"None of the speakers of {archive} was found beside {table}: get that archive too."
        for of_test, archive in ((False, "vox1_dev_wav.zip"), (True, "vox1_test_wav.zip"))
        if of_test in lacking
    )


TASKS = (
    Task(
        id="voxceleb1",
        version=1,
        domain="speech",
        windows=Windows(seconds=3.0),
        head="linear",
        metric="accuracy",
        read=_read,
        suite="hares",
        expected={"train": 138_361, "validation": 6_904, "test": 8_251},
        dataset=DATASET,
        source="hares_tf.evaluation.tasks.voxceleb",
    ),
)
