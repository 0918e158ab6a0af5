"""Start of a process of the local pool. Imports nothing that reads the number of threads."""

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
    """Prepares this process: its share of the cores, and an end that comes with its parent's.

    Args:
        parent: a pipe whose other end the parent alone holds, and closes to end its workers.
        threads: that a library may use, unless the user's environment says otherwise.
    """
    # A terminal sends Ctrl-C to all; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in _THREADS:
        os.environ.setdefault(name, str(threads))
    # The processes share a GPU, if there is one: none may take all of its memory at once.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Connection) -> None:
    """Ends this process when the pipe closes, also by a kill of the parent; the store bears it."""
    wait([parent])
    os._exit(1)
