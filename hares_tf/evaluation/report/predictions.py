"""Stored predictions of a head: TASK.predictions.npz beside a result."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.report.reading import Result
from hares_tf.evaluation.report.values import as_dict
from hares_tf.utils.errors import reason

KINDS = ("classes", "slots", "tags")
# Errors of NumPy and zipfile for files that are truncated, damaged, encrypted, of another kind, or
# larger than the memory.
_UNREADABLE = (
    OSError, ValueError, KeyError, TypeError, EOFError, AttributeError, MemoryError,
    zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError,
)  # fmt: skip


@dataclass(frozen=True)
class Predictions:
    """Predictions on the tested clips of one result.

    Attributes:
        ids: `[clips]` texts.
        scores: float32 `[clips, width]`, one column per name of all groups.
        targets: int32 `[clips, groups]`, or for tags float32 `[clips, tags]`.
        kind: "classes", "slots" or "tags".
        groups: (name of the group, its labels), in the order of the columns.
    """

    ids: np.ndarray
    scores: np.ndarray
    targets: np.ndarray
    kind: str
    groups: tuple[tuple[str, tuple[str, ...]], ...]


def load(result: Result) -> Predictions | None:
    """Reads the predictions of a result; None where the result states that there are none.

    Raises:
        EvaluationError: the file is absent, damaged, or does not fit the result.
    """
    name = result.data.get("predictions")
    if name is None or result.path is None:
        return None
    # Anybody may have written the file with this name; nothing outside its folder is read.
    if not isinstance(name, str) or PurePosixPath(name).name != name or "\\" in name:
        raise EvaluationError(
            f"{result.place}: The name of its predictions is not a plain file name."
        )
    where = f"The predictions of {result.place} ({name})"
    kind, groups = _labels(result, where)
    try:
        with np.load(result.path.with_name(name), allow_pickle=False) as file:
            ids, scores, targets = (file[key] for key in ("ids", "scores", "targets"))
            key = str(file["key"]) if "key" in file.files else result.data.get("key")
    except FileNotFoundError as error:
        raise EvaluationError(f"{where} do not exist; the details are left out.") from error
    except _UNREADABLE as error:
        raise EvaluationError(f"{where} cannot be read ({reason(error)}).") from error
    if key != result.data.get("key"):
        raise EvaluationError(f"{where} belong to another result; run hares-evaluate again.")
    found = Predictions(ids, scores, targets, kind, groups)
    _check(found, where)
    return found


def _labels(result: Result, where: str) -> tuple[str, tuple[tuple[str, tuple[str, ...]], ...]]:
    """Returns kind and groups of the labels."""
    labels = as_dict(result.section("task").get("labels"))
    groups, kind = labels.get("groups"), labels.get("kind")
    if (
        kind not in KINDS
        or not isinstance(groups, dict)
        or not groups
        or not all(isinstance(names, list) and names for names in groups.values())
        or (kind != "slots" and len(groups) != 1)
    ):
        raise EvaluationError(f"{where} cannot be shown: the result does not list its labels.")
    return kind, tuple((group, tuple(map(str, names))) for group, names in groups.items())


def _check(found: Predictions, where: str) -> None:
    clips, widths = len(found.ids), [len(names) for _, names in found.groups]
    wanted = (clips, sum(widths) if found.kind == "tags" else len(widths))
    good = (
        clips > 0
        and found.ids.shape == (clips,)
        and found.ids.dtype.kind == "U"
        and found.scores.shape == (clips, sum(widths))
        and found.scores.dtype.kind == "f"
        and found.targets.shape == wanted
        and found.targets.dtype.kind == ("f" if found.kind == "tags" else "i")
        and not np.isnan(found.scores).any()
    )
    if good and found.kind != "tags":
        good = bool((found.targets >= 0).all() and (found.targets < np.array(widths)).all())
    if not good:
        raise EvaluationError(f"{where} do not fit its labels; score the task anew.")
