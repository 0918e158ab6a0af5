"""Recordings that a table lists, with their labels and splits."""

import os
import posixpath
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hares_tf.recordings.archives import place_of, sounds_in
from hares_tf.recordings.errors import RecordingsError
from hares_tf.recordings.recording import ABSENT, PARTS, Recording, Source, readable
from hares_tf.recordings.sound import FileSound, Sound
from hares_tf.recordings.tables import read_table

_SHOWN = 10


@dataclass(frozen=True)
class Columns:
    """The columns of a table of recordings.

    Attributes:
        file: holds the paths.
        label: holds a label, or several separated by ";"; "" for no labels.
        part: holds "train", "validation" or "test"; "" for no split.
    """

    file: str = "file"
    label: str = "label"
    part: str = ""


def table_source(
    folder: str | os.PathLike,
    table: str | os.PathLike,
    columns: Columns | None = None,
    where: Sequence[tuple[str, Sequence[str]]] = (),
) -> Source:
    """Lists the files below a folder that a CSV names.

    Args:
        folder: the folder, or an archive of it, that the paths in the table are relative to.
        table: a CSV with a header.
        columns: its columns; default: `Columns()`.
        where: conditions (column, values). A row is taken if, for every condition, its cell is one
            of the values.

    Raises:
        RecordingsError: the table has a mistake, such as a path that leads out of the folder, or
            no row is taken; the message names the line.
    """
    columns = columns or Columns()
    place, table = place_of(folder), Path(table)
    line_of: dict[str, int] = {}
    rows: list[tuple[str, Sound, tuple[str, ...], str]] = []
    rejected: list[tuple[str, str]] = []
    n_listed: Counter[str] = Counter()
    find = _finder(place)
    for line, row in _selected_rows(table, columns, where):
        at = f"{table}, line {line}"
        path = _inside(place, row[columns.file], at)
        name = readable(path)
        if name in line_of:
            raise RecordingsError(
                f"{at}: {name} is listed already in line {line_of[name]}; a recording has one "
                "row, with its labels separated by ';'."
            )
        line_of[name] = line
        labels = _labels(row[columns.label], at) if columns.label else ()
        n_listed.update(labels)
        part = row[columns.part] if columns.part else ""
        if columns.part and part not in PARTS:
            raise RecordingsError(
                f"{at}: {columns.part} is {part!r}; it must be train, validation or test."
            )
        sound = find(path)
        if sound is None:
            rejected.append((name, ABSENT))
        else:
            rows.append((name, sound, labels, part))
    label_names = tuple(sorted({label for _, _, labels, _ in rows for label in labels}))
    index = {name: number for number, name in enumerate(label_names)}
    return Source(
        f"{table} and {place}",
        tuple(
            Recording(name, sound, tuple(sorted(index[label] for label in labels)), part)
            for name, sound, labels, part in rows
        ),
        label_names,
        tuple(rejected),
        {
            "kind": "table",
            "folders": [place.name],
            "labels": table.name,
            "file_column": columns.file,
            "label_column": columns.label,
            "where": [[column, list(values)] for column, values in where],
        },
        n_listed=n_listed,
    )


def _selected_rows(
    table: Path, columns: Columns, where: Sequence[tuple[str, Sequence[str]]]
) -> list[tuple[int, dict[str, str]]]:
    """Returns (line, cells by column) of the rows that fulfill all conditions, at least one."""
    names = [columns.file, columns.label, columns.part, *(column for column, _ in where)]
    seen: dict[str, set[str]] = {column: set() for column, _ in where}
    selected = []
    for line, row in read_table(table, dict.fromkeys(filter(None, names))):
        for column in seen:
            seen[column].add(row[column])
        if all(row[column] in values for column, values in where):
            selected.append((line, row))
    # A misspelled value would otherwise be overlooked.
    for column, values in where:
        for value in values:
            if value not in seen[column]:
                present = sorted(seen[column])
                more = " ..." * (len(present) > _SHOWN)
                raise RecordingsError(
                    f"{table}: no row has {value!r} in the column {column!r}; its values are: "
                    f"{', '.join(present[:_SHOWN]) or 'none'}{more}."
                )
    if not selected:
        problem = "no row fulfills all conditions at once" if where else "the table has no rows"
        raise RecordingsError(f"{table}: {problem}.")
    return selected


def _labels(cell: str, at: str) -> tuple[str, ...]:
    """Returns the distinct labels in a cell."""
    if "\n" in cell:
        raise RecordingsError(f"{at}: a label goes over several lines; is a quote not closed?")
    return tuple(dict.fromkeys(label.strip() for label in cell.split(";") if label.strip()))


def _finder(place: Path) -> Callable[[str], Sound | None]:
    """Returns a function from a relative path to its sound, or to None if it does not exist."""
    if not place.is_dir():
        return sounds_in(place, "").get

    def find(name: str) -> Sound | None:
        path = os.path.join(place, name)
        return FileSound(path) if os.path.isfile(path) else None

    return find


def _inside(place: Path, name: str, at: str) -> str:
    """Returns a listed path relative to the folder, without `..`; links may lead anywhere."""
    if not name:
        raise RecordingsError(f"{at}: no file is named.")
    if "\0" in name:
        raise RecordingsError(f"{at}: {name!r} is not a path.")
    if os.path.isabs(name):
        name = os.path.relpath(name, place)
    name = posixpath.normpath(name)
    if name == "." or name.split("/")[0] == "..":
        raise RecordingsError(f"{at}: {name} leads out of the folder {place}.")
    return name
