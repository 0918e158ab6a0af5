"""VoxForge: which of six languages is spoken?

Volunteers' recordings (K. MacLean), in 13,837 small archives called SPEAKER-DATE-ID.tgz, as the
builder `voxforge` of tensorflow-datasets uses them. Appendix A: crops of 3 s for training, all
consecutive 3 s for testing. How many clips the list stands for is published nowhere (about
176,400, of which 145k are the paper's training and test clips), so there is no expected count:
archives that the list names and that are not there make a copy incomplete.

The split is that of tensorflow-datasets and follows from its list alone: the sorted speakers are
shuffled with `numpy.random.RandomState(0)`; the first 70% are for training, the next 10% for
validation, the others for testing. So it is the same however many archives are there. All that is
called `anonymous` counts as one speaker, in all languages.

Traps: a split by archive instead of speaker scores several points higher. tensorflow-datasets reads
no files but .wav, from whatever folder of an archive, and so does this task: an archive of FLAC
files adds nothing.
"""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.tasks import prepared_tfds
from hares_tf.evaluation.tasks.declaration import Clip, Dataset, Manifest, Places, Task, Windows
from hares_tf.evaluation.tasks.finding import find
from hares_tf.evaluation.tasks.labels import Labels
from hares_tf.recordings.archives import sounds_in
from hares_tf.recordings.errors import RecordingsError
from hares_tf.recordings.sound import Sound
from hares_tf.recordings.tables import read_lines
from hares_tf.utils.files import sha256_file

LANGUAGES = ("de", "en", "es", "fr", "it", "ru")
# The server offers these two under a second name each; the published list has the short ones.
_OTHER_NAMES = {"SpeechCorpus": "en", "Russian": "ru"}
_LIST = "voxforge_urls.txt"
_SERVER = "www.repository.voxforge1.org"
N_ARCHIVES = 13_837
# tensorflow-datasets 4.9, url_checksums/voxforge.txt.
_LIST_SHA256 = "9cc218a5bce16640dc4eeb263aa423ce63ca59fc6587a9487dc397642b76af6c"

DATASET = Dataset(
    name="VoxForge",
    folder="voxforge",
    license="GPL",
    citation="K. MacLean, VoxForge, http://www.voxforge.org, 2018",
    obtain=f"""Fetch https://storage.googleapis.com/tfds-data/downloads/voxforge/{_LIST}
into DATA_DIR/voxforge/ and run there: wget -c -x -i {_LIST}
That fetches {N_ARCHIVES} archives LANGUAGE/Trunk/.../SPEAKER-DATE-ID.tgz from one server, which
takes days; they are found below DATA_DIR/voxforge/ by their names and read in place.
Unpacked (each into a folder of its name, about 60 GB in all, wherever below DATA_DIR/voxforge/)
they are listed and read much faster.""",
)


@dataclass(frozen=True, slots=True)
class _Archive:
    """A line of the list.

    Attributes:
        stem: SPEAKER-DATE-ID.
        address: where the server has it, without "http://" and ".tgz".
        language: one of `LANGUAGES`.
    """

    stem: str
    address: str
    language: str

    @property
    def speaker(self) -> str:
        # As tensorflow-datasets: a name without "-" keeps its ending.
        return f"{self.stem}.tgz".split("-")[0]


@dataclass(frozen=True, slots=True)
class _Content:
    """The recordings of an archive by name, and why it cannot be read ("" if it can)."""

    sounds: dict[str, Sound]
    problem: str = ""


def _read(places: Places) -> Manifest:
    if (prepared := prepared_tfds.voxforge(places, Labels.classes(LANGUAGES))) is not None:
        return prepared
    table = find(places, DATASET, _LIST)
    root = find(places, DATASET, "", _SERVER)
    archives = _read_list(table)
    split_of = split_speakers(archive.speaker for archive in archives)
    copies = _copies(root, {archive.stem for archive in archives})
    there = [archive for archive in archives if archive.stem in copies]
    with ThreadPoolExecutor() as pool:  # decompressing runs in parallel
        contents = list(pool.map(lambda a: _content(a, copies[a.stem]), there))
    clips, unreadable, empty = [], {}, []
    for archive, content in zip(there, contents, strict=True):
        if content.problem:
            unreadable[archive.stem] = content.problem
        elif not content.sounds:
            empty.append(archive.stem)
        part = split_of[archive.speaker]
        clips += [
            Clip(f"{archive.stem}/{name}", sound, archive.language, part)
            for name, sound in content.sounds.items()
        ]
    if not clips:
        raise EvaluationError(
            f"None of the {len(archives)} archives that {table} names is below {root} with a "
            f".wav file in it.\n{DATASET.obtain}"
        )
    missing = [
        f"{archive.stem}.tgz"
        for archive in archives
        if archive.stem not in copies or archive.stem in unreadable
    ]
    if len(archives) < N_ARCHIVES:
        missing.append(f"{N_ARCHIVES - len(archives)} archives that {_LIST} does not name")
    elif sha256_file(table) != _LIST_SHA256:
        missing.append(f"the published {_LIST}, whose speakers are split in another way")
    return Manifest(
        tuple(clips),
        Labels.classes(LANGUAGES),
        missing=tuple(missing),
        notes=_notes(table, unreadable, empty),
    )


