"""Graceful stop: on a signal the training loop finishes its call and saves a checkpoint."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from hares_tf.pretrain.errors import PretrainError
from hares_tf.utils.files import locked


class StopRequest:
    """The signal that asked the run to stop, if any."""

    def __init__(self):
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextlib.contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Notes SIGTERM (preempted machines) and SIGINT (Ctrl-C); a second Ctrl-C interrupts at once.

    Elsewhere than in the main thread signals cannot be caught; the request then never comes.
    """
    request = StopRequest()

    def note(number, _frame):
        if number == signal.SIGINT and request.signal == signal.SIGINT:
            raise KeyboardInterrupt
        request.signal = number

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def only_process(workdir: Path) -> Iterator[None]:
    """Keeps a second process out of a run's folder; the lock ends with this one, however it ends.

    Raises:
        PretrainError: another process trains there.
    """

    def refuse():
        raise PretrainError(f"Another process trains in {workdir}; wait for its end, or end it.")

    with locked(workdir / ".lock", on_wait=refuse):
        yield
