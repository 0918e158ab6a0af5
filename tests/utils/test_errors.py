"""The cause of an error in one line."""

import errno

import pytest

from hares_tf.utils.errors import reason


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("\n  bad value.\nmore"), "bad value"),
        (ValueError(), "ValueError"),
        (OSError(errno.ENOSPC, "No space left on device", "/a/path"), "No space left on device"),
        (RuntimeError("x" * 500), "x" * 200),
    ],
)
def test_reason(error, text):
    assert reason(error) == text
