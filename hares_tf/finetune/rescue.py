"""Trained weights of a run whose module could not be written: the next run uses them.

A full disk, or a module that differs when it is read again, must not cost the hours of training
before it. The weights are kept in a file, in `OUTPUT.trained.npz` or in the cache, whose key says
which module, recordings and settings they belong to.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np

from hares_tf.finetune.head import Head
from hares_tf.utils.cache import cache_dir
from hares_tf.utils.files import atomic_file

_SUFFIX = ".trained.npz"


def places(output: Path) -> list[Path]:
    """Returns the files where weights of a run with this output may be kept, the first one first.

    The cache may be on another disk.
    """
    return [
        output.with_name(output.name + _SUFFIX),
        cache_dir() / "finetune" / f"{output.resolve().name}{_SUFFIX}",
    ]


def keep(output: Path, key: str, head: Head, variables: Sequence, training: dict) -> Path:
    """Writes the weights to the first place where they can be written, and returns it.

    Args:
        output: the folder of the module that could not be written.
        key: identifies module, recordings and settings.
        head: the trained head.
        variables: the encoder's variables.
        training: the history of training, as JSON data.

    Raises:
        OSError: they cannot be written anywhere.
    """
    arrays = {f"variable/{index}": np.asarray(value) for index, value in enumerate(variables)}
    arrays |= {f"head/{name}": np.asarray(value) for name, value in asdict(head).items()}
    about = json.dumps({"key": key, "training": training})
    errors = []
    for path in places(output):
        try:
            with atomic_file(path) as temporary, open(temporary, "wb") as file:
                np.savez(file, about=np.array(about), **arrays)  # type: ignore[arg-type]
        except OSError as error:
            errors.append(error)
        else:
            return path
    raise errors[0]


def restore(output: Path, key: str, variables: Sequence) -> tuple[Path, Head, dict] | None:
    """Assigns kept weights to the encoder's variables.

    Returns:
        The file, the head and the history of training; None where no file fits the key.
    """
    for path in places(output):
        try:
            with np.load(path, allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                if about["key"] != key:
                    continue
                values = [file[f"variable/{index}"] for index in range(len(variables))]
                head = Head(**{f.name: file[f"head/{f.name}"] for f in fields(Head)})
        # A damaged file raises errors of many types; then the weights are trained again.
        except Exception:
            continue
        if [value.shape for value in values] != [tuple(v.shape) for v in variables]:
            continue
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return path, head, about["training"]
    return None


def discard(output: Path) -> None:
    """Removes kept weights, when the module has been written."""
    for path in places(output):
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue
