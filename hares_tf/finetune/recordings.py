"""Lists of recordings with exactly one label each; nothing is decoded."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hares_tf.finetune.errors import FinetuneError
from hares_tf.recordings.sound import Sound
from hares_tf.recordings.sources import SUBFOLDER, Source, folder_source, readable, table_source
from hares_tf.recordings.tables import read_table

PARTS = ("train", "validation", "test")
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Recording:
    """One labeled recording.

    Attributes:
        id: its path within the folder.
        sound: where its audio is.
        label: index into the classes.
        part: one of `PARTS` where a table gives it, else "".
    """

    id: str
    sound: Sound
    label: int
    part: str = ""


@dataclass(frozen=True)
class Recordings:
    """The recordings that a folder or table names.

    Attributes:
        classes: names of the labels, sorted.
        recordings: the recordings that exist.
        rejected: (id, reason) of recordings that are known not to be usable.
        description: the arguments of `read_recordings`, as JSON data.
    """

    classes: tuple[str, ...]
    recordings: tuple[Recording, ...]
    rejected: tuple[tuple[str, str], ...] = ()
    description: dict = field(default_factory=dict)


def read_recordings(
    audio: str | os.PathLike,
    labels: str | os.PathLike = SUBFOLDER,
    *,
    file_column: str = "file",
    label_column: str = "label",
    split_column: str | None = None,
    where: Sequence[tuple[str, Sequence[str]]] = (),
) -> Recordings:
    """Lists labeled recordings.

    Args:
        audio: a folder of recordings, or a `.zip` or `.tar` of one.
        labels: "subfolder" (the first folder in a file's path is its label), or a CSV with a
            header whose paths are relative to `audio`.
        file_column, label_column: columns of the CSV.
        split_column: a column of the CSV that holds "train", "validation" or "test"; None: the
            recordings are still to be split. Without "validation" rows, some of "train" are used.
        where: (column, values): rows of the CSV that are taken, see
            `recordings.sources.table_source`.

    Raises:
        FinetuneError: fewer than two classes, a class without recordings, a recording without a
            label or with several, a split without training or test rows, or what the readers of
            folders and tables find wrong.
    """
    if labels == SUBFOLDER:
        source = folder_source(audio, labels)
        _check_folders(Path(audio), source.label_names)
        sources = {"": source}
    else:
        conditions = [(column, tuple(values)) for column, values in where]
        columns = (file_column, label_column)
        rows, parts = _survey(labels, *columns, split_column, conditions)
        sources = {
            part: table_source(
                audio,
                labels,
                file_column=file_column,
                label_column=label_column,
                where=conditions + ([(split_column, (part,))] if split_column else []),
            )
            for part in parts
        }
        _check_labels(labels, rows, sources.values())
    named = [
        (part, clip, _only_label(source, clip))
        for part, source in sources.items()
        for clip in source.clips
    ]
    classes = tuple(sorted({name for _, _, name in named}))
    if len(classes) < 2:
        raise FinetuneError(
            f"{audio}: there is only one class ({classes[0]!r}). A classifier needs two or more."
            if classes
            else f"{audio}: there are no labeled recordings."
        )
    number = {name: index for index, name in enumerate(classes)}
    recordings = tuple(
        Recording(clip.id, clip.sound, number[name], part) for part, clip, name in named
    )
    _check_listed_once(labels, recordings)
    first = next(iter(sources.values()))
    description = {
        key: first.description.get(key)
        for key in ("kind", "folders", "labels", "file_column", "label_column")
        if first.description.get(key) is not None
    }
    description["where"] = [[column, list(values)] for column, values in where]
    description["split_column"] = split_column
    rejected = tuple(row for source in sources.values() for row in source.rejected)
    return Recordings(classes, recordings, rejected, description)


def _only_label(source: Source, clip) -> str:
    names = [source.label_names[index] for index in clip.labels]
    if len(names) != 1:
        problem = f"has {len(names)} labels ({'; '.join(names)})" if names else "has no label"
        raise FinetuneError(
            f"{source.name}: {clip.id} {problem}. Every recording needs exactly one: correct the "
            "table, or choose rows with --where."
        )
    return names[0]


def _check_folders(place: Path, classes: Iterable[str]) -> None:
    """Refuses folders without recordings: their classes would be missing without notice."""
    if not place.is_dir():
        return
    folders = (path for path in place.iterdir() if path.is_dir() and path.name[0] != ".")
    empty = sorted({readable(path.name) for path in folders} - set(classes))
    if empty:
        named = ", ".join(map(repr, empty[:_SHOWN])) + (", ..." if len(empty) > _SHOWN else "")
        raise FinetuneError(
            f"{place}: no audio files in the folder{'s' * (len(empty) > 1)} {named}, so the class "
            "would be empty. Add recordings or remove the folder."
        )


def _survey(
    table: str | os.PathLike,
    file_column: str,
    label_column: str,
    split_column: str | None,
    where: list,
) -> tuple[Counter[str], tuple[str, ...]]:
    """Counts the rows of each label, and lists the parts ("" without a split column)."""
    if not label_column:
        raise FinetuneError(
            "--label_column is missing: name the column of the CSV that holds the labels."
        )
    columns = dict.fromkeys(
        [file_column, label_column, *filter(None, [split_column]), *(c for c, _ in where)]
    )
    labels: Counter[str] = Counter()
    parts: Counter[str] = Counter()
    for number, row in read_table(Path(table), columns):
        if not all(row[column].strip() in values for column, values in where):
            continue
        labels.update({name.strip() for name in row[label_column].split(";") if name.strip()})
        part = row[split_column].strip() if split_column else ""
        if split_column and part not in PARTS:
            raise FinetuneError(
                f"{table}, line {number}: {split_column} is {part!r}. It must be train, "
                "validation or test."
            )
        parts[part] += 1
    if not split_column or not parts:
        return labels, ("",)
    for part in ("train", "test"):
        if part not in parts:
            raise FinetuneError(
                f"{table}: no row has {split_column} = {part}. Without --split_column the "
                "recordings are split for you."
            )
    return labels, tuple(part for part in PARTS if part in parts)


def _check_labels(table: str | os.PathLike, rows: Counter, sources: Iterable[Source]) -> None:
    present = {name for source in sources for name in source.label_names}
    for label, count in sorted(rows.items()):
        if label not in present:
            raise FinetuneError(
                f"{table}: the class {label!r} is empty: none of its {count} files exists. Check "
                "--audio and the paths in the table, or leave the class out with --where."
            )


def _check_listed_once(table: str | os.PathLike, recordings: Sequence[Recording]) -> None:
    """Refuses a recording in two parts; the table's reader refuses two rows in one part."""
    part_of: dict[str, str] = {}
    for recording in recordings:
        other = part_of.setdefault(recording.id, recording.part)
        if other != recording.part:
            raise FinetuneError(
                f"{table}: {recording.id} is listed as {other} and as {recording.part}. A "
                "recording has one row."
            )
