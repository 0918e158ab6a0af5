"""Hidden messages of C++ libraries: gone if all is well, shown if something fails."""

import os
import subprocess
import sys

import pytest

HIDE = "import os, sys\nfrom hares_tf.utils.quiet import hidden_stderr\n"
NOISE = "os.system('echo from a child >&2'); os.write(2, b'from C++\\n')"


def _run(code, **options):
    return subprocess.run(
        [sys.executable, "-c", HIDE + code], capture_output=True, text=True, timeout=60, **options
    )


def test_messages_are_hidden_inside_the_block_only():
    done = _run(
        f"os.write(2, b'before\\n')\nwith hidden_stderr():\n    {NOISE}\n"
        "print('after', file=sys.stderr)"
    )
    assert done.returncode == 0 and done.stderr == "before\nafter\n"


@pytest.mark.parametrize(
    ("ending", "last_line"),
    [
        ("raise ImportError('no such library')", "ImportError: no such library"),
        ("sys.exit(3)", "from C++"),
        ("os.abort()", "from C++"),
        ("os.kill(os.getpid(), 11)", "from C++"),
        ("os.kill(os.getpid(), 9)", "from C++"),
        ("os._exit(1)", "from C++"),
    ],
)
def test_messages_are_shown_when_something_fails(ending, last_line):
    done = _run(f"with hidden_stderr():\n    {NOISE}\n    {ending}\n")
    assert done.returncode != 0
    # Text of Python may follow, such as a traceback.
    assert done.stderr.startswith("from a child\nfrom C++\n")
    assert done.stderr.splitlines()[-1] == last_line


def test_messages_are_shown_once_when_the_exception_is_caught():
    done = _run(
        f"try:\n    with hidden_stderr():\n        {NOISE}\n        raise ValueError\n"
        "except ValueError:\n    os.write(2, b'caught\\n')\n"
    )
    assert done.returncode == 0 and done.stderr == "from a child\nfrom C++\ncaught\n"


@pytest.mark.parametrize(
    "change",
    [
        "os.close(2)",
        "sys.stderr.close()",
        "sys.stderr = None",
        "import io; sys.stderr = io.StringIO()",
    ],
)
def test_stderr_may_be_closed_or_replaced(change):
    done = _run(f"{change}\nwith hidden_stderr():\n    os.system('echo hidden >&2')\nprint('done')")
    assert done.returncode == 0 and done.stdout == "done\n"
    assert "hidden" not in done.stderr


def test_without_stderr_of_the_process_nothing_is_redirected():
    """As a daemon runs: file descriptor 2 is closed before Python starts."""
    code = "with hidden_stderr():\n    pass\nprint('done')"
    done = _run(code, preexec_fn=lambda: os.close(2))
    assert done.returncode == 0 and done.stdout == "done\n"


def test_no_file_and_no_process_is_left(tmp_path):
    code = (
        f"before = os.listdir('/proc/self/fd')\nwith hidden_stderr():\n    {NOISE}\n"
        "assert os.listdir('/proc/self/fd') == before\n"
        "try:\n    os.waitpid(-1, os.WNOHANG)\n    raise SystemExit(1)\n"
        "except ChildProcessError:\n    pass\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = _run(code, env=environment)
    assert done.returncode == 0, done.stderr
    assert _run("with hidden_stderr():\n    os.abort()", env=environment).returncode != 0
    assert list(tmp_path.iterdir()) == []
