"""TensorFlow without its start-up chatter."""

import contextlib
import os
import sys


@contextlib.contextmanager
def quiet_import():
    """Hides what TensorFlow's C++ parts print to stderr while they are first imported.

    TF 2.21 logs about oneDNN and missing GPUs before it reads TF_CPP_MIN_LOG_LEVEL, so only the
    file descriptor is left to turn off. Python exceptions still surface. Does nothing once
    TensorFlow is imported.
    """
    if "tensorflow" in sys.modules:
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with hidden_stderr():
        yield


@contextlib.contextmanager
def hidden_stderr():
    """Hides what C++ prints to stderr, processes started within included."""
    sys.stderr.flush()
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
