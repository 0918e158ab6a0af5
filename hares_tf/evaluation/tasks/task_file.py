"""Users' tasks: a short TOML file beside a CSV manifest.

    id = "barks"                     # default: the file's name
    version = 1                      # default 1; raise it when the labels change
    domain = "environment"           # environment, speech or music
    manifest = "barks.csv"           # below --data_dir, or else beside the TOML file
    window_seconds = 5.0             # clips are tiled with windows of this length
    windows = 1                      # or: so many windows per clip, equally spaced, the first at
                                     # its beginning; for clips whose length would tell the label
    labels = "classes"               # classes (one of several), tags (any number) or slots
    head = "linear"                  # linear, mlp or svm; default linear
    metric = "accuracy"              # default: accuracy for classes, mean_average_precision for
                                     # tags, exact_match for slots

    [columns]
    file = "file"                    # audio paths, relative to the manifest
    label = "label"                  # tags: names separated by ";"; slots: a list of columns
    split = "split"                  # train, validation or test; or instead of it:
    # fold = "fold"                  # cross-validation folds, any names

Rows whose split (or fold) is empty are left out and counted.
"""

import os
import tomllib
from functools import partial
from pathlib import Path

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.tasks import known_tasks
from hares_tf.evaluation.tasks.declaration import DOMAINS, Task, Windows
from hares_tf.evaluation.tasks.labels import KINDS
from hares_tf.evaluation.tasks.manifest_table import read_manifest_table

_KEYS = {
    "id", "version", "domain", "manifest", "window_seconds", "windows", "labels", "head", "metric",
    "columns",
}  # fmt: skip
# Metrics of labels of each kind; the first is the default.
_METRICS = {
    "classes": ("accuracy",),
    "tags": ("mean_average_precision",),
    "slots": ("exact_match",),
}
_HEADS = ("linear", "mlp", "svm")
_REQUIRED = ("domain", "manifest", "window_seconds", "columns")
_MAX_WINDOW_SECONDS = 600.0
_MAX_WINDOWS = 1000


def read_task_file(path: str | os.PathLike, data_dir: str | os.PathLike | None = None) -> Task:
    """Reads a task declaration.

    Args:
        path: the TOML file.
        data_dir: the folder that the manifest's path is relative to, and that no audio path may
            leave. Default, also where it holds no such manifest: the TOML's own folder.

    Raises:
        EvaluationError: what is wrong in the file, and what is allowed.
    """
    path = Path(path)
    fields = _read_toml(path)
    unknown = sorted(set(fields) - _KEYS)
    if unknown:
        raise EvaluationError(
            f"{path}: unknown key {unknown[0]!r}; known keys: {', '.join(sorted(_KEYS))}."
        )
    missing = [key for key in _REQUIRED if key not in fields]
    if missing:
        raise EvaluationError(f"{path}: the key {missing[0]!r} is missing.")

    def text(key: str, default: str | None = None) -> str:
        value = fields.get(key, default)
        if not isinstance(value, str) or not value:
            raise EvaluationError(f"{path}: {key} must be a text in quotes, not {value!r}.")
        return value

    def one_of(key: str, allowed, default: str | None = None) -> str:
        value = text(key, default)
        if value not in allowed:
            raise EvaluationError(
                f"{path}: {key} = {value!r} is not one of {', '.join(sorted(allowed))}."
            )
        return value

    root = path.parent
    if data_dir is not None:
        manifests = [Path(folder, text("manifest")) for folder in (data_dir, path.parent)]
        if manifests[0].is_file() or not manifests[1].is_file():
            root = Path(data_dir)
    task_id = text("id", path.stem)
    if not task_id.replace("_", "").replace("-", "").replace(".", "").isalnum():
        raise EvaluationError(
            f"{path}: id = {task_id!r} names the result file: use letters, digits, '_', '-', '.'."
        )
    if task_id in known_tasks():
        raise EvaluationError(
            f"{path}: {task_id!r} is the id of a task of HARES, whose results yours would replace; "
            "give it another id."
        )
    head = one_of("head", _HEADS, "linear")
    kind = one_of("labels", KINDS, "classes")
    if head == "svm" and kind != "classes":
        raise EvaluationError(
            f'{path}: head = "svm" tells classes apart; labels = {kind!r} it cannot.'
        )
    columns = _check_columns(path, fields["columns"], kind, needs_folds=head == "svm")
    return Task(
        id=task_id,
        version=_positive_integer(path, "version", fields.get("version", 1)),
        domain=one_of("domain", DOMAINS),
        windows=_windows(path, fields),
        head=head,
        metric=one_of("metric", _METRICS[kind], _METRICS[kind][0]),
        read=partial(read_manifest_table, root, text("manifest"), columns, kind),
        source=str(path),
    )


def _windows(path: Path, fields: dict) -> Windows:
    seconds = _window(path, fields["window_seconds"])
    if "windows" not in fields:
        return Windows(seconds)
    count = _positive_integer(path, "windows", fields["windows"], _MAX_WINDOWS)
    return Windows(seconds, "spread", count)


def _read_toml(path: Path) -> dict:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise EvaluationError(f"{path}: cannot read this task file ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{path} is not valid TOML: {error}") from error


def _check_columns(path: Path, columns, kind: str, needs_folds: bool) -> dict:
    """Returns the columns by content; "label" becomes a list of one or, for slots, several."""
    if not isinstance(columns, dict):
        raise EvaluationError(f'{path}: [columns] must map names to texts, such as file = "file".')
    allowed = {"file", "label", "split", "fold"}
    for key, value in columns.items():
        if key not in allowed:
            raise EvaluationError(f"{path}: [columns] knows file, label, split, fold, not {key!r}.")
        if key == "label" and kind == "slots":
            texts = isinstance(value, list) and all(isinstance(name, str) for name in value)
            if not texts or len(value) < 2 or len(set(value)) < len(value):
                raise EvaluationError(
                    f"{path}: for slots, label in [columns] is a list of two or more columns."
                )
        elif not isinstance(value, str):
            raise EvaluationError(
                f'{path}: [columns] must map names to texts, such as file = "file".'
            )
    for key in ("file", "label"):
        if key not in columns:
            raise EvaluationError(f"{path}: [columns] must name the {key!r} column.")
    if ("split" in columns) == ("fold" in columns):
        raise EvaluationError(f"{path}: [columns] must name either a 'split' or a 'fold' column.")
    if needs_folds and "fold" not in columns:
        raise EvaluationError(f'{path}: head = "svm" needs folds: name a fold column in [columns].')
    labels = columns["label"]
    return {**columns, "label": labels if isinstance(labels, list) else [labels]}


def _positive_integer(path: Path, name: str, value, highest: int | None = None) -> int:
    integer = isinstance(value, int) and not isinstance(value, bool)
    if not integer or value < 1 or (highest is not None and value > highest):
        upper = "" if highest is None else f" to {highest}"
        raise EvaluationError(
            f"{path}: {name} must be a whole number from 1{upper}, not {value!r}."
        )
    return value


def _window(path: Path, value) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0.01 <= value <= _MAX_WINDOW_SECONDS:
        raise EvaluationError(
            f"{path}: window_seconds must be a number from 0.01 to {_MAX_WINDOW_SECONDS:g}, "
            f"not {value!r}."
        )
    return float(value)
