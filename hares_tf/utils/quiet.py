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
def hidden_stderr() -> Iterator[None]:
    """Hides what is printed to file descriptor 2, by processes started within, too.

    If the block raises an exception (`SystemExit` included), or this process ends within it, by a
    fatal signal for example, the hidden text is printed then. Does nothing if stderr is closed.
    """
    _flush()
    try:
        number = os.dup(2)
    except OSError:  # closed
        yield
        return
    with (
        open(number, "wb", buffering=0) as stderr,
        tempfile.NamedTemporaryFile(prefix="hares-stderr-", buffering=0) as hidden,
        open(hidden.name, "rb") as reader,
        _watched(reader, stderr),
    ):
        # After a crash nobody could remove the file.
        os.unlink(hidden.name)
        hidden.delete = False
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except BaseException:
            _flush()
            shutil.copyfileobj(reader, stderr)
            raise
        finally:
            _flush()
            os.dup2(stderr.fileno(), 2)


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
