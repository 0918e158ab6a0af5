"""Differences of models on the same clips: every pair, from one bootstrap."""

import itertools

import numpy as np
import pytest
from evaluation.report.stored_results import (
    Page,
    labeled,
    read,
    result,
    save_with_answers,
)

from hares_tf.evaluation.report import comparison, details, write
from hares_tf.evaluation.report.content import Content
from hares_tf.evaluation.report.differences import Difference, signed
from hares_tf.evaluation.results.uncertainty import paired
from hares_tf.evaluation.tasks.labels import Labels


def content_of(folder, resamples=200, seed=3):
    results = read(folder)
    content = Content(comparison.tables(results), tuple(results), ())
    details.add(content, resamples, seed, lambda words: None)
    return content


def models(skills, task="esc50", **changes):
    """Results and answers of models a, b, ..., and their accuracy as scores."""
    made = []
    for number, (name, skill) in enumerate(zip("abcdefgh", skills, strict=False)):
        data = result(name, task, 50.0, **changes)
        answers = labeled(data, list("xyz"), seed=number, skill=skill)
        right = answers["scores"].argmax(1) == answers["targets"][:, 0]
        data["score"] = 100 * float(right.mean())
        data["interval"] = [max(data["score"] - 3, 0), min(data["score"] + 3, 100)]
        made.append((data, answers))
    return made


def test_every_pair_has_the_difference_of_two_models_alone(tmp_path):
    stored = models((1.0, 1.2, 3.0, 1.1, 2.0, 1.0))
    # One model has its clips in another order.
    shuffled = np.random.default_rng(0).permutation(400)
    data, answers = stored[1]
    stored[1] = (data, {name: values[shuffled] for name, values in answers.items()})
    content = content_of(save_with_answers(tmp_path, stored))
    ((row, pairs),) = content.differences_of(content.tables[0])
    keys = content.tables[0].models
    assert row.id == "esc50" and len(pairs) == 6 * 5
    labels = Labels.classes(("0", "1", "2"))
    for a, b in itertools.permutations(range(6), 2):
        sorted_scores = []
        for _, answers in (stored[a], stored[b]):
            order = np.argsort(answers["ids"])
            sorted_scores.append(answers["scores"][order])
        targets = answers["targets"][order]
        alone = paired(*sorted_scores, targets, labels, "accuracy", resamples=200, seed=3)
        pair = pairs[keys[a], keys[b]]
        assert (pair.value, pair.low, pair.high) == pytest.approx(
            (alone["difference"], alone["low"], alone["high"])
        )


def test_only_models_on_the_same_clips_are_compared(tmp_path):
    first = models((1.0, 2.0))
    other = models((1.0, 2.0, 3.0, 1.5), clips__manifest_hash="other")[2:]
    content = content_of(save_with_answers(tmp_path, [*first, *other]))
    ((_, pairs),) = content.differences_of(content.tables[0])
    a, b, c, d = content.tables[0].models
    assert set(pairs) == {(a, b), (b, a), (c, d), (d, c)}


@pytest.mark.parametrize(
    "change",
    [{"clips__manifest_hash": "other"}, {"clips__manifest_hash": None}, {"identity": "fast/1"}],
)
def test_no_difference_of_other_clips_or_protocols(tmp_path, change):
    stored = [*models((1.0,)), *models((1.0, 2.0), **change)[1:]]
    content = content_of(save_with_answers(tmp_path, stored))
    assert all(not content.differences_of(table) for table in content.tables)
    write([tmp_path], [tmp_path / "r.html"], resamples=50)
    assert "Differences" not in "".join(Page(tmp_path / "r.html").words)


def test_a_difference_is_clear_where_its_interval_leaves_out_zero():
    assert [Difference(2, low, 3).sign for low in (0.1, 0, -1)] == [1, 0, 0]
    assert Difference(-2, -3, -0.1).sign == -1
    assert Difference(2, 0.5, 3).reversed() == Difference(-2, -3, -0.5)
    assert [signed(points) for points in (1.25, -0.04, 0, -3)] == ["+1.2", "0.0", "0.0", "-3.0"]


def test_the_page_has_a_matrix_per_task_and_one_over_all(tmp_path):
    stored = [*models((0.5, 3.0, 3.0)), *models((0.5, 3.0, 3.0), task="tut18")]
    write([save_with_answers(tmp_path, stored)], [tmp_path / "r.html", tmp_path / "r.md"])
    page = Page(tmp_path / "r.html")
    captions = [tag for tag in page.tags if tag == "caption"]
    wins = [row for row in page.cells("1a") if "0–0–2" in row]
    # The first model loses both tasks against both others; against itself there is nothing.
    assert len(captions) >= 3 and [row[1:] for row in wins] == [["", "0–0–2", "0–0–2"]]
    rows = [row for row in page.cells("2b") if " to " in row[1]]
    assert len(rows) == 2 and all(row[1].startswith("+") and row[2] == "" for row in rows)
    document = (tmp_path / "r.md").read_text(encoding="utf-8")
    assert "Differences of models on the same clips" in document
    assert document.count("| Minus | a | b | c |") == 2
    assert "| Against | a | b | c |" in document and "| a |  | 0-0-2 | 0-0-2 |" in document
