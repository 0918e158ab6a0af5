"""Damaged and hostile results: a sentence for each, and the others are shown."""

import copy
import json
import random

import numpy as np
import pytest
from evaluation.report.stored_results import (
    HOSTILE,
    Page,
    labeled,
    place,
    result,
    save,
    save_with_answers,
)

from hares_tf.commands import report as report_command
from hares_tf.evaluation import EvaluationError
from hares_tf.evaluation.report import compare, write

# What stands where something else should.
VALUES = (
    None, True, 0, -1, 1e400, float("nan"), 10**30, 10**4000, "", HOSTILE, "\ud800\u202e\x1b[31m",
    "a" * 5000, [], {}, [[]], [None], {"<i>": "</td>"}, {"a": {"b": [1, {}]}}, [HOSTILE], [80, 80],
    "2025-13-45T99", 1.5, "..\\x.npz",
)  # fmt: skip
PIECES = (b"1e999", b"9" * 5000, b"[" * 3000, b"null", b"NaN", b"-", b'"', b"\\u0000", b"<b>", b"{")
METRICS = {"classes": "accuracy", "tags": "mean_average_precision", "slots": "exact_match"}
TASKS = {"esc50": "classes", "magnatagatune": "tags", "fluent_speech_commands": "slots"}


def results(model):
    """A result of each kind of labels, and its predictions."""
    for task, kind in TASKS.items():
        data = result(model, task, 50.0)
        data["task"]["metric"] = METRICS[kind]
        names = {"x": list("abc"), "y": list("de")} if kind == "slots" else list("abc")
        yield data, labeled(data, names, clips=60, kind=kind)


def places_in(data, path=()):
    """The paths of all values in JSON data."""
    entries = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in entries if isinstance(data, (dict, list)) else ():
        yield (*path, key)
        if isinstance(value, (dict, list)):
            yield from places_in(value, (*path, key))


def mutated(data, generator):
    """JSON data with a few values deleted, renamed or replaced."""
    data = copy.deepcopy(data)
    for _ in range(generator.choice([1, 1, 2, 5])):
        *path, last = generator.choice(list(places_in(data)))
        parent = data
        for key in path:
            parent = parent[key]
        action = generator.random()
        if action < 0.15:
            del parent[last]
        elif action < 0.25 and isinstance(parent, dict):
            parent[generator.choice(["<b>", "é" * 300, "a\x00b"])] = parent.pop(last)
        else:
            parent[last] = copy.deepcopy(generator.choice(VALUES))
    return data


def check_pages(folder, output):
    """Writes all formats; whatever else is wrong, the results of the model `good` are shown."""
    outputs = [output / f"r.{ending}" for ending in ("html", "md", "csv")]
    write([folder], outputs, resamples=10)
    page = Page(outputs[0])
    assert not {"script", "b", "i", "img", "a href"} & set(page.tags)
    assert any(row[0].endswith("good") for row in page.rows if row)
    assert "good" in outputs[1].read_text(encoding="utf-8")
    assert "good,esc50" in outputs[2].read_text(encoding="utf-8")


def save_all(folder, model):
    for data, answers in results(model):
        save(folder, [data])
        np.savez(place(folder, data).with_name(data["predictions"]), **answers)


@pytest.mark.parametrize("block", range(6))
def test_mutated_results(tmp_path, block):
    for seed in range(20 * block, 20 * block + 20):
        generator = random.Random(seed)
        folder = tmp_path / str(seed)
        save_all(folder, "good")
        for number, (data, answers) in enumerate(results("bad")):
            bad = mutated(data, generator)
            (folder / f"{number}").mkdir()
            (folder / f"{number}" / "x.json").write_text(json.dumps(bad), encoding="utf-8")
            np.savez(folder / f"{number}" / data["predictions"], **answers)
            try:
                assert isinstance(compare([bad]), str)
            except EvaluationError as error:
                assert "is not a result of hares-evaluate" in str(error)
        check_pages(folder, folder)


@pytest.mark.parametrize("seed", range(30))
def test_mutated_bytes(tmp_path, seed, capsys):
    generator = random.Random(seed)
    save_all(tmp_path / "r", "good")
    save_all(tmp_path / "r", "bad")
    files = sorted((tmp_path / "r" / "paper" / "bad").iterdir())
    for path in generator.sample(files, 3):
        content = bytearray(path.read_bytes())
        for _ in range(generator.choice([1, 3, 30])):
            at = generator.randrange(len(content))
            if generator.random() < 0.4:
                del content[at : at + generator.randrange(1, 50)]
            else:
                content[at:at] = generator.choice(PIECES)
        path.write_bytes(content)
    check_pages(tmp_path / "r", tmp_path)
    # One file alone is a page, or a sentence and the exit code of mistakes.
    for path in files:
        code = report_command.main([str(path), f"--output={tmp_path / 'one.html'}"])
        said = capsys.readouterr().err
        assert code in (0, 2) and "Traceback" not in said and "Warning" not in said
        assert code == 0 or path.name in said


@pytest.mark.parametrize("metric", ["accuracy", "mean_average_precision", "made_up", ["x"]])
def test_a_metric_that_does_not_fit_is_a_sentence(tmp_path, metric):
    for model in "ab":
        data = result(model, "fluent_speech_commands", 50.0, task__metric=metric)
        save_with_answers(tmp_path, [(data, labeled(data, {"x": "ab", "y": "cd"}, kind="slots"))])
    problems = write([tmp_path], [tmp_path / "r.html"], resamples=10)
    page = Page(tmp_path / "r.html")
    assert "50.0" in page.cells("Fluent Speech")[0][1]
    assert len(problems) == 1 and "are not compared" in problems[0]


@pytest.mark.parametrize("value", [[], {}, {"a": [1]}, 10**30, None])
@pytest.mark.parametrize("section", ["cpu", "finished_at", "hares_tf", "packages"])
def test_an_environment_of_any_type(tmp_path, section, value):
    data = result("a", "esc50", 90.0, **{f"environment__{section}": value})
    write([save(tmp_path, [data])], [tmp_path / "r.html", tmp_path / "r.md", tmp_path / "r.csv"])
    assert "90.0" in Page(tmp_path / "r.html").cells("ESC-50")[0][1]
