"""The archives of Speech Commands, v0.01 and v0.02: recordings, lists and noise.

Both hold WORD/SPEAKER_nohash_TAKE.wav, `_background_noise_/*.wav`, `validation_list.txt` and
`testing_list.txt`; recordings that no list names are for training.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.tasks.declaration import Clip, Dataset, Places
from hares_tf.evaluation.tasks.finding import file_content, find
from hares_tf.recordings.archives import sounds_in
from hares_tf.recordings.sound import Sound

# fmt: off
WORDS_V001 = (
    "bed", "bird", "cat", "dog", "down", "eight", "five", "four", "go", "happy", "house", "left",
    "marvin", "nine", "no", "off", "on", "one", "right", "seven", "sheila", "six", "stop", "three",
    "tree", "two", "up", "wow", "yes", "zero",
)
# fmt: on
_ADDED_IN_V002 = ("backward", "follow", "forward", "learn", "visual")
WORDS = tuple(sorted((*WORDS_V001, *_ADDED_IN_V002)))

NOISE = "_background_noise_"
NOISES = (
    "doing_the_dishes.wav",
    "dude_miaowing.wav",
    "exercise_bike.wav",
    "pink_noise.wav",
    "running_tap.wav",
    "white_noise.wav",
)
_LISTS = {"validation_list.txt": "validation", "testing_list.txt": "test"}


@dataclass(frozen=True)
class Release:
    """The recordings of an archive.

    Attributes:
        recordings: "word/file" -> sound, in sorted order.
        listed: "word/file" -> "validation" or "test", in the order of the lists.
        noises: file -> recording of noise.
    """

    recordings: Mapping[str, Sound]
    listed: Mapping[str, str]
    noises: Mapping[str, Sound]

    def clips(self, label: Callable[[str], str]) -> list[Clip]:
        """Returns all recordings of words; those in no list are for training."""
        return [
            Clip(name, sound, label(name.split("/")[0]), self.listed.get(name, "train"))
            for name, sound in self.recordings.items()
        ]

    def missing(self, *parts: str) -> list[str]:
        """Returns the listed recordings of some splits that do not exist."""
        return [
            name
            for name, part in self.listed.items()
            if part in parts and name not in self.recordings
        ]

    def missing_noises(self) -> list[str]:
        return [f"{NOISE}/{name}" for name in NOISES if name not in self.noises]


def read_release(places: Places, dataset: Dataset, archive: str, words: tuple[str, ...]) -> Release:
    """Reads an archive, unpacked or as a .tar, and its two lists.

    Args:
        places: where the user keeps data.
        dataset: whose folder it is in.
        archive: its name, without an ending.
        words: the words of the release, `WORDS` or `WORDS_V001`.

    Raises:
        EvaluationError: it is absent or damaged, a list is absent or malformed, it is the other
            release, or it has no recordings.
    """
    place = find(
        places, dataset, archive, f"{archive}.tar", "validation_list.txt", f"{archive}.tar.gz"
    )
    if place.name == "validation_list.txt":
        place = place.parent
    files = sounds_in(place, "")
    tops = [name for name in files if name.split("/")[-1] == "validation_list.txt"]
    top = min(tops, key=len, default="").removesuffix("validation_list.txt")
    listed = _read_lists(place, {name: files.get(top + name) for name in _LISTS}, words)
    recordings, noises = {}, {}
    for path in sorted(files):
        # Deeper files are no part of the archive; the test set, too, may lie beside the words.
        folder, _, file = path.removeprefix(top).partition("/")
        if not path.startswith(top) or "/" in file or not file.endswith(".wav"):
            continue
        if folder in words:
            recordings[f"{folder}/{file}"] = files[path]
        elif folder == NOISE:
            noises[file] = files[path]
    if not recordings:
        raise EvaluationError(
            f"{place} has the lists of {dataset.name}, but no recording of a word "
            f"(such as yes/*.wav) beside them; unpack the whole archive there."
        )
    return Release(recordings, listed, noises)


def _read_lists(
    place: Path, lists: dict[str, Sound | None], words: tuple[str, ...]
) -> dict[str, str]:
    listed: dict[str, str] = {}
    for file, sound in lists.items():
        if sound is None:
            raise EvaluationError(f"{place} has no {file}; unpack the whole archive there.")
        for number, name in _lines(sound):
            word, _, recording = name.partition("/")
            if word not in WORDS or not recording.endswith(".wav") or "/" in recording:
                raise EvaluationError(
                    f"{sound.where}, line {number}: {name!r} is not WORD/FILE.wav with one of the "
                    f"{len(WORDS)} words."
                )
            if name in listed:
                raise EvaluationError(f"{sound.where}, line {number}: {name} is listed twice.")
            listed[name] = _LISTS[file]
    added = any(name.startswith(tuple(f"{word}/" for word in _ADDED_IN_V002)) for name in listed)
    if added != (words == WORDS):
        release = "v0.02" if added else "v0.01"
        other = "v0.01" if added else "v0.02"
        raise EvaluationError(
            f"The lists in {place} are those of {release} (the words {', '.join(_ADDED_IN_V002)} "
            f"came with v0.02), but this task needs {other}; put that into a folder of its own, "
            f"speech_commands_{other}."
        )
    return listed


def _lines(sound: Sound) -> list[tuple[int, str]]:
    """Returns (number, text) of the lines that are not empty."""
    try:
        lines = file_content(sound).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{sound.where} is not a UTF-8 list: {error}") from error
    return [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
