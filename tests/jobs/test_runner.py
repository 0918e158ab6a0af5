"""Runners: which options fit together."""

import pytest

from hares_tf.jobs import Runner
from hares_tf.jobs.errors import JobError


def test_local_processes_are_the_default():
    runner = Runner()
    runner.check()
    assert runner.is_local and runner == Runner("local", None, ())
    Runner(workers=3).check()


@pytest.mark.parametrize(
    ("runner", "message"),
    [
        (Runner(workers=0), "--workers must be at least 1, not 0"),
        (Runner(beam_options=("--x=1",)), "add --runner=DirectRunner"),
        (Runner("DirectRunner", workers=2), "--workers is for --runner=local"),
    ],
)
def test_options_that_do_not_fit_together(runner, message):
    with pytest.raises(JobError, match=message):
        runner.check()


def test_beam_is_needed_for_its_runners(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(JobError, match=r"--runner=FlinkRunner needs .*hares-tf\[beam\]"):
        Runner("FlinkRunner").check()
