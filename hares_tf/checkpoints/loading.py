"""Weights from a file of any known format into an encoder."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hares_tf.checkpoints.errors import CheckpointError
from hares_tf.checkpoints.haiku import load_haiku_parameters
from hares_tf.checkpoints.run_files import CHECKPOINTS, KERAS_WEIGHTS, RUN, step_of
from hares_tf.checkpoints.runs import load_encoder, open_checkpoint
from hares_tf.utils.errors import reason


@dataclass(frozen=True)
class Format:
    """A format of weight files. To read another one, add a row to `FORMATS`.

    Attributes:
        name: of the format, for messages.
        matches: whether a path is of this format.
        load: fills a built encoder from the path, with every tensor checked before the first one
            is assigned.
    """

    name: str
    matches: Callable[[Path], bool]
    load: Callable


def _is_run(path: Path) -> bool:
    return (path / RUN).is_file() or (path.is_file() and step_of(path.name) is not None)


def _load_run(model, path: Path) -> None:
    load_encoder(model, open_checkpoint(path))


def _load_keras_weights(model, path: Path) -> None:
    try:
        model.load_weights(path)
    # h5py raises errors of any type for damaged files: RuntimeError, TypeError, MemoryError, ...
    except Exception as error:
        raise CheckpointError(
            f"{path} does not hold the weights of {model.name}: {reason(error)}."
        ) from error


FORMATS = (
    Format(
        f"the folder of a run of hares-pretrain, or its {CHECKPOINTS}/step-*.npz",
        _is_run,
        _load_run,
    ),
    Format(
        f"Keras weights ({KERAS_WEIGHTS})",
        lambda p: p.name.endswith(KERAS_WEIGHTS),
        _load_keras_weights,
    ),
    Format("Haiku parameters (.npz)", lambda p: p.suffix == ".npz", load_haiku_parameters),
)


def load_checkpoint(model, source: str | os.PathLike | Mapping) -> None:
    """Gives a built encoder the weights of a checkpoint.

    Args:
        model: the encoder; if loading fails it is as it was, except for a damaged `.weights.h5`.
        source: a path of one of `FORMATS`, or Haiku parameters as a mapping.

    Raises:
        CheckpointError: there is no such file, its format is not known, or its weights are not
            those of this encoder.
    """
    if isinstance(source, Mapping):
        load_haiku_parameters(model, source)
        return
    path = Path(source)
    if not path.exists():
        raise CheckpointError(f"{path}: there is no such file or folder.")
    for form in FORMATS:
        if form.matches(path):
            form.load(model, path)
            return
    names = "; ".join(form.name for form in FORMATS)
    raise CheckpointError(f"{path} is of no known format. Known are: {names}.")
