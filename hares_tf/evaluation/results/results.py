"""Results on disk: one JSON per model and task, with everything needed to trust or redo it.

OUTPUT/PROTOCOL/NAME-HASH/TASK.json             HASH: 12 digits of the model's content hash
OUTPUT/PROTOCOL/NAME-HASH-FLAGS/TASK.json       where flags changed how the model is called
OUTPUT/PROTOCOL-OPTIONS/...                     where options make scores stand apart (`K=16`)
OUTPUT/PROTOCOL/.../TASK.predictions.npz        what the head said of every test clip

Schema 2 of the JSON. `score` and `interval` (95%, bootstrap over test clips) in percent
(the interval that of the first seed's head, where the score is the mean of several); `complete`,
and if not, `incomplete_because`; `task`, the declaration with its labels; `protocol`,
whose `identity` decides which scores may be compared; `clips`, how many there should be, were read,
failed; `model`; `embeddings`, what they depend on; `seconds`; `environment`.

The predictions hold `ids`, `scores` `[clips, width]` and `targets` (see `Labels.targets`).
"""

import datetime
import hashlib
import json
import os
import platform
import re
import resource
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np

from hares_tf import __version__
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.utils.files import atomic_file

SCHEMA_VERSION = 2
_PACKAGES = (
    *("tensorflow", "keras", "openvino", "numpy", "scikit-learn", "scipy", "soundfile", "soxr"),
)


def result_path(
    output: str | os.PathLike,
    protocol: str,
    model_name: str,
    handle: str,
    fingerprint: str | None,
    flags: dict,
    task_id: str,
) -> Path:
    """Where the result of one model on one task stands.

    Args:
        output: the results folder.
        protocol: the protocol's folder.
        model_name: any text.
        handle: tells models apart that have no fingerprint.
        fingerprint: the model's content hash, or None.
        flags: what flags say about how the model is called; empty if nothing.
        task_id: the task's.
    """
    parts = [re.sub(r"[^A-Za-z0-9._-]+", "-", model_name) or "model"]
    # Functions of one name in two modules are two models.
    parts.append(fingerprint[:12] if fingerprint else f"unknown-{result_key(handle)[:6]}")
    if flags:
        parts.append(result_key(flags)[:6])
    return Path(output) / protocol / "-".join(parts) / f"{task_id}.json"


def result_key(ingredients: dict | str) -> str:
    """SHA-256 of everything that decides a score; a stored result with this key is up to date."""
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()


def read_result(path: Path) -> dict | None:
    """The result at `path`, or None where there is none.

    Raises:
        EvaluationError: the file is no result of this program.
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
            f"{path} is not a result of hares-evaluate ({error}); move it away and run again"
        ) from error


def write_result(path: Path, result: dict) -> None:
    """Writes a result; the file appears whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def predictions_path(path: Path) -> Path:
    """Where the predictions of the result at `path` stand."""
    return path.with_suffix(".predictions.npz")


def write_predictions(
    path: Path, key: str, ids: np.ndarray, scores: np.ndarray, targets: np.ndarray
) -> None:
    """Writes what a head said of every test clip; the file appears whole or not at all.

    It carries the key of its result: a kill may leave it beside an older one.
    """
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(
            file, key=np.array(key), ids=ids, scores=scores.astype(np.float32), targets=targets
        )


def environment() -> dict:
    """Where a result was computed: versions, machine, time."""
    return {
        "hares_tf": __version__,
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cpu_count": os.cpu_count(),
        "finished_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "peak_memory_mb": round(
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            / (2**20 if sys.platform == "darwin" else 2**10)
        ),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """The commit of the checkout this package runs from; None when it is installed."""
    repository = Path(__file__).resolve().parents[2]
    if not (repository / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(repository), "describe", "--always", "--dirty", "--abbrev=40"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass  # Not Linux: the platform module has to do.
    return platform.processor() or platform.machine()
