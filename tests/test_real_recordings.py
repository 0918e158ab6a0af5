"""Real recordings, where they are present: task files, decoding, and scores that make sense.

The ranges are those that log-mel statistics reached with an independent implementation of the same
protocol, widened by about five points: far outside them, something in the path is broken.
"""

import importlib.util

import keras
import pytest

from hares_tf.evaluation import Runtime, evaluate
from hares_tf.evaluation.suites import resolve
from hares_tf.evaluation.tasks import Places
from hares_tf.hub.export import module as hub_module
from hares_tf.hub.export.card import make_card
from hares_tf.models import create_model

RANGES = {
    "esc10": (70, 85),
    "keyword": (33, 43),
    "instrument": (83, 94),
    "speaker": (93, 100),
    "langid3": (72, 85),
}


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
    )[0]
    low, high = RANGES[task]
    assert low <= result.score <= high
    assert result.complete and result.clips["n_failed"] == 0


def test_tiles_that_tell_the_language_are_said(
    repository, shared_dir, statistics_module, tmp_path, capsys
):
    """Only one of the languages has clips of more than one second."""
    text = (repository / "tests/real_tasks/langid3.toml").read_text()
    tiles = text.replace("window_seconds = 0.85\nwindows = 1", "window_seconds = 1.0")
    assert tiles != text
    (tmp_path / "tiles.toml").write_text(tiles)
    result = evaluate(
        statistics_module,
        [tmp_path / "tiles.toml"],
        data_dir=shared_dir / "data",
        output=tmp_path,
        progress="bar",
    )[0]
    (warning,) = result.protocol["warnings"]
    assert warning.startswith("The number of windows alone tells the label of 6")
    assert result.score > 90 and warning in capsys.readouterr().err


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    """One network with all branches heard, by flavor and precision."""
    keras.utils.set_random_seed(0)
    model = create_model("slowfast_nfnet_tiny")
    gains = [v for v in model.trainable_variables if v.name == "skip_gain"]
    assert gains
    for gain in gains:
        gain.assign(0.5)
    root = tmp_path_factory.mktemp("forms")
    for form in (("reusable", "float32"), ("serving", "float32"), ("serving", "bfloat16")):
        card = make_card(model, "tiny", 1, {}, flavor=form[0], precision=form[1])
        hub_module.save(model, card, root / "-".join(form), None, *form)
    return root


# One clip of these tasks is a third of a point.
@pytest.mark.slow
@pytest.mark.parametrize("task", ["keyword", "speaker"])
def test_scores_hardly_depend_on_flavor_precision_and_runtime(
    task, task_files, shared_dir, forms, tmp_path
):
    def score(form, runtime=None):
        (result,) = evaluate(
            forms / form,
            [task_files[task]],
            protocol="smoke",
            data_dir=shared_dir / "data",
            output=tmp_path,
            runtime=runtime or Runtime(),
        )
        assert result.embeddings["runtime"] == (runtime or Runtime()).name
        return result.score

    wanted = score("reusable-float32")
    assert wanted > 10  # there is something to lose
    assert abs(score("serving-float32") - wanted) < 0.01
    assert abs(score("serving-bfloat16") - wanted) < 0.7
    if importlib.util.find_spec("openvino"):
        assert abs(score("reusable-float32", Runtime("openvino")) - wanted) < 0.5
