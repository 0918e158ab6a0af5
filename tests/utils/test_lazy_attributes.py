"""Package attributes that load on first use."""

import os
import subprocess
import sys

import pytest

import hares_tf
import hares_tf.hub


def test_attributes_are_named_and_loaded():
    assert "locate" in hares_tf.hub.__all__ and "locate" in dir(hares_tf.hub)
    assert hares_tf.hub.locate is sys.modules["hares_tf.hub.loader"].locate


def test_an_unknown_attribute():
    with pytest.raises(AttributeError, match="no attribute 'lcoate'"):
        hares_tf.hub.lcoate  # noqa: B018


QUIET = "from hares_tf.models import create_model; create_model('log_mel_statistics')"


def stderr_of(code: str, **environment) -> str:
    clean = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stderr


def test_a_program_that_imports_us_first_is_quiet():
    assert stderr_of(QUIET) == ""


@pytest.mark.slow
def test_a_program_that_imports_tensorflow_itself_is_as_loud_as_it_is():
    assert "oneDNN" in stderr_of(f"import tensorflow; {QUIET}", TF_CPP_MIN_LOG_LEVEL="0")
