"""Results of any origin: intervals without width, foreign types, data that hold themselves."""

import pytest
from evaluation.report.stored_results import read, result, save

from hares_tf.evaluation.report import reading, values, write
from hares_tf.evaluation.results.intervals import wilson


def test_an_interval_without_width_is_replaced_by_wilsons(tmp_path):
    task = {"interval": [100.0, 100.0], "clips__n_scored": 60}
    (perfect,) = read(save(tmp_path / "x", [result("a", "esc50", 100.0, **task)]))
    assert perfect.interval == wilson(100, 60) and perfect.interval_kind == "Wilson"
    assert perfect.score == 100.0
    (none,) = read(save(tmp_path / "y", [result("a", "esc50", 0.0, interval=[0, 0])]))
    assert none.interval == wilson(0, 400)
    # Of average precisions there is no closed form.
    tags = result("a", "magnatagatune", 100.0, **task)
    (tagged,) = read(save(tmp_path / "z", [tags]))
    assert tagged.interval is None and tagged.interval_kind == ""
    write([tmp_path / "x"], [tmp_path / "r.html", tmp_path / "r.csv"])
    assert "94.0–100.0" in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert ",93.98" in (tmp_path / "r.csv").read_text(encoding="utf-8")


def test_a_stored_interval_is_shown_as_it_is_and_its_kind_is_known():
    old = reading.from_data(result("a", "esc50", 90.0, interval=[87.0, 92.5]))
    assert (old.interval, old.interval_kind) == ((87.0, 92.5), "bootstrap")
    new = reading.from_data(result("a", "esc50", 90.0, interval=list(wilson(90, 400))))
    assert (new.interval, new.interval_kind) == (wilson(90, 400), "Wilson")
    for damaged in (None, [1], ["a", "b"], [92, 90], [-1, 50], [50, 1e400], {"low": 1}):
        assert reading.from_data(result("a", "esc50", 90.0, interval=damaged)).interval is None


def test_page_and_document_state_which_interval_is_used(tmp_path):
    def notes(name, *intervals):
        outputs = [tmp_path / f"{name}.html", tmp_path / f"{name}.md"]
        data = [
            result(f"m{i}", "esc50", 90.0, interval=list(ends)) for i, ends in enumerate(intervals)
        ]
        write([save(tmp_path / name, data)], outputs)
        texts = [path.read_text(encoding="utf-8").replace("&#39;", "'") for path in outputs]
        sentences = ("accuracy are Wilson's.", "are from a bootstrap", "that were stored as such")
        shown = [[sentence in text for sentence in sentences] for text in texts]
        assert shown[0] == shown[1]
        return shown[0]

    assert notes("new", wilson(90, 400)) == [True, False, False]
    assert notes("old", (87, 92)) == [False, True, False]
    assert notes("both", wilson(90, 400), (87, 92)) == [True, True, True]


def test_damaged_data_become_harmless():
    circle: list = [1]
    circle.append(circle)
    looped: dict = {"a": circle}
    looped["b"] = [looped, looped]
    assert values.clean(looped) == {"a": [1, None], "b": [None, None]}
    assert values.clean({3: {1, 2}, None: 10**5000, object: b"x"}) == {
        "3": "<set>",
        "": None,
        "<type>": "<bytes>",
    }
    assert values.clean("a\x1b[0m\u202eb\ud800") == "a�[0m�b�"
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    assert str(values.clean(deep)).count("[") < 30


@pytest.mark.parametrize("section", ["environment", "model", "protocol", "clips", "task"])
def test_results_that_hold_themselves_are_read(section):
    data = result("a", "esc50", 90.0)
    data[section]["loop"] = data
    data[section]["foreign"] = {1, 2}
    assert reading.from_data(data).score == 90.0
