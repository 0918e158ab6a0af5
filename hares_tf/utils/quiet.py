"""Hides what libraries written in C++ print to stderr, unless something fails."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

# Waits for a line on its standard input. If the input ends without one, the process at its other
# end has crashed: then it prints the hidden text, which is open as its standard output.
_WATCHER = ("/bin/sh", "-c", "read -r line || cat <&1 >&2")


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
    """Hides what TensorFlow prints when it is imported, and later what is no error of a program.

    TensorFlow 2.21 logs about oneDNN and missing GPUs before it reads TF_CPP_MIN_LOG_LEVEL, so the
    file descriptor has to be redirected. The variable is left as it is where it is set.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with hidden_stderr():
        yield


@contextlib.contextmanager
def hidden_stderr() -> Iterator[None]:
    """Hides what is printed to file descriptor 2, by processes started within, too.

    If the block raises an exception (`SystemExit` included, `KeyboardInterrupt` not), or this
    process ends within it, by a fatal signal for example, the hidden text is printed then. Does
    nothing if stderr is closed.
    """
    _flush()
    try:
        number = os.dup(2)
    except OSError:  # closed
        yield
        return
    with (
        open(number, "wb", buffering=0) as stderr,
        _temporary_file() as (writer, reader),
        _watched(reader, stderr),
    ):
        os.dup2(writer.fileno(), 2)
        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException:
            _flush()
            shutil.copyfileobj(reader, stderr)
            raise
        finally:
            _flush()
            os.dup2(stderr.fileno(), 2)


@contextlib.contextmanager
def _temporary_file() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """A file without a name, which no crash can leave behind: opened to write and to read."""
    descriptor, path = tempfile.mkstemp(prefix="hares-stderr-")
    with open(descriptor, "wb", buffering=0) as writer, open(path, "rb") as reader:
        os.unlink(path)
        yield writer, reader


@contextlib.contextmanager
def _watched(reader: BinaryIO, stderr: BinaryIO) -> Iterator[None]:
    """Has `reader` printed to `stderr` if this process ends within the block."""
    try:
        watcher = subprocess.Popen(
            _WATCHER, stdin=subprocess.PIPE, stdout=reader, stderr=stderr, start_new_session=True
        )
    except OSError:  # without a shell a crash stays silent
        yield
        return
    try:
        yield
    finally:
        watcher.communicate(b"alive\n")


def _flush() -> None:
    # sys.stderr may be None or closed.
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stderr.flush()
