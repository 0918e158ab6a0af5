"""Recordings with exactly one label each, as fine-tuning needs them; nothing is decoded."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from hares_tf.finetune.errors import FinetuneError
from hares_tf.recordings.labeled_folder import SUBFOLDER, folder_source
from hares_tf.recordings.labeled_table import Columns, table_source
from hares_tf.recordings.recording import PARTS, Source, readable

_SHOWN = 10


def read_recordings(
    audio: str | os.PathLike,
    labels: str | os.PathLike = SUBFOLDER,
    *,
    file_column: str = "file",
    label_column: str = "label",
    split_column: str | None = None,
    where: Sequence[tuple[str, Sequence[str]]] = (),
) -> Source:
    """Lists labeled recordings.

    Args:
        audio: a folder of recordings, or a `.zip` or `.tar` of one.
        labels: "subfolder" (the first folder in a file's path is its label), or a CSV with a
            header whose paths are relative to `audio`.
        file_column, label_column: columns of the CSV.
        split_column: a column of the CSV that holds "train", "validation" or "test"; None: the
            recordings are split later. Without "validation" rows some of "train" become it.
        where: conditions (column, values) on rows of the CSV, see `recordings.table_source`.

    Returns:
        The recordings, each with one label. Those of a given split are ordered by it.

    Raises:
        FinetuneError: there are fewer than two classes, a class without recordings, a recording
            without a label or with several, or a split without training or test recordings.
        RecordingsError: the folder or the table cannot be read.
    """
    if labels == SUBFOLDER:
        source = folder_source(audio, labels)
        _check_folders(Path(audio), source.label_names)
    else:
        if not label_column:
            raise FinetuneError("Name the column of the CSV that holds the labels: --label_column.")
        columns = Columns(file_column, label_column, split_column or "")
        source = table_source(audio, labels, columns, where)
        _check_classes(labels, source)
        if split_column:
            source = _in_order_of_split(labels, split_column, source)
    for recording in source.recordings:
        _check_one_label(source, recording.id, recording.labels)
    if len(source.label_names) < 2:
        raise FinetuneError(
            f"{audio}: there is only one class ({source.label_names[0]!r}); a classifier needs two "
            "or more."
            if source.label_names
            else f"{audio}: there are no labeled recordings."
        )
    description = {key: value for key, value in source.description.items() if value is not None}
    description["where"] = [[column, list(values)] for column, values in where]
    description["split_column"] = split_column
    return replace(source, description=description)


def _check_folders(place: Path, classes: Iterable[str]) -> None:
    """Raises FinetuneError for a subfolder without audio, whose class would be overlooked."""
    if not place.is_dir():
        return
    folders = {
        readable(path.name) for path in place.iterdir() if path.is_dir() and path.name[0] != "."
    }
    empty = sorted(folders - set(classes))
    if empty:
        names = ", ".join(map(repr, empty[:_SHOWN])) + (", ..." if len(empty) > _SHOWN else "")
        raise FinetuneError(
            f"{place}: no audio files in the folder{'s' * (len(empty) > 1)} {names}, so the class "
            "would be empty; add recordings or remove the folder."
        )


def _check_classes(table: str | os.PathLike, source: Source) -> None:
    """Raises FinetuneError for a label all of whose files are absent."""
    for label, rows in sorted(source.n_listed.items()):
        if label not in source.label_names:
            raise FinetuneError(
                f"{table}: the class {label!r} is empty, because none of its {rows} files exists; "
                "check --audio and the paths in the table, or leave the class out with --where."
            )


def _in_order_of_split(table: str | os.PathLike, column: str, source: Source) -> Source:
    """Orders recordings by their part; raises FinetuneError without train or test recordings."""
    parts = {recording.part for recording in source.recordings}
    for part in ("train", "test"):
        if part not in parts:
            raise FinetuneError(
                f"{table}: no recording has {column} = {part}; without --split_column the "
                "recordings are split for you."
            )
    ordered = sorted(source.recordings, key=lambda recording: PARTS.index(recording.part))
    return replace(source, recordings=tuple(ordered))


def _check_one_label(source: Source, id: str, labels: tuple[int, ...]) -> None:
    if len(labels) == 1:
        return
    names = "; ".join(source.label_names[index] for index in labels)
    problem = f"has {len(labels)} labels ({names})" if labels else "has no label"
    raise FinetuneError(
        f"{source.name}: {id} {problem}; every recording needs exactly one: correct the table, or "
        "choose rows with --where."
    )
