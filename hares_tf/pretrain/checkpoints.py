"""Checkpoints: one npz file per step, whole or absent, the last few and the best.

An npz is a zip of plain arrays with a checksum each: nothing in it is code, and a file that is cut
or damaged is recognized when it is read. Damaged files are renamed, never deleted.
"""

import errno
import json
import os
from pathlib import Path

import numpy as np

from hares_tf.checkpoints.run_files import BEST, SCHEMA, checkpoint_name, step_of
from hares_tf.pretrain.errors import PretrainError
from hares_tf.utils.errors import reason
from hares_tf.utils.files import atomic_file

DAMAGED = ".damaged"


class Checkpoints:
    """The checkpoints of a run.

    Args:
        folder: the folder of the checkpoints; created with the first one.
        keep: number of the newest ones that stay; the best one stays beside them.
    """

    def __init__(self, folder: Path, keep: int = 3):
        self.folder = folder
        self._keep = keep
        # Damaged ones that `restore` has seen. They are renamed by `save`, which one process alone
        # calls, at a time when no other process reads them any more.
        self._damaged: set[int] = set()

    def steps(self) -> list[int]:
        """Steps of which there is a checkpoint, ascending."""
        if not self.folder.is_dir():
            return []
        steps = (step_of(path.name) for path in self.folder.iterdir())
        return sorted(step for step in steps if step is not None)

    def path(self, step: int) -> Path:
        """Returns the path of the checkpoint of `step`, whether it exists or not."""
        return self.folder / checkpoint_name(step)

    def clean(self) -> None:
        """Removes files that killed processes have left half written."""
        for leftover in self.folder.glob(".tmp-*"):
            leftover.unlink(missing_ok=True)

    def save(self, variables: dict, step: int, **about) -> Path:
        """Writes the values of `variables` (name -> Keras variable), and drops old checkpoints.

        Args:
            variables: what to keep.
            step: number of steps done.
            **about: JSON data to keep with them.
        """
        arrays = {name: np.asarray(variable.value) for name, variable in variables.items()}
        metadata = json.dumps({"schema": SCHEMA, "step": step, **about})
        with atomic_file(self.path(step)) as temporary, open(temporary, "wb") as file:
            np.savez(file, allow_pickle=False, metadata=np.array(metadata), **arrays)
            file.flush()
            os.fsync(file.fileno())
        # A later one would count as the newest: the run was restored from one before it.
        for damaged in {later for later in self.steps() if later > step} | self._damaged - {step}:
            path = self.path(damaged)
            if path.exists():
                os.replace(path, f"{path}{DAMAGED}")
        self._damaged.clear()
        best = (self.best() or {}).get("step")
        for old in self.steps()[: -self._keep]:
            if old != best:
                self.path(old).unlink(missing_ok=True)
        return self.path(step)

    def restore(self, variables: dict) -> tuple[dict, list[str]]:
        """Fills `variables` from the newest checkpoint that is not damaged.

        Returns:
            The metadata that was saved with it, at least {"step": ...} (0 if there is no
            checkpoint), and a sentence for each damaged one that was passed over.

        Raises:
            PretrainError: there are checkpoints, but all are damaged; one cannot be read because
                of the file system; or one belongs to another model.
        """
        passed: list[str] = []
        for step in reversed(self.steps()):
            content = self._intact(step, passed)
            if content is None:
                continue
            arrays, about = content
            _assign(variables, arrays, self.path(step))
            best = (self.best() or {}).get("step", step)
            if best != step and best not in self._damaged:
                # Otherwise its score would keep every later checkpoint from becoming the best.
                self._intact(best, passed)
            return about, passed
        if passed:
            raise PretrainError(
                f"None of the checkpoints in {self.folder} can be read: {'; '.join(passed)}. "
                "Start afresh in another --workdir, or delete them."
            )
        return {"step": 0}, []

    def _intact(self, step: int, passed: list[str]) -> tuple[dict, dict] | None:
        """Returns the content of a checkpoint, or None and a sentence in `passed`."""
        try:
            return _read(self.path(step))
        # Damage reaches every corner of zipfile and of NumPy's header parser, which raise more
        # than they document: NotImplementedError, RuntimeError, MemoryError, ...
        except Exception as error:
            # EINVAL comes from a damaged offset; the others are not the file's fault.
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
                raise PretrainError(
                    f"{self.path(step)} cannot be read ({reason(error)}); check the disk and the "
                    "permissions, and run the same command again."
                ) from error
            self._damaged.add(step)
            passed.append(
                f"{self.path(step)} is damaged ({reason(error)}); it will be renamed to "
                f"{checkpoint_name(step)}{DAMAGED}"
            )
            return None

    def best(self) -> dict | None:
        """Returns `{"step", "by", "value"}` of the best checkpoint; None if there is none."""
        path = self.folder / BEST
        try:
            best = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise PretrainError(f"{path} is no JSON ({error}); delete it.") from error
        if not isinstance(best, dict) or not {"step", "by", "value"} <= best.keys():
            raise PretrainError(f"{path} does not name a step, by what and its value; delete it.")
        # A best checkpoint that is gone must not keep others from becoming the best.
        return best if self.path(best["step"]).exists() else None

    def judge(self, step: int, by: str, value: float) -> bool:
        """Records the checkpoint of `step` as the best if no value of this measure was higher."""
        best = self.best()
        if best is not None and best["by"] == by and best["value"] >= value:
            return False
        with atomic_file(self.folder / BEST) as temporary:
            text = json.dumps({"step": step, "by": by, "value": value})
            temporary.write_text(text + "\n", encoding="utf-8")
        return True


def _read(path: Path) -> tuple[dict, dict]:
    """Arrays and metadata of a checkpoint; reading every byte of it checks its checksums."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    metadata = json.loads(str(arrays.pop("metadata")))
    if metadata["schema"] != SCHEMA:
        raise ValueError(f"its schema is {metadata['schema']}, this program reads {SCHEMA}")
    return arrays, metadata


def _assign(variables: dict, arrays: dict, path: Path) -> None:
    if missing := sorted(set(variables) ^ set(arrays)):
        raise PretrainError(
            f"{path} is of another model or objective: {missing[0]} is only in one of the two."
        )
    for name, variable in variables.items():
        if tuple(variable.shape) != arrays[name].shape:
            raise PretrainError(
                f"{path} is of another model: {name} has shape {arrays[name].shape} there and "
                f"{tuple(variable.shape)} here."
            )
    for name, variable in variables.items():
        variable.assign(arrays[name])
