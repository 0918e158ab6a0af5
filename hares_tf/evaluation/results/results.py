"""Results on disk: one JSON per model and task, with everything needed to trust or repeat it.

OUTPUT/PROTOCOL/NAME-HASH/TASK.json             HASH: 12 digits of the model's content hash
OUTPUT/PROTOCOL/NAME-HASH-FLAGS/TASK.json       where flags changed how the model is called
OUTPUT/PROTOCOL-OPTIONS/...                     where options keep scores apart (`K=16`)
OUTPUT/PROTOCOL/.../TASK.predictions.npz        the head's scores of every test clip

The JSON, of schema 2, holds the fields of `TaskResult`. The predictions hold `ids`, `scores`
`[clips, width]` and `targets` (see `Labels.targets`).
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.utils.files import atomic_file

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class TaskResult:
    """The score of one model on one task.

    Attributes:
        schema: version of the file's format.
        key: hash of everything that decides the score.
        score: in percent.
        interval: 95% interval of the score in percent, (low, high), over the choice of test clips:
            Wilson's of accuracy and exact match, else a bootstrap (of the first seed's head, where
            the score is the mean of several).
        complete: whether all clips of the task took part.
        incomplete_because: if not, the reasons, as phrases.
        task: the declaration with its labels, as JSON data.
        protocol: how the head was trained; only scores of equal `identity` may be compared.
        clips: how many clips there should be, were read, failed.
        model: name, handle, content hash, size and interface of the model.
        embeddings: everything but the clip that an embedding depends on.
        seconds: duration of embedding and head, and how much was embedded.
        predictions: name of the file with the predictions, beside the result.
        environment: versions, machine and time.
    """

    schema: int
    key: str
    score: float
    interval: tuple[float, float]
    complete: bool
    incomplete_because: tuple[str, ...]
    task: dict
    protocol: dict
    clips: dict
    model: dict
    embeddings: dict
    seconds: dict
    predictions: str
    environment: dict

    @property
    def task_id(self) -> str:
        """The id of the task."""
        return self.task["id"]

    def to_json(self) -> dict:
        """Returns the content of the result's file, as JSON data."""
        return {
            **asdict(self),
            "interval": list(self.interval),
            "incomplete_because": list(self.incomplete_because),
        }

    @classmethod
    def from_json(cls, data: dict, where: str = "The result") -> "TaskResult":
        """Returns the result that JSON data of `to_json` describe.

        Args:
            data: the content of a result's file.
            where: names the result in error messages.

        Raises:
            EvaluationError: a field is absent, or not of its type.
        """
        try:
            values = {field.name: data[field.name] for field in fields(cls)}
            float(values["score"]), dict(values["clips"]["failures"])
            low, high = map(float, values["interval"])
            reasons = tuple(values["incomplete_because"])
        except (KeyError, TypeError, ValueError) as error:
            raise EvaluationError(
                f"{where} is damaged ({type(error).__name__}: {error}); move it away and run again."
            ) from error
        return cls(**{**values, "interval": (low, high), "incomplete_because": reasons})


def model_folder(name: str, handle: str, fingerprint: str | None, flags: dict) -> str:
    """Returns the name of the folder that holds a model's results.

    Args:
        name: of the model, any text.
        handle: distinguishes models without a fingerprint.
        fingerprint: the model's content hash, or None.
        flags: how flags changed the way the model is called; empty if they did not.
    """
    parts = [re.sub(r"[^A-Za-z0-9._-]+", "-", name) or "model"]
    # Functions of one name in two modules are two models.
    parts.append(fingerprint[:12] if fingerprint else f"unknown-{result_key(handle)[:6]}")
    if flags:
        parts.append(result_key(flags)[:6])
    return "-".join(parts)


def result_key(ingredients: dict | str) -> str:
    """Returns the SHA-256 of everything that decides a score; it names up-to-date results."""
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()


def read_result(path: Path) -> dict | None:
    """Returns the content of a result's file, of any schema; None if there is no file.

    Raises:
        EvaluationError: the file is not a result.
        OSError: the file cannot be read.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(result, dict) or not {"schema", "key", "score"} <= set(result):
            raise ValueError("it has no schema, key or score")
        return result
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise EvaluationError(
            f"{path} is not a result of hares-evaluate ({error}); move it away and run again."
        ) from error


def write_result(path: Path, result: TaskResult) -> None:
    """Writes a result; the file appears whole or not at all.

    Not by `utils.files.write_json`, which does not escape non-ASCII letters: the bytes of results
    stay as they always were.
    """
    text = json.dumps(result.to_json(), indent=2, allow_nan=False)
    with atomic_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def predictions_path(path: Path) -> Path:
    """Returns the path of the predictions of the result at `path`."""
    return path.with_suffix(".predictions.npz")


def write_predictions(
    path: Path, key: str, ids: np.ndarray, scores: np.ndarray, targets: np.ndarray
) -> None:
    """Writes the head's scores of every test clip; the file appears whole or not at all.

    Args:
        path: of the file.
        key: that of the result, because a kill may leave the file beside an older result.
        ids: `[clips]` ids of the test clips.
        scores: `[clips, width]`, kept as float32.
        targets: see `Labels.targets`.
    """
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(
            file, key=np.array(key), ids=ids, scores=scores.astype(np.float32), targets=targets
        )