def split_speakers(speakers: Iterable[str]) -> dict[str, str]:
    """Speaker -> "train", "validation" or "test", as tensorflow-datasets chooses.

    Args:
        speakers: of all archives of the list; repetitions and order do not matter.
    """
    shuffled = sorted(set(speakers))
    np.random.RandomState(0).shuffle(shuffled)
    # The second sum is a little less than 0.8, and is cut off: of 10 speakers, 7 and not 8.
    begin_validation, begin_test = int(0.7 * len(shuffled)), int((0.7 + 0.1) * len(shuffled))
    parts = {
        "train": shuffled[:begin_validation],
        "validation": shuffled[begin_validation:begin_test],
        "test": shuffled[begin_test:],
    }
    return {speaker: part for part, group in parts.items() for speaker in group}


def _read_list(table: Path) -> list[_Archive]:
    archives: dict[str, _Archive] = {}
    for number, line in enumerate(read_lines(table), 1):
        # Copies of the list put the addresses in quotes.
        address = line.replace('"', "").replace("'", "").split("://")[-1]
        folder, trunk, rest = address.partition("/Trunk/")
        stem = rest.rsplit("/", 1)[-1].removesuffix(".tgz")
        language = folder.rsplit("/", 1)[-1]
        language = _OTHER_NAMES.get(language, language)
        if not trunk or not address.endswith(".tgz") or not stem or language not in LANGUAGES:
            raise EvaluationError(
                f"{table}, entry {number}: {line!r} is not .../LANGUAGE/Trunk/.../NAME.tgz with "
                f"one of {', '.join(LANGUAGES)}."
            )
        if stem in archives:
            raise EvaluationError(f"{table}, entry {number}: {stem}.tgz is listed twice.")
        archives[stem] = _Archive(stem, address.removesuffix(".tgz"), language)
    if not archives:
        raise EvaluationError(f"{table} is empty; fetch the list again.")
    return list(archives.values())


def _copies(root: Path, stems: set[str]) -> dict[str, list[str]]:
    """Archive -> paths of the files STEM.tgz and the folders STEM below `root`, one walk."""
    copies: dict[str, list[str]] = {}
    seen: set[str] = set()
    for here, folders, names in os.walk(os.path.abspath(root), followlinks=True):
        real = os.path.realpath(here)
        unpacked = [] if real in seen else [name for name in folders if name in stems]
        folders[:] = [] if real in seen else sorted(set(folders) - set(unpacked))
        seen.add(real)
        packed = [n for n in names if n.endswith(".tgz") and n.removesuffix(".tgz") in stems]
        for name in (*unpacked, *packed):
            copies.setdefault(name.removesuffix(".tgz"), []).append(os.path.join(here, name))
    return copies


def _content(archive: _Archive, paths: list[str]) -> _Content:
    """The recordings of the best copy of an archive that has any.

    One at the server's own path comes first (the server has originals at other rates under the
    same names), then one that is unpacked.
    """

    def rank(path: str) -> tuple[bool, bool, str]:
        stem = path.removesuffix(".tgz").replace(os.sep, "/")
        return not stem.endswith(f"/{archive.address}"), path.endswith(".tgz"), path

    problem = ""
    for path in sorted(paths, key=rank):
        try:
            found = sounds_in(Path(path))
        except RecordingsError as error:
            problem = problem or str(error)
            continue
        sounds = {
            name.removeprefix(f"{archive.stem}/"): sound
            for name, sound in found.items()
            if name.endswith(".wav")
        }
        if sounds:
            return _Content(sounds)
    return _Content({}, problem)


def _notes(table: Path, unreadable: dict[str, str], empty: list[str]) -> tuple[str, ...]:
    notes = []
    if sha256_file(table) != _LIST_SHA256:
        notes.append(
            f"{table} is not the published list of {N_ARCHIVES} archives: the speakers are split "
            "in another way, and scores do not compare."
        )
    if unreadable:
        problem = next(iter(unreadable.values()))
        notes.append(
            f"Archives that cannot be read and count as missing: {len(unreadable)}; {problem}."
        )
    if empty:
        notes.append(f"Archives without any .wav file: {len(empty)}, for example {empty[0]}.tgz.")
    return tuple(notes)


TASKS = (
    Task(
        id="voxforge",
        version=1,
        domain="speech",
        windows=Windows(seconds=3.0),
        head="linear",
        metric="accuracy",
        read=_read,
        suite="hares",
        dataset=DATASET,
        source="hares_tf.evaluation.tasks.voxforge",
    ),
)
