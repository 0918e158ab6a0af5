"""The files of a pretraining run, named once for who writes them and who exports them.

WORKDIR/run.json                         what was trained, on what, with what
WORKDIR/checkpoints/step-00001000.npz    one array per variable, and `metadata` (JSON as text)
WORKDIR/checkpoints/best.json            which step was best
"""

import re

RUN = "run.json"
CHECKPOINTS = "checkpoints"
#: The ending of the weight files of Keras.
KERAS_WEIGHTS = ".weights.h5"
BEST = "best.json"
#: Of `run.json` and of the checkpoints' metadata.
SCHEMA = 1
_CHECKPOINT = re.compile(r"step-(\d{8,})\.npz")


def checkpoint_name(step: int) -> str:
    """The file name of the checkpoint after `step` steps."""
    return f"step-{step:08d}.npz"


def step_of(name: str) -> int | None:
    """The step of a checkpoint's file name; None for other names."""
    match = _CHECKPOINT.fullmatch(name)
    return int(match[1]) if match else None
