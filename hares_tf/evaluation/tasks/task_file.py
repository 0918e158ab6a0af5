"""Tasks that a user writes: a short TOML beside a CSV manifest.

    id = "barks"                     # default: the file's name
    version = 1                      # default 1; raise it when the labels change
    domain = "environment"           # environment, speech or music
    manifest = "barks.csv"           # relative to --data_dir (default: the TOML's own folder)
    window_seconds = 5.0             # clips are tiled with windows of this length
    head = "linear"                  # linear or svm; default linear
    metric = "accuracy"              # default accuracy

    [columns]
    file = "file"                    # audio paths, relative to the manifest
    label = "label"
    split = "split"                  # train, validation or test; or instead of it:
    # fold = "fold"                  # cross-validation folds, any names

Rows whose split (or fold) is empty are left out and counted.
"""

import csv
import os
import tomllib
from functools import partial
from pathlib import Path

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.heads import HEADS
from hares_tf.evaluation.metrics import METRICS
from hares_tf.evaluation.tasks.declaration import DOMAINS, SPLITS, Clip, Manifest, Task

_KEYS = {"id", "version", "domain", "manifest", "window_seconds", "head", "metric", "columns"}
_REQUIRED = ("domain", "manifest", "window_seconds", "columns")
_MAX_WINDOW_SECONDS = 600.0


def read_task_file(path: str | os.PathLike, data_dir: str | os.PathLike | None = None) -> Task:
    """Reads a task declaration.

    Args:
        path: the TOML file.
        data_dir: the folder that the manifest's path is relative to, and that no audio path may
            leave. Default: the TOML's own folder.

    Raises:
        EvaluationError: what is wrong in the file, and what is allowed.
    """
    path = Path(path)
    fields = _read_toml(path)
    unknown = sorted(set(fields) - _KEYS)
    if unknown:
        raise EvaluationError(
            f"{path}: unknown key {unknown[0]!r}; known keys: {', '.join(sorted(_KEYS))}"
        )
    missing = [key for key in _REQUIRED if key not in fields]
    if missing:
        raise EvaluationError(f"{path}: the key {missing[0]!r} is missing")

    def text(key: str, default: str | None = None) -> str:
        value = fields.get(key, default)
        if not isinstance(value, str) or not value:
            raise EvaluationError(f"{path}: {key} must be a text in quotes, not {value!r}")
        return value

    def one_of(key: str, allowed, default: str | None = None) -> str:
        value = text(key, default)
        if value not in allowed:
            raise EvaluationError(
                f"{path}: {key} = {value!r} is not one of {', '.join(sorted(allowed))}"
            )
        return value

    root = Path(data_dir) if data_dir is not None else path.parent
    task_id = text("id", path.stem)
    if not task_id.replace("_", "").replace("-", "").replace(".", "").isalnum():
        raise EvaluationError(
            f"{path}: id = {task_id!r} names the result file: use letters, digits, '_', '-', '.'"
        )
    head = one_of("head", HEADS, "linear")
    columns = _check_columns(path, fields["columns"], needs_folds=HEADS[head].needs_folds)
    return Task(
        id=task_id,
        version=_positive_integer(path, fields.get("version", 1)),
        domain=one_of("domain", DOMAINS),
        window_seconds=_window(path, fields["window_seconds"]),
        head=head,
        metric=one_of("metric", METRICS, "accuracy"),
        read_manifest=partial(_read_manifest, root, text("manifest"), columns),
        source=str(path),
    )


def _read_toml(path: Path) -> dict:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise EvaluationError(f"{path}: cannot read this task file ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{path} is not valid TOML: {error}") from error


def _check_columns(path: Path, columns, needs_folds: bool) -> dict[str, str]:
    if not isinstance(columns, dict) or not all(isinstance(v, str) for v in columns.values()):
        raise EvaluationError(f'{path}: [columns] must map names to texts, such as file = "file"')
    allowed = {"file", "label", "split", "fold"}
    for key in columns:
        if key not in allowed:
            raise EvaluationError(f"{path}: [columns] knows file, label, split, fold, not {key!r}")
    for key in ("file", "label"):
        if key not in columns:
            raise EvaluationError(f"{path}: [columns] must name the {key!r} column")
    if ("split" in columns) == ("fold" in columns):
        raise EvaluationError(f"{path}: [columns] must name either a 'split' or a 'fold' column")
    if needs_folds and "fold" not in columns:
        raise EvaluationError(f'{path}: head = "svm" needs folds: name a fold column in [columns]')
    if not needs_folds and "fold" in columns:
        raise EvaluationError(
            f'{path}: folds are scored with head = "svm" only; give that head, or a split column'
        )
    return dict(columns)


def _positive_integer(path: Path, value) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise EvaluationError(f"{path}: version must be a whole number from 1, not {value!r}")
    return value


def _window(path: Path, value) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0.01 <= value <= _MAX_WINDOW_SECONDS:
        raise EvaluationError(
            f"{path}: window_seconds must be a number from 0.01 to {_MAX_WINDOW_SECONDS:g}, "
            f"not {value!r}"
        )
    return float(value)


