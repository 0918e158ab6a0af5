"""What is to be prepared: lists of recordings, without decoding any.

Here are folders and tables; `published_sources` knows HARES tasks and AudioSet's lists.
"""

import os
import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hares_tf.recordings.archives import ENDINGS as ARCHIVE_ENDINGS
from hares_tf.recordings.archives import sounds_in
from hares_tf.recordings.errors import RecordingsError
from hares_tf.recordings.sound import FileSound, Sound
from hares_tf.recordings.tables import read_table

# What libsndfile reads under its usual endings. The last row it does not: people have such files,
# which must be listed as rejected rather than overlooked.
AUDIO_ENDINGS = (
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".au",
    ".snd", ".caf", ".w64", ".rf64",
    ".m4a", ".aac", ".wma", ".amr",
)  # fmt: skip
ABSENT = "absent"
SUBFOLDER = "subfolder"
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class ClipSource:
    """One recording that is to become a clip (or several, if it is long).

    Attributes:
        id: unique within the source; valid UTF-8.
        sound: where its audio is: a file, a member of an archive, a stretch of either.
        labels: indices into the source's label names, sorted; perhaps empty.
    """

    id: str
    sound: Sound
    labels: tuple[int, ...] = ()


@dataclass(frozen=True)
class Source:
    """An ordered list of recordings.

    Attributes:
        name: in a few words, for messages.
        clips: the recordings that are there.
        label_names: what the labels of clips count; empty without labels.
        rejected: (id, reason) of recordings that are known not to be usable, such as absent ones.
        description: what was asked for, as JSON data.
        notes: what a user should know of this copy of the data, as sentences.
    """

    name: str
    clips: tuple[ClipSource, ...]
    label_names: tuple[str, ...] = ()
    rejected: tuple[tuple[str, str], ...] = ()
    description: dict = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def readable(text: str) -> str:
    """`text` as valid UTF-8: names on disk may be any bytes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def folder_source(
    folders: str | os.PathLike | Sequence[str | os.PathLike], labels: str | None = None
) -> Source:
    """All audio files below a folder, or several; `.zip` and `.tar` files are read in place.

    Args:
        folders: one or more folders (or archives). With one, ids are paths relative to it; with
            several, those with the folder's name in front.
        labels: None, or "subfolder": the first folder in a file's path is its label.

    Raises:
        RecordingsError: there is no such folder, one lies inside another, labels are wanted from
            several folders, or there is no audio.
    """
    if isinstance(folders, str | os.PathLike):
        folders = [folders]
    places = [_place(folder) for folder in folders]
    if labels is not None and len(places) > 1:
        raise RecordingsError("labels go with one folder of audio, not with several")
    found: dict[str, Sound] = {}
    for place, prefix in zip(places, _prefixes(places), strict=True):
        sounds = sounds_in(place, AUDIO_ENDINGS)
        found |= {readable(prefix + name): sound for name, sound in sounds.items()}
    where = ", ".join(map(str, places))
    if not found:
        raise RecordingsError(
            f"{where} holds no audio files ({', '.join(AUDIO_ENDINGS[:7])} ...); check the path"
        )
    description = {"kind": "folder", "folders": [place.name for place in places], "labels": labels}
    if labels is None:
        clips = tuple(ClipSource(name, sound) for name, sound in found.items())
        return Source(where, clips, description=description)
    bare = [name for name in found if "/" not in name]
    names = sorted({name.partition("/")[0] for name in found if "/" in name})
    if not names:
        raise RecordingsError(f"{where} has no folders with audio in them, so none can be a label")
    number = {name: index for index, name in enumerate(names)}
    return Source(
        where,
        tuple(
            ClipSource(name, sound, (number[name.partition("/")[0]],))
            for name, sound in found.items()
            if "/" in name
        ),
        tuple(names),
        tuple((name, "lies in no subfolder, so it has no label") for name in bare),
        description,
    )


def table_source(
    folder: str | os.PathLike,
    table: str | os.PathLike,
    *,
    file_column: str = "file",
    label_column: str = "label",
    where: Sequence[tuple[str, Sequence[str]]] = (),
) -> Source:
    """The files below a folder that a CSV lists.

    Args:
        folder: what the paths in the table are relative to; or an archive.
        table: a CSV with a header.
        file_column: holds the paths.
        label_column: holds a label, or several separated by ";"; "" for no labels.
        where: (column, values): a row is taken if its cell is one of the values, for all of them.

    Raises:
        RecordingsError: a mistake in the table, with its line, such as a path that leads out of
            the folder; or no row is selected.
    """
    place, table = _place(folder), Path(table)
    columns = [file_column, *filter(None, [label_column]), *(column for column, _ in where)]
    line_of: dict[str, int] = {}
    sounds: dict[str, Sound] = {}
    labels: dict[str, list[str]] = {}
    rejected: list[tuple[str, str]] = []
    seen: dict[str, set[str]] = {column: set() for column, _ in where}
    find = _finder(place)
    for number, row in read_table(table, dict.fromkeys(columns)):
        for column, _ in where:
            seen[column].add(row[column].strip())
        if not all(row[column].strip() in values for column, values in where):
            continue
        at = f"{table}, line {number}"
        path = _inside(place, row[file_column].strip(), at)
        name = readable(path)
        if name in line_of:
            raise RecordingsError(
                f"{at}: {name} is listed already in line {line_of[name]}; a recording has one "
                "row, with its labels separated by ';'"
            )
        line_of[name] = number
        sound = find(path)
        if sound is None:
            rejected.append((name, ABSENT))
            continue
        sounds[name] = sound
        cell = row[label_column] if label_column else ""
        if "\n" in cell:
            raise RecordingsError(f"{at}: a label goes over several lines; is a quote not closed?")
        labels[name] = [label.strip() for label in cell.split(";") if label.strip()]
    _check_taken(table, line_of, seen, where)
    names = tuple(sorted({label for some in labels.values() for label in some}))
    number_of = {name: index for index, name in enumerate(names)}
    clips = tuple(
        ClipSource(name, sound, tuple(sorted({number_of[label] for label in labels[name]})))
        for name, sound in sounds.items()
    )
    description = {
        "kind": "table",
        "folders": [place.name],
        "labels": table.name,
        "file_column": file_column,
        "label_column": label_column,
        "where": [[column, list(values)] for column, values in where],
    }
    return Source(f"{table} and {place}", clips, names, tuple(rejected), description)


def _place(path: str | os.PathLike) -> Path:
    """An existing folder or archive, absolute."""
    place = Path(os.path.abspath(path))
    if not place.exists():
        raise RecordingsError(f"{path}: there is no such folder")
    if not place.is_dir() and not place.name.lower().endswith(ARCHIVE_ENDINGS):
        raise RecordingsError(
            f"{path} is neither a folder nor an archive ({', '.join(ARCHIVE_ENDINGS)}); give the "
            "folder that holds the audio"
        )
    return place


def _prefixes(places: Sequence[Path]) -> list[str]:
    """What goes before the ids of each folder: as much of its path as tells it from the others."""
    if len(places) == 1:
        return [""]
    for one in places:
        for other in places:
            if one is not other and other.is_relative_to(one):
                raise RecordingsError(
                    f"{other} lies in {one} or is given twice: its clips would be there twice"
                )
    for parts in range(1, max(len(place.parts) for place in places) + 1):
        names = ["/".join(place.parts[-parts:]).lstrip("/") + "/" for place in places]
        if len(set(names)) == len(names):
            break
    return names


def _finder(place: Path) -> Callable[[str], Sound | None]:
    """Gives the sound of a relative path, or None where there is none."""
    if not place.is_dir():
        return sounds_in(place, "").get

    def find(name: str) -> Sound | None:
        path = os.path.join(place, name)
        return FileSound(path) if os.path.isfile(path) else None

    return find


def _inside(place: Path, name: str, at: str) -> str:
    """A listed path relative to the folder, without `..`; links in the folder lead anywhere."""
    if not name:
        raise RecordingsError(f"{at}: no file is named")
    if "\0" in name:
        raise RecordingsError(f"{at}: {name!r} is no path")
    if os.path.isabs(name):
        name = os.path.relpath(name, place)
    name = posixpath.normpath(name)
    if name == "." or name.split("/")[0] == "..":
        raise RecordingsError(f"{at}: {name} leads out of the folder {place}")
    return name


def _check_taken(
    table: Path,
    taken: Mapping[str, int],
    seen: Mapping[str, set[str]],
    where: Sequence[tuple[str, Sequence[str]]],
) -> None:
    """Refuses a choice of rows that cannot be meant; a misspelt value is easily overlooked."""
    for column, values in where:
        for value in values:
            if value not in seen[column]:
                there = sorted(seen[column])
                more = " ..." * (len(there) > _SHOWN)
                raise RecordingsError(
                    f"{table}: no row has {value!r} in the column {column!r}; there are: "
                    f"{', '.join(there[:_SHOWN]) or 'none'}{more}"
                )
    if not taken:
        reason = "fulfils all conditions at once" if where else "is there"
        raise RecordingsError(f"{table}: no row {reason}")
