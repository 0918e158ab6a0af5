"""Progress on stderr: a live bar on terminals, occasional lines in logs, or JSON lines."""

import contextlib
import json
import sys
import time
from collections.abc import Iterator

MODES = ("bar", "json", "none")
_SECONDS_BETWEEN_LINES = 2.0


class Progress:
    """Reports the phases of a long computation.

    Args:
        mode: one of `MODES`. "json" prints one object per line: `{"event": "message", "text"}`,
            and for phases `{"event": "start" | "progress" | "end", "task", "phase", "unit", "done",
            "total", "seconds", "remaining_seconds"}`. The end of a phase that an exception ended
            also has `"failed": true`.
    """

    def __init__(self, mode: str = "none"):
        self.mode = mode

    def say(self, text: str) -> None:
        """Shows a message."""
        if self.mode == "bar":
            from tqdm import tqdm

            # Writes above a bar that is shown, instead of into its line.
            tqdm.write(text, file=sys.stderr)
        elif self.mode == "json":
            self._emit({"event": "message", "text": text.strip()})

    @contextlib.contextmanager
    def phase(self, task: str, phase: str, total: int, unit: str) -> Iterator["_Phase"]:
        """Reports a phase of known length; the yielded object's `update(n)` counts what is done."""
        if self.mode == "json":
            state = _Phase(self, {"task": task, "phase": phase, "unit": unit, "total": total})
            state.emit("start")
            try:
                yield state
            except BaseException:
                state.emit("end", failed=True)
                raise
            state.emit("end")
            return
        from tqdm import tqdm

        # Terminals show a live bar, logs a line every 20 seconds.
        live = sys.stderr.isatty()
        with tqdm(
            total=total,
            desc=f"  {task}: {phase}",
            unit=unit,
            mininterval=0.2 if live else 20.0,
            disable=self.mode == "none",
            leave=False,
            delay=0.0 if live else 20.0,
            dynamic_ncols=True,
        ) as bar:
            yield bar

    def _emit(self, record: dict) -> None:
        print(json.dumps(record), file=sys.stderr, flush=True)


class _Phase:
    """A phase reported as JSON lines."""

    def __init__(self, progress: Progress, about: dict):
        self._progress, self._about = progress, about
        self._done = 0
        self._started = self._reported = time.monotonic()

    def update(self, n: int = 1) -> None:
        self._done += n
        if time.monotonic() - self._reported >= _SECONDS_BETWEEN_LINES:
            self.emit("progress")

    def emit(self, event: str, **more: bool) -> None:
        self._reported = time.monotonic()
        seconds = self._reported - self._started
        left = self._about["total"] - self._done
        self._progress._emit(
            {
                "event": event,
                **self._about,
                "done": self._done,
                "seconds": round(seconds, 3),
                "remaining_seconds": round(seconds / self._done * left, 1) if self._done else None,
                **more,
            }
        )
