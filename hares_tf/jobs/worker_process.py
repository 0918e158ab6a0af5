"""Start of a worker process. Imports no library that reads the number of threads."""

import logging
import os
import signal
import threading
from multiprocessing.connection import Connection, wait

# Read by OpenMP, OpenBLAS, MKL and TensorFlow when they are loaded.
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def start(parent: Connection, threads: int) -> None:
    """Prepares this process: limits its threads, and makes it exit when its parent does.

    Args:
        parent: a pipe whose other end only the parent holds, and closes to end its workers.
        threads: number of threads of a library, unless the environment sets it.
    """
    # A terminal sends Ctrl-C to all, and some supervisors SIGTERM; the parent decides.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    for name in _THREADS:
        os.environ.setdefault(name, str(threads))
    # No process may allocate all the memory of a GPU that they share.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Connection) -> None:
    """Exits when the pipe closes, also when the parent is killed; jobs can be killed any time."""
    wait([parent])
    os._exit(1)
