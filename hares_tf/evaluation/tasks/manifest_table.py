"""CSV manifests of users' tasks, with one row per recording."""

import os
from pathlib import Path

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.tasks.declaration import SPLITS, Clip, Manifest, Places
from hares_tf.evaluation.tasks.labels import Labels
from hares_tf.recordings.sound import FileSound
from hares_tf.recordings.tables import read_table


def read_manifest_table(
    root: Path, manifest: str, columns: dict, kind: str, places: Places
) -> Manifest:
    """Reads and checks a manifest.

    Args:
        root: the folder that all paths must be inside.
        manifest: the CSV's path below it.
        columns: {"file": ..., "label": [...], "split" or "fold": ...}, names of columns.
        kind: kind of the labels, see `Labels`.
        places: not used, because the paths are in the manifest.

    Raises:
        EvaluationError: a row or the whole manifest is wrong; the message names the row as a text
            editor numbers it.
        RecordingsError: the manifest cannot be read as a table.
    """
    path = _inside(root, root / manifest, f"the manifest {manifest!r}")
    folds = "fold" in columns
    clips: list[Clip] = []
    row_of: dict[str, int] = {}
    part_of: dict[str, str] = {}
    n_excluded = 0
    for number, row in read_table(path, _columns(columns)):
        where = f"{path}, row {number}"
        file, part = row[columns["file"]], row[columns["fold" if folds else "split"]]
        if not file:
            raise EvaluationError(f"{where}: the column {columns['file']!r} is empty.")
        if not part:
            n_excluded += 1
            continue
        if not folds and part not in SPLITS:
            raise EvaluationError(
                f"{where}: split {part!r} is not one of {', '.join(SPLITS)} (or empty: left out)."
            )
        label = _label([row[column] for column in columns["label"]], kind, f"{where}: {file}")
        audio = str(_inside(root, path.parent / file, where))
        if audio in row_of:
            problem = "is in two splits" if part_of[audio] != part else "is listed twice"
            raise EvaluationError(f"{where}: {file} {problem} (first in row {row_of[audio]}).")
        if not os.path.isfile(audio):  # unlike Path.is_file, never raises
            problem = "is a folder" if os.path.isdir(audio) else "does not exist"
            raise EvaluationError(f"{where}: the audio file {audio} {problem}.")
        row_of[audio], part_of[audio] = number, part
        clips.append(Clip(file, FileSound(audio), label, part))
    _check_parts(path, clips, list(row_of.values()), kind, folds)
    return Manifest(
        clips=tuple(clips),
        labels=_label_space(clips, columns, kind),
        folds=tuple(sorted(set(part_of.values()))) if folds else (),
        n_excluded=n_excluded,
    )


def _label(cells: list[str], kind: str, where: str) -> str | tuple[str, ...]:
    """Returns the label of a row as `Clip` takes it; a clip may have no tags."""
    if kind == "tags":
        return tuple(dict.fromkeys(tag.strip() for tag in cells[0].split(";") if tag.strip()))
    if not all(cells):
        raise EvaluationError(f"{where} has no label.")
    return cells[0] if kind == "classes" else tuple(cells)


def _label_space(clips: list[Clip], columns: dict, kind: str) -> Labels:
    """Returns the label space: all names that occur, sorted."""
    labels = [(clip.label,) if isinstance(clip.label, str) else clip.label for clip in clips]
    if kind == "slots":
        slots = zip(columns["label"], zip(*labels, strict=True), strict=True)
        return Labels.slots({slot: sorted(set(names)) for slot, names in slots})
    names = sorted({name for label in labels for name in label})
    return Labels.classes(names) if kind == "classes" else Labels.tags(names)


def _columns(columns: dict) -> list[str]:
    """Returns the names of all columns that the manifest needs."""
    values = (value if isinstance(value, list) else [value] for value in columns.values())
    return [name for names in values for name in names]


def _inside(root: Path, path: Path, where: str) -> Path:
    """Returns `path` without `..`; it must be inside `root`, where links may lead anywhere."""
    root = Path(os.path.abspath(root))
    absolute = Path(os.path.abspath(path))
    if not absolute.is_relative_to(root):
        raise EvaluationError(f"{where}: {path} leads outside the data folder {root}.")
    return absolute


def _check_parts(path: Path, clips: list[Clip], rows: list[int], kind: str, folds: bool) -> None:
    """Raises EvaluationError for clips that no head can be trained and tested on."""
    if not clips:
        raise EvaluationError(f"{path}: no row takes part (no rows, or every split is empty).")
    parts = {clip.part for clip in clips}
    if folds and len(parts) < 3:
        raise EvaluationError(
            f"{path}: {len(parts)} fold(s); cross-validation with an inner choice needs three."
        )
    labels = [clip.label for clip in clips]
    columns = {"classes": [labels], "slots": zip(*labels, strict=True), "tags": []}[kind]
    for names in columns:
        _check_names(path, names, [clip.part for clip in clips], rows, folds)
    for part in () if folds else ("train", "test"):
        if part not in parts:
            raise EvaluationError(f"{path}: no row has the split {part!r}.")
    if kind == "tags" and not any(clip.label for clip in clips if folds or clip.part == "train"):
        raise EvaluationError(f"{path}: no training clip carries a tag.")


def _check_names(path: Path, names, parts: list[str], rows: list[int], folds: bool) -> None:
    """Raises EvaluationError for labels (one of each clip) that cannot be learned or tested."""
    if len(set(names)) < 2:
        raise EvaluationError(f"{path}: all clips carry one label, {names[0]!r}.")
    where: dict[str, set[str]] = {}
    first_row: dict[str, int] = {}
    for name, part, row in zip(names, parts, rows, strict=True):
        where.setdefault(name, set()).add(part)
        first_row.setdefault(name, row)
    if folds:
        for name in sorted(where):
            if len(where[name]) < 3:
                raise EvaluationError(
                    f"{path}, row {first_row[name]}: the label {name!r} is in "
                    f"{len(where[name])} fold(s) only; every label must be in at least three."
                )
        return
    if sum("train" in parts for parts in where.values()) < 2:
        raise EvaluationError(f"{path}: all training clips carry one label.")
    for name, part, row in zip(names, parts, rows, strict=True):
        if "train" not in where[name]:
            raise EvaluationError(
                f"{path}, row {row}: the label {name!r} of a {part} clip is in no training clip."
            )
