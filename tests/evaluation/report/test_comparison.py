"""Tables of results: averages, best scores, and text for a terminal."""

import re

import pytest
from evaluation.report.stored_results import (
    CNN14,
    F0,
    PAPER,
    Page,
    mini,
    read,
    result,
    save,
    twelve,
)

from hares_tf.evaluation import EvaluationError, published
from hares_tf.evaluation.report import (
    compare,
    comparison,
    reading,
    table,
    write,
)


def averages(results, name):
    (one,) = [t for t in comparison.tables(results) if t.suite == "hares"]
    return one.average(name).cells


def test_the_total_of_twelve_complete_results_is_the_papers(tmp_path):
    found = read(save(tmp_path, twelve("a", F0) + twelve("b", CNN14)))
    for name, (ours, theirs) in {
        "hares": (74.6, 62.4),
        "environment": (75.8, 74.8),
        "speech": (77.2, 56.0),
        "music": (68.6, 56.4),
    }.items():
        cells = averages(found, name)
        assert [c.value for c in cells] == pytest.approx([ours, theirs], abs=0.051)
        assert [c.best for c in cells] == [True, False]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (None, "VoxCeleb is not run"),
        ({"complete": False, "incomplete_because": ["a --subset of the data"]}, "is incomplete"),
        ({"complete": True, "incomplete_because": ["3 clips failed"]}, "is incomplete"),
        ({"clips__n_missing": 7}, "is incomplete"),
        ({"identity": "fast/1"}, "not run"),
        ({"suite": "variant"}, "not run"),
        ({"model__fingerprint": "f" * 64}, "not run"),
        ({"embeddings__interface": {"sample_rate": 8000}}, "not run"),
    ],
)
def test_no_total_without_twelve_complete_results_of_one_protocol_and_model(change, reason):
    data = [r for r in twelve("a", F0) if r["task"]["id"] != "voxceleb1"]
    if change is not None:
        data.append(result("a", "voxceleb1", 64.9, **change))
    made = comparison.tables([reading.from_data(one) for one in data])
    (one,) = [t for t in made if t.suite == "hares" and t.identity == PAPER]
    for name in ("hares", "speech"):
        cell = one.average(name).cells[0]
        assert cell.value is None and reason in " ".join(cell.reasons)
    assert one.average("music").cells[0].value == pytest.approx(68.6, abs=0.051)


def test_best_is_marked_only_among_comparable_results():
    def marks(*results):
        (one,) = comparison.tables([reading.from_data(data) for data in results])
        (row,) = one.task_rows
        return [cell.best for cell in row.cells], row.reasons

    low, high = result("a", "esc50", 70.0), result("b", "esc50", 90.0)
    assert marks(low, high) == ([False, True], ())
    # Equal as printed.
    assert marks(result("a", "esc50", 89.96), high)[0] == [True, True]
    best, reasons = marks(low, result("b", "esc50", 90.0, clips__manifest_hash="other"))
    assert best == [False, False] and "different clips" in reasons[0]
    assert marks(low, result("b", "esc50", 90.0, task__version=2))[0] == [False, False]
    # Alone among the complete ones, a model is not the best of anything.
    assert marks(low, result("b", "esc50", 90.0, complete=False))[0] == [False, False]
    three = marks(low, high, result("c", "esc50", 99.0, complete=False))
    assert three == ([False, True, False], ())


def test_each_protocol_has_its_own_table(tmp_path):
    save(tmp_path, twelve("a", F0) + twelve("a", CNN14, identity="fast/1") + mini("a"))
    write([tmp_path], [tmp_path / "r.html"])
    page = Page(tmp_path / "r.html")
    totals = page.cells("HARES total")
    assert len(totals) == 2 and {row[1][:4] for row in totals} == {"74.6", "62.4"}
    # The scores, and in the provenance the result and its protocol.
    assert [len(row) > 2 for row in page.cells("mini_pitch")] == [False, True]
    # Alone within its identity, no score of the page is a best.
    assert "★" not in "".join(cell for row in page.rows for cell in row)
    assert "mini never" not in "".join(page.words)
    assert "enter a HARES total" in "".join(page.words)


