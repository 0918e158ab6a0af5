"""Progress: JSON lines that always end, bars that are closed, nothing at all."""

import json

import pytest

from hares_tf.utils.progress import MODES, Progress


def _events(capsys):
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_json_lines(capsys):
    progress = Progress("json")
    with progress.phase("esc50", "embedding", 4, "clip") as bar:
        bar.update()
        bar.update(3)
    progress.say("  a note\n")
    start, end, message = _events(capsys)
    assert start["event"] == "start" and start["done"] == 0 and start["remaining_seconds"] is None
    assert end["event"] == "end" and end["done"] == end["total"] == 4 and "failed" not in end
    assert (end["task"], end["phase"], end["unit"]) == ("esc50", "embedding", "clip")
    assert message == {"event": "message", "text": "a note"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_phase_that_fails_ends_too(error, capsys):
    with pytest.raises(error), Progress("json").phase("esc50", "head", 9, "step") as bar:
        bar.update(2)
        raise error
    start, end = _events(capsys)
    assert start["event"] == "start"
    assert end["event"] == "end" and end["failed"] is True and end["done"] == 2


@pytest.mark.parametrize("mode", ["bar", "none"])
def test_a_bar_is_closed_when_its_phase_fails(mode, capsys):
    with pytest.raises(ValueError), Progress(mode).phase("esc50", "head", 9, "step") as bar:
        raise ValueError
    assert bar.disable and capsys.readouterr().out == ""


def test_messages(capsys):
    for mode in MODES:
        Progress(mode).say("a note")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == 'a note\n{"event": "message", "text": "a note"}\n'
