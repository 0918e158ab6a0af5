"""The log of a run: metrics.jsonl, TensorBoard events, lines on the terminal."""

import json
import os
from pathlib import Path

from hares_tf.utils.files import atomic_file

METRICS = "metrics.jsonl"


class Journal:
    """Records the metrics of a run; a resumed run goes on where its checkpoint was.

    Args:
        workdir: the run's folder.
        step: of the checkpoint that the run goes on from. What was recorded after it is dropped:
            those steps are going to be done again.
        active: False for the workers that write nothing.
    """

    def __init__(self, workdir: Path, step: int, active: bool = True):
        self._path = workdir / METRICS
        self._active = active
        self._events = None
        if active:
            import tensorflow as tf

            self._forget_after(step)
            self._events = tf.summary.create_file_writer(str(workdir / "tensorboard"))

    def _forget_after(self, step: int) -> None:
        if not self._path.exists():
            return
        kept = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except ValueError:  # the last line of a killed process may be cut
                continue
            if record["step"] <= step:
                kept.append(line)
        with atomic_file(self._path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def record(self, step: int, metrics: dict[str, float]) -> None:
        """Appends metrics that hold up to and including `step`."""
        if self._events is None:
            return
        import tensorflow as tf

        line = json.dumps({"step": step, **metrics})
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
        with self._events.as_default(step=step):
            for name, value in metrics.items():
                tf.summary.scalar(name, value)
        self._events.flush()

    def close(self) -> None:
        """Closes the event file."""
        if self._events is not None:
            self._events.close()


def read_metrics(workdir: str | os.PathLike) -> list[dict]:
    """The lines of a run's metrics.jsonl; one that a kill has cut is left out."""
    records = []
    for line in (Path(workdir) / METRICS).read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records


def in_words(step: int, steps: int, metrics: dict[str, float]) -> str:
    """Returns metrics as one line for people."""
    parts = [f"step {step:,}/{steps:,}"]
    for name, value in metrics.items():
        text = f"{value:,.0f}" if name.endswith("per_second") else f"{value:.4g}"
        parts.append(f"{name.replace('_', ' ')} {text}")
    return "  ".join(parts)
