"""Results: their JSON is what they are made of, and damage is a sentence."""

import json
import re

import pytest

from hares_tf.evaluation import EvaluationError, TaskResult
from hares_tf.evaluation.results.environment import environment
from hares_tf.evaluation.results.results import read_result, write_result

DATA = {
    "schema": 2,
    "key": "0" * 64,
    "score": 50.0,
    "interval": [40.0, 60.0],
    "complete": False,
    "incomplete_because": ["1 clip(s) could not be read"],
    "task": {"id": "barks", "source": "hündin.toml"},
    "protocol": {"identity": "fast/1"},
    "clips": {"failures": {"a.wav": "The file is damaged."}},
    "model": {"name": "m"},
    "embeddings": {"interface": {"normalise": "none"}},
    "seconds": {"head": 0.5},
    "predictions": "barks.predictions.npz",
    "environment": {},
}


def test_the_file_is_read_and_written_byte_for_byte(tmp_path):
    result = TaskResult.from_json(DATA)
    assert (result.task_id, result.score, result.interval) == ("barks", 50.0, (40.0, 60.0))
    write_result(tmp_path / "barks.json", result)
    text = (tmp_path / "barks.json").read_text(encoding="utf-8")
    assert text == json.dumps(DATA, indent=2) + "\n"
    assert TaskResult.from_json(read_result(tmp_path / "barks.json")) == result


@pytest.mark.parametrize(
    "damage", [{"score": "high"}, {"interval": [1]}, {"clips": {}}, {"incomplete_because": None}]
)
def test_a_damaged_result_is_a_sentence(damage):
    with pytest.raises(EvaluationError, match=r"^barks\.json is damaged .*run again\.$"):
        TaskResult.from_json({**DATA, **damage}, "barks.json")


def test_a_checkout_names_its_commit(repository):
    if not (repository / ".git").exists():
        pytest.skip("not a checkout")
    assert re.match(r"[0-9a-f]{40}|.*-g[0-9a-f]{40}", environment()["git_commit"])
