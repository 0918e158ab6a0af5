"""Rankings: which tasks and models count, means, ranks and clear wins."""

import pytest
from evaluation.report.stored_results import (
    CNN14,
    F0,
    Page,
    result,
    save,
    twelve,
)

from hares_tf.evaluation.report import compare, comparison, reading, write
from hares_tf.evaluation.report.differences import Difference
from hares_tf.evaluation.report.ranking import ranking


def table_of(*results):
    (table,) = comparison.tables([reading.from_data(data) for data in results])
    return table


def own(model, scores, **changes):
    return [
        result(model, f"task{number}", score, suite="user", **changes)
        for number, score in enumerate(scores)
        if score is not None
    ]


def test_means_and_mean_ranks_of_hand_counted_scores():
    table = table_of(
        *own("a", (90.0, 60.0, 70.0)), *own("b", (80.0, 60.04, 90.0)), *own("c", (10.0, 50.0, 20.0))
    )
    found = ranking(table, {})
    assert found.mean_name == "Mean of 3 tasks" and not found.unranked
    first, second, third = found.standings
    assert [table.names[s.column] for s in found.standings] == ["b", "a", "c"]
    assert (first.place, second.place, third.place) == (1, 2, 3)
    assert first.mean == pytest.approx((80 + 60.04 + 90) / 3)
    # 60.0 and 60.04 are printed alike: both have the rank 1.5.
    assert [s.mean_rank for s in (first, second, third)] == pytest.approx([4.5 / 3, 4.5 / 3, 3])
    assert (first.rank_place, second.rank_place, third.rank_place) == (1, 1, 3)
    # Each interval is (score - 2.5, score + 2).
    assert first.interval == pytest.approx(
        (first.mean - 2.5 * 3**0.5 / 3, first.mean + 2 * 3**0.5 / 3)
    )
    # Clear are differences beyond hypot(2.5, 2) = 3.2: all but those of task1 between a and b.
    assert (first.wins, first.ties, first.losses) == (4, 1, 1)
    assert first.ranks == pytest.approx(((2 + 1 + 1) / 3, (2 + 2 + 1) / 3))
    assert third.ranks == (3, 3) and third.losses == 6


def test_paired_differences_decide_what_is_clear():
    table = table_of(*own("a", (90.0,)), *own("b", (80.0,)))
    a, b = table.models
    pair = Difference(10, -1, 20)
    unclear = ranking(table, {"task0": {(a, b): pair, (b, a): pair.reversed()}})
    assert [s.ties for s in unclear.standings] == [1, 1]
    assert unclear.standings[0].ranks == (1, 2)
    assert [s.wins for s in ranking(table, {}).standings] == [1, 0]


def test_one_model_with_one_task_does_not_shrink_the_ranking():
    table = table_of(
        *own("a", (90.0, 60.0, 70.0)), *own("b", (80.0, 50.0, 60.0)), *own("c", (10.0,))
    )
    found = ranking(table, {})
    assert [row.id for row in found.tasks] == ["task0", "task1", "task2"]
    assert len(found.standings) == 2
    assert found.unranked == ((2, "not complete: task1, task2"),)
    # But one model alone is no ranking.
    found = ranking(table_of(*own("a", (90.0, 60.0, 70.0)), *own("b", (80.0,))), {})
    assert [row.id for row in found.tasks] == ["task0"] and len(found.standings) == 2


@pytest.mark.parametrize(
    "change", [{"complete": False}, {"clips__n_missing": 3}, {"clips__manifest_hash": "other"}]
)
def test_tasks_that_are_not_comparable_do_not_count(change):
    b = own("b", (80.0, 50.0))
    b[1] = own("b", (80.0, 50.0), **change)[1]
    found = ranking(table_of(*own("a", (90.0, 60.0)), *b), {})
    assert [row.id for row in found.tasks] == ["task0"] and found.mean_name == "task0"
    assert ranking(table_of(*own("b", (80.0,), complete=False)), {}) is None


def test_only_all_twelve_are_a_total():
    whole = ranking(table_of(*twelve("a", F0), *twelve("b", CNN14)), {})
    assert whole.is_total and whole.mean_name == "HARES total"
    assert whole.standings[0].mean == pytest.approx(74.6, abs=0.051)
    part = [data for data in twelve("b", CNN14) if data["task"]["id"] != "esc50"]
    both = ranking(table_of(*twelve("a", F0), *part), {})
    assert not both.is_total and both.mean_name == "Mean of 11 tasks"


def test_hares_and_own_tasks_are_ranked_apart(tmp_path):
    same = {"identity": "fast/1"}
    save(tmp_path, [*twelve("a", F0, **same), *twelve("b", CNN14, **same)])
    save(tmp_path, [*own("a", (10.0, 20.0), **same), *own("b", (30.0, 40.0), **same)])
    outputs = [tmp_path / "r.html", tmp_path / "r.md"]
    write([tmp_path], outputs)
    page = Page(outputs[0])
    places = [row for row in page.rows if row and row[0].strip().isdecimal()]
    assert [row[1].strip()[-1] for row in places] == ["a", "b", "b", "a"]
    assert [row[3].strip()[:4] for row in places] == ["74.6", "62.4", "35.0", "15.0"]
    text = outputs[1].read_text(encoding="utf-8")
    assert text.index("| 1 | a | 74.6 |") < text.index("| 1 | b | 35.0 |")


def test_the_terminal_ranks_several_models():
    text = compare([twelve("a", F0), twelve("b", CNN14)])
    lines = text[text.index("Ranking") :].splitlines()
    assert lines[1].split()[:2] == ["Place", "Model"] and "HARES total" in lines[1]
    assert lines[3].split()[:3] == ["1", "a", "74.6"] and lines[4].split()[:3] == ["2", "b", "62.4"]
    assert max(map(len, text.splitlines())) <= 120
    assert "Ranking" not in compare([twelve("a", F0)])