def _read_manifest(root: Path, manifest: str, columns: dict[str, str]) -> Manifest:
    """Reads the CSV; every complaint names the row as a text editor numbers it."""
    path = _inside(root, root / manifest, f"the manifest {manifest!r}")
    rows = _read_rows(path, columns)
    folds = "fold" in columns
    clips: list[Clip] = []
    row_of_path: dict[Path, int] = {}
    n_excluded = 0
    for number, row in rows:
        where = f"{path}, row {number}"
        file = row["file"]
        if not file:
            raise EvaluationError(f"{where}: the column {columns['file']!r} is empty")
        part = row["fold" if folds else "split"]
        if not part:
            n_excluded += 1
            continue
        if not folds and part not in SPLITS:
            raise EvaluationError(
                f"{where}: split {part!r} is not one of {', '.join(SPLITS)} (or empty: left out)"
            )
        if not row["label"]:
            raise EvaluationError(f"{where}: {file} has no label")
        audio = _inside(root, path.parent / file, where)
        if audio in row_of_path:
            first = row_of_path[audio]
            before = next(clip for clip in clips if clip.path == audio)
            kind = "is in two splits" if before.part != part else "is listed twice"
            raise EvaluationError(f"{where}: {file} {kind} (first in row {first})")
        if not os.path.isfile(audio):  # unlike Path.is_file, never raises
            problem = "is a folder" if os.path.isdir(audio) else "does not exist"
            raise EvaluationError(f"{where}: the audio file {audio} {problem}")
        row_of_path[audio] = number
        clips.append(Clip(id=file, path=audio, label=row["label"], part=part))
    _check_parts(path, clips, row_of_path, folds)
    return Manifest(
        clips=tuple(clips),
        labels=tuple(sorted({clip.label for clip in clips})),
        folds=tuple(sorted({clip.part for clip in clips})) if folds else (),
        n_excluded=n_excluded,
    )


def _read_rows(path: Path, columns: dict[str, str]) -> list[tuple[int, dict[str, str]]]:
    """(line number, {"file": ..., "label": ..., "split" or "fold": ...}) of every row."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            for key, column in columns.items():
                if header.count(column) != 1:
                    problem = "there is no" if column not in header else "there is more than one"
                    raise EvaluationError(
                        f"{path}, row 1: {problem} column {column!r} (for {key}); "
                        f"the columns are: {', '.join(header) or 'none'}"
                    )
            place = {key: header.index(column) for key, column in columns.items()}
            rows = []
            for cells in reader:
                if not any(cells):
                    continue
                if len(cells) != len(header):
                    raise EvaluationError(
                        f"{path}, row {reader.line_num}: {len(cells)} cells, but the header has "
                        f"{len(header)} columns (a comma inside a name must be quoted)"
                    )
                rows.append((reader.line_num, {k: cells[i].strip() for k, i in place.items()}))
            return rows
    except OSError as error:
        raise EvaluationError(f"cannot read the manifest {path} ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise EvaluationError(f"the manifest {path} is not a UTF-8 CSV file: {error}") from error


def _inside(root: Path, path: Path, where: str) -> Path:
    """`path` without `..`; refuses one outside `root`. Links inside the root may lead anywhere."""
    root = Path(os.path.abspath(root))
    absolute = Path(os.path.abspath(path))
    if not absolute.is_relative_to(root):
        raise EvaluationError(f"{where}: {path} leads outside the data folder {root}")
    return absolute


def _check_parts(path: Path, clips: list[Clip], row_of_path: dict[Path, int], folds: bool) -> None:
    if not clips:
        raise EvaluationError(f"{path}: no row takes part (no rows, or every split is empty)")
    if len({clip.label for clip in clips}) < 2:
        raise EvaluationError(f"{path}: all clips carry one label, {clips[0].label!r}")
    parts = {clip.part for clip in clips}
    if folds:
        if len(parts) < 3:
            raise EvaluationError(
                f"{path}: {len(parts)} fold(s); cross-validation with an inner choice needs three"
            )
        for label in sorted({clip.label for clip in clips}):
            inside = {clip.part for clip in clips if clip.label == label}
            if len(inside) < 3:
                first = next(clip for clip in clips if clip.label == label)
                raise EvaluationError(
                    f"{path}, row {row_of_path[first.path]}: the label {label!r} is in "
                    f"{len(inside)} fold(s) only; every label must be in at least three"
                )
        return
    for part in ("train", "test"):
        if part not in parts:
            raise EvaluationError(f"{path}: no row has the split {part!r}")
    known = {clip.label for clip in clips if clip.part == "train"}
    if len(known) < 2:
        raise EvaluationError(f"{path}: all training clips carry one label")
    for clip in clips:
        if clip.label not in known:
            raise EvaluationError(
                f"{path}, row {row_of_path[clip.path]}: the label {clip.label!r} of a "
                f"{clip.part} clip occurs in no training clip"
            )
