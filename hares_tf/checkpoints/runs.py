"""Checkpoints of pretraining runs: which one, what it holds, whether it fits its model.

`checkpoints.run_files` names the files. The arrays `encoder/...` (see `variable_names`) and, of
classifiers, `head/logits/...` are used here. Nothing is ever unpickled.
"""

import json
import os
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import numpy as np

from hares_tf.checkpoints.arrays import fitted, read_npz
from hares_tf.checkpoints.errors import CheckpointError
from hares_tf.checkpoints.run_files import BEST as BEST_FILE
from hares_tf.checkpoints.run_files import CHECKPOINTS, RUN, SCHEMA, step_of
from hares_tf.checkpoints.variable_names import named_variables
from hares_tf.models.classifier import Classifier
from hares_tf.models.errors import ModelError
from hares_tf.models.registry import get_spec
from hares_tf.utils.files import sha256_file

#: The value of `step` that asks for what `best.json` names.
BEST = "best"
_WORDS: dict[type, str] = {str: "text", list: "list", dict: "JSON object"}


@dataclass(frozen=True)
class Run:
    """The content of the `run.json` of a run.

    Attributes:
        folder: of the run.
        model: a name of the registry.
        objective: what it was trained for.
        classes: names of the classes in the order of the logits, for a run with labels; else ().
        config, data, environment: for the model card.
    """

    folder: Path
    model: str
    objective: str
    classes: tuple[str, ...]
    config: dict
    data: dict
    environment: dict


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of a run.

    Attributes:
        run: whose.
        path: its file.
        step: number of training steps done.
        arrays: by name; those of the encoder and of the head.
    """

    run: Run
    path: Path
    step: int
    arrays: dict[str, np.ndarray]

    def provenance(self) -> dict:
        """Returns the provenance of the weights, for the model card."""
        return {
            "source": "pretrained",
            "objective": self.run.objective,
            "step": self.step,
            "file": self.path.name,
            "sha256": sha256_file(self.path),
            "config": self.run.config,
            "data": self.run.data,
            "environment": self.run.environment,
        }


def encoder_variables(model) -> dict:
    """The variables of an encoder by their names in a checkpoint."""
    return named_variables(model, "encoder")


def open_checkpoint(
    source: str | os.PathLike,
    step: int | str | None = None,
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr),
) -> Checkpoint:
    """Reads a checkpoint of a run.

    Args:
        source: the run's folder, or one of its checkpoint files.
        step: for a folder, the step wanted, or "best"; default: the newest that can be read.
        say: takes a sentence for each newer one that cannot be read.

    Raises:
        CheckpointError: there is no such run or checkpoint, or it cannot be read.
    """
    source = Path(source)
    if source.is_file():
        if step is not None:
            raise CheckpointError(
                f"{source} is one checkpoint; a step is chosen where the run's folder is given."
            )
        return _read(read_run(_folder_of(source)), source)
    if not source.is_dir():
        raise CheckpointError(
            f"{source}: there is no such folder or file; name the folder of a run."
        )
    run = read_run(source)
    steps = _steps(run)
    if step is not None:
        wanted = _best_step(run) if step == BEST else step
        if wanted not in steps:
            there = ", ".join(map(str, sorted(steps)))
            raise CheckpointError(
                f"{source} holds no checkpoint of step {wanted}; it has: {there}."
            )
        return _read(run, steps[wanted])
    for path in (steps[number] for number in sorted(steps, reverse=True)):
        try:
            return _read(run, path)
        except CheckpointError as error:
            say(f"passed over: {error}")
    raise CheckpointError(f"{source}: none of its {len(steps)} checkpoint(s) can be read.")


def load_encoder(model, checkpoint: Checkpoint) -> None:
    """Gives a built encoder the weights of a checkpoint.

    Raises:
        CheckpointError: they are not those of this model; it is left as it was.
    """
    _assign(encoder_variables(model), checkpoint, "encoder/")


def load_classifier(checkpoint: Checkpoint, embedding_size: int) -> Classifier | None:
    """The classifier of a classification run; None for others.

    Raises:
        CheckpointError: the checkpoint's head is not a dense layer from the embedding to the
            classes of the run.
    """
    classes = checkpoint.run.classes
    if not classes and any(name.startswith("head/logits/") for name in checkpoint.arrays):
        raise CheckpointError(
            f"{checkpoint.run.folder / RUN}: a run with a classifier needs the names of its "
            "classes, label_names."
        )
    if not classes:
        return None
    import keras

    dense = keras.layers.Dense(len(classes), name="logits", dtype="float32")
    dense.build((None, embedding_size))
    _assign(named_variables(dense, "head/logits"), checkpoint, "head/")
    return Classifier(dense, classes)


def _assign(variables: dict, checkpoint: Checkpoint, prefix: str) -> None:
    arrays = {name: a for name, a in checkpoint.arrays.items() if name.startswith(prefix)}
    origin = f"{checkpoint.path} (run of {checkpoint.run.model})"
    fitting = fitted(arrays, variables, origin)
    for name, variable in variables.items():
        variable.assign(fitting[name])


def read_run(folder: Path) -> Run:
    """Reads `run.json`.

    Raises:
        CheckpointError: there is none, or it does not say what it should.
    """
    path = folder / RUN
    if not path.is_file():
        raise CheckpointError(
            f"{folder} holds no {RUN}: name the folder of a run of hares-pretrain."
        )
    content = _read_json(path)

    def part(name: str, kind: type, default=None):
        value = content.get(name, default)
        if not isinstance(value, kind):
            raise CheckpointError(f"{path}: its {name!r} is not a {_WORDS[kind]}.")
        return value

    _check_schema(content, path)
    model, objective = part("model", str), part("objective", str)
    try:
        get_spec(model)
    except ModelError as error:
        raise CheckpointError(f"{path}: {error}") from error
    classes = part("label_names", list, [])
    if not all(isinstance(name, str) for name in classes):
        raise CheckpointError(f"{path}: its 'label_names' are not all texts.")
    return Run(
        folder,
        model,
        objective,
        tuple(classes),
        part("config", dict, {}),
        part("data", dict, {}),
        part("environment", dict, {}),
    )


def _folder_of(file: Path) -> Path:
    """The folder of the run that a checkpoint file lies in."""
    folders = [file.absolute().parent, file.absolute().parent.parent]
    for folder in folders:
        if (folder / RUN).is_file():
            return folder
    raise CheckpointError(
        f"{file} lies in no run's folder ({RUN} is neither beside it nor one level above), so "
        "nothing says which model its weights are of."
    )


def _steps(run: Run) -> dict[int, Path]:
    """Files by step; at least one."""
    folder = run.folder / CHECKPOINTS
    entries = folder.iterdir() if folder.is_dir() else ()
    numbered = ((step_of(path.name), path) for path in entries)
    steps = {step: path for step, path in numbered if step is not None}
    if not steps:
        raise CheckpointError(f"{run.folder} holds no checkpoint ({CHECKPOINTS}/step-*.npz) yet.")
    return steps


def _best_step(run: Run) -> int:
    path = run.folder / CHECKPOINTS / BEST_FILE
    if not path.is_file():
        raise CheckpointError(
            f"There is no {path}: the run has chosen no best checkpoint; give a number."
        )
    step = _read_json(path).get("step")
    if not _is_step(step):
        raise CheckpointError(f"{path} names no step.")
    return step


def _read(run: Run, path: Path) -> Checkpoint:
    if not zipfile.is_zipfile(path):
        raise CheckpointError(f"{path} is damaged or incomplete: it is no .npz file.")
    arrays = read_npz(os.fspath(path))
    metadata = _metadata(arrays, path)
    kept = {name: a for name, a in arrays.items() if name.startswith(("encoder/", "head/"))}
    return Checkpoint(run, path, metadata["step"], kept)


def _metadata(arrays: dict[str, np.ndarray], path: Path) -> dict:
    array = arrays.get("metadata")
    if array is None or array.shape != () or array.dtype.kind != "U":
        raise CheckpointError(f"{path} is no checkpoint of a run: its array 'metadata' is no text.")
    metadata = _parsed(str(array), f"{path} (metadata)")
    _check_schema(metadata, path)
    if not _is_step(metadata.get("step")):
        raise CheckpointError(f"{path} is no checkpoint of a run: its metadata name no step.")
    return metadata


def _is_step(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _read_json(path: Path) -> dict:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    return _parsed(text, os.fspath(path))


def _parsed(text: str, where: str) -> dict:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where} is no JSON: {error}") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{where} is no JSON object.")
    return data


def _check_schema(data: dict, path: Path) -> None:
    if data.get("schema") != SCHEMA:
        raise CheckpointError(
            f"{path} has schema {data.get('schema')!r}; this version of hares-tf reads {SCHEMA}."
        )
