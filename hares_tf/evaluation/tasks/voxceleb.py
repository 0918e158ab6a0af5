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
from pathlib import Path

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.tasks import prepared_tfds
from hares_tf.evaluation.tasks.declaration import Clip, Dataset, Manifest, Places, Task, Windows
from hares_tf.evaluation.tasks.finding import find
from hares_tf.evaluation.tasks.labels import Labels
from hares_tf.recordings.archives import sounds_in
from hares_tf.recordings.sound import Sound
from hares_tf.recordings.tables import read_lines

SPEAKERS = tuple(f"id{number}" for number in range(10_001, 11_252))
# Those in vox1_test_wav.zip; all others are in vox1_dev_wav.zip.
TEST_SPEAKERS = frozenset(f"id{number}" for number in range(10_270, 10_310))
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
    if (prepared := prepared_tfds.voxceleb(places, Labels.classes(SPEAKERS))) is not None:
        return prepared
    table = find(places, DATASET, "iden_split.txt")
    listed = _read_split(table)
    sounds = _sounds(table.parent)
    clips = tuple(
        Clip(name, sounds[name], name[:7], part) for name, part in listed.items() if name in sounds
    )
    if not clips:
        raise _nothing_found(table, sounds)
    missing = tuple(name for name in listed if name not in sounds)
    return Manifest(
        clips, Labels.classes(SPEAKERS), missing=missing, notes=_notes(table, clips, missing)
    )


def _read_split(table: Path) -> dict[str, str]:
    """ "SPEAKER/VIDEO/UTTERANCE.wav" -> split, in the order of the list."""
    listed: dict[str, str] = {}
    known = frozenset(SPEAKERS)
    for number, line in enumerate(read_lines(table), 1):
        match = _LINE.fullmatch(line)
        if not match or match[3] not in known:
            raise EvaluationError(
                f"{table}, entry {number}: {line!r} is not '1, 2 or 3 SPEAKER/VIDEO/UTTERANCE.wav' "
                f"with a speaker from {SPEAKERS[0]} to {SPEAKERS[-1]}; fetch the list again."
            )
        if match[2] in listed:
            raise EvaluationError(f"{table}, entry {number}: {match[2]} is listed twice.")
        listed[match[2]] = _PARTS[match[1]]
    if not listed:
        raise EvaluationError(f"{table} is empty; fetch the list again.")
    return listed


def _sounds(root: Path) -> dict[str, Sound]:
    """ "SPEAKER/VIDEO/UTTERANCE.wav" -> sound; unpacked recordings before those in archives."""
    sounds: dict[str, Sound] = {}
    for name in _PLACES:
        if (root / name).exists():
            for path, sound in sounds_in(root / name).items():
                sounds.setdefault("/".join(path.rsplit("/", 3)[-3:]), sound)
    return sounds


def _nothing_found(table: Path, sounds: dict[str, Sound]) -> EvaluationError:
    folders = (name.split("/")[0] for name in sounds if name.count("/") == 2)
    named = next((folder for folder in folders if not re.fullmatch(r"id\d{5}", folder)), None)
    if named:
        return EvaluationError(
            f"the recordings beside {table} lie in folders such as {named!r}, not {SPEAKERS[0]}: "
            f"the first release, which had other recordings; fetch the present one.\n"
            f"{DATASET.obtain}"
        )
    return EvaluationError(
        f"no listed recording is beside {table}: none of {', '.join(_PLACES)} is there or has it.\n"
        f"{DATASET.obtain}"
    )


def _notes(table: Path, clips: tuple[Clip, ...], missing: tuple[str, ...]) -> tuple[str, ...]:
    """One of the archives may be lacking: then all of its speakers do."""
    found = {clip.label in TEST_SPEAKERS for clip in clips}
    lacking = {name[:7] in TEST_SPEAKERS for name in missing} - found
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
