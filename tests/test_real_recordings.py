"""Real recordings, where they are present: task files, decoding, and scores that make sense.

The ranges are those that log-mel statistics reached with an independent implementation of the same
protocol, widened by about five points: far outside them, something in the path is broken.
"""

import pytest

from hares_tf.evaluation import evaluate
from hares_tf.evaluation.tasks import Places, resolve

RANGES = {"esc10": (70, 85), "keyword": (33, 43), "instrument": (83, 94), "speaker": (93, 100)}


@pytest.fixture(scope="module")
def task_files(repository):
    return {path.stem: str(path) for path in (repository / "tests/real_tasks").glob("*.toml")}


def test_every_task_file_reads_its_set(task_files, shared_dir):
    tasks = resolve(list(task_files.values()), shared_dir / "data")
    sizes = {task.id: len(task.read(Places()).clips) for task in tasks}
    assert sizes == {
        "esc10": 400,
        "fsdd": 3000,
        "instrument": 632,
        "keyword": 1412,
        "langid3": 593,
        "pitch": 632,
        "speaker": 1172,
    }
    speaker = next(task for task in tasks if task.id == "speaker").read(Places())
    assert speaker.n_excluded == 240


@pytest.mark.parametrize("task", RANGES)
def test_log_mel_statistics_score_as_expected(
    task, task_files, shared_dir, statistics_module, tmp_path
):
    result = evaluate(
        statistics_module, [task_files[task]], data_dir=shared_dir / "data", output=tmp_path
    )[0][0]
    low, high = RANGES[task]
    assert low <= result["score"] <= high
    assert result["complete"] and result["clips"]["n_failed"] == 0