def test_mini_tasks_follow_the_order_of_table_1():
    named = [f"mini_{task}" for task in published.TASKS]
    data = [
        result("a", task, 50.0, suite="mini", task__domain=published.TASKS[task[5:]].domain)
        for task in sorted(named)
    ]
    (one,) = comparison.tables([reading.from_data(entry) for entry in data])
    assert [row.id for row in one.rows] == named


def test_forty_models_fit_page_and_terminal(tmp_path):
    models = [
        one
        for i in range(40)
        for one in twelve(
            f"model {i}", {k: v / 2 + i for k, v in F0.items()}, model__parameters=10**i
        )
    ]
    write([save(tmp_path, models)], [tmp_path / "r.html"])
    page = Page(tmp_path / "r.html")
    (total,) = page.cells("HARES total")
    assert len(total) == 1 + 40 + 10 and sum("★" in cell for cell in total) == 1
    assert "★" in total[40]  # in natural order the last
    places = [row[1].split("model")[1] for row in page.rows if row and row[0].isdecimal()]
    assert places == [f" {number}" for number in range(39, -1, -1)]
    text = compare(models)
    assert max(map(len, text.splitlines())) <= 120 and "models 36-40 of 40" in text
    assert text.count("*") == 12 + 4 + 1  # each row's best, and the legend


def test_comparison_in_the_terminal():
    part = [r for r in twelve("b", CNN14) if r["task"]["id"] not in ("voxceleb1", "esc50")]
    part.append(result("b", "esc50", 99.0, complete=False, incomplete_because=["a --subset"]))
    text = compare([twelve("slowfast_nfnet_f0", F0), part, mini("m")], table=4)
    lines = {line.split("  ")[0]: line for line in text.splitlines()}
    assert max(map(len, text.splitlines())) <= 120
    assert re.search(r"74\.6 +-\[\d\] +74\.6 +71\.7", lines["HARES total"])
    assert re.search(r"91\.1 +99\.0\[\d\] +91\.1", lines["ESC-50"])
    assert "incomplete: a --subset" in text and "VoxCeleb is not run" in text
    assert re.search(r"mini_pitch +60\.0$", text, re.MULTILINE)
    assert "Mini: synthetic recordings, protocol fast/1" in text
    with pytest.raises(EvaluationError, match="table 5"):
        compare([mini("m")], table=5)


@pytest.mark.parametrize("number", published.TABLES)
def test_every_table_of_the_paper_fits_a_terminal(number):
    text = compare([twelve("slowfast_nfnet_f0_with_a_long_name", F0)], table=number)
    assert max(map(len, text.splitlines())) <= 120
    assert f"paper, Table {number}" in text


def test_printed_table_marks_the_best_score():
    text = table([[result("a", "esc50", 70.0)], [result("b", "esc50", 80.0)]])
    assert "80.0*" in text and "70.0*" not in text


@pytest.mark.parametrize(
    ("used", "complete", "shown"),
    [
        ((2000, 2000), True, "2000"),
        # Under some protocols no validation clips are used, and that is complete.
        ((1600, 1600), True, "1600"),
        ((82, 82), False, "82 of 2000"),
        ((80, 82), False, "80-82 of 2000"),
    ],
)
def test_printed_table_counts_the_clips_that_were_used(used, complete, shown):
    models = [
        [result(name, "esc50", 70.0, complete=complete, clips__n_used=number)]
        for name, number in zip("ab", used, strict=True)
    ]
    (line,) = [line for line in table(models).splitlines() if line.startswith("esc50")]
    assert re.search(rf"accuracy +{shown} +70\.0", line)
