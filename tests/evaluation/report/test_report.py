"""Reports as files: pages, Markdown and comma-separated values, from any input."""

import csv
import json
import re
import sys

import numpy as np
import pytest
from evaluation.report.stored_results import (
    F0,
    HOSTILE,
    PAPER,
    Page,
    labeled,
    mini,
    place,
    read,
    result,
    save,
    twelve,
)

from hares_tf.commands import report as report_command
from hares_tf.evaluation import EvaluationError, published
from hares_tf.evaluation.report import (
    compare,
    reading,
    write,
)


def test_page_shows_the_chosen_tables_of_the_paper(tmp_path):
    save(tmp_path, twelve("a", F0))
    write([tmp_path], [tmp_path / "r.html"], tables=(6, 9))
    row = Page(tmp_path / "r.html").cells("ESC-50")[0]
    printed = [row.scores["esc50"] for row in (*published.rows(6), *published.rows(9))]
    assert row[2:] == [f"{value:.1f}" for value in printed]
    with pytest.raises(EvaluationError, match="table 5"):
        write([tmp_path], [tmp_path / "r.html"], tables=(5,))


def test_hostile_names_are_escaped(tmp_path):
    odd = [
        result(HOSTILE, "esc50", 50.0),
        result('" onload="alert(1)', "esc50", 51.0),
        result("模型 | *é* `\x1b[31m` \u202e\ud800", "esc50", 52.0),
        result("=cmd|' /C calc'!A0", "esc50", 53.0, model__handle="@SUM(1)"),
    ]
    odd[0]["clips"].update(n_failed=1, failures={HOSTILE: HOSTILE}, notes=[HOSTILE])
    odd[0]["complete"] = False
    odd[1]["environment"]["cpu"] = HOSTILE
    odd[2]["protocol"]["warnings"] = [HOSTILE]
    answers = [labeled(odd[0], [HOSTILE, "</svg>", 'a" x="'])]
    save(tmp_path, odd)
    np.savez(place(tmp_path, odd[0]).with_name("esc50.predictions.npz"), **answers[0])
    outputs = [tmp_path / f"r.{ending}" for ending in ("html", "md", "csv")]
    write([tmp_path], outputs)
    page = Page(outputs[0])
    assert "script" not in page.tags and "link" not in page.tags and "img" not in page.tags
    assert not any(
        name.startswith("on") or name in ("src", "xlink:href") for name, _ in page.attributes
    )
    assert all(v.startswith("#") for name, v in page.attributes if name == "href")
    assert "".join(page.words).count(HOSTILE) >= 6
    whole = outputs[0].read_text(encoding="utf-8")
    assert (
        "\x1b" not in whole
        and "\u202e" not in whole
        and "http" not in whole.replace("http-equiv", "")
    )
    document = outputs[1].read_text(encoding="utf-8")
    assert "<script" not in document and "模型 \\| \\*é\\*" in document
    lines = list(csv.DictReader(outputs[2].open(encoding="utf-8", newline="")))
    assert "'=cmd|' /C calc'!A0" in [line["model"] for line in lines]
    assert not any(str(cell).startswith(("=", "@")) for line in lines for cell in line.values())
    assert "\x1b" not in compare(odd)


def test_csv_has_a_line_per_model_and_task(tmp_path):
    partial = result("b", "esc50", 80.0, complete=False, incomplete_because=["a --subset"])
    save(tmp_path, [*twelve("a", F0), partial, *mini("a")])
    write([tmp_path], [tmp_path / "r.csv"])
    with open(tmp_path / "r.csv", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 12 + 1 + 3
    by = {(line["model"], line["task"]): line for line in lines}
    esc = by["a", "esc50"]
    assert float(esc["score"]) == 91.1 and float(esc["interval_low"]) == pytest.approx(88.6)
    assert esc["protocol"] == PAPER and esc["published"] == "91.1" and esc["complete"] == "yes"
    assert by["b", "esc50"]["incomplete_because"] == "a --subset"
    assert by["a", "mini_pitch"]["suite"] == "mini" and by["a", "mini_pitch"]["published"] == ""


def test_markdown_has_the_tables_with_their_reasons(tmp_path):
    save(tmp_path, [*twelve("a", F0), result("b", "esc50", 80.0)])
    write([tmp_path], [tmp_path / "r.md"])
    text = (tmp_path / "r.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert any(
        re.match(r"\| ESC-50 \| accuracy \| 91.1\\\* \(88.6–93.1\) \| 80.0 \(", row) for row in rows
    )
    assert any(row.startswith("| HARES total |  | 74.6 (73.9–75.2) | – \\[") for row in rows)
    assert "no average: AudioSet, Birdsong, TUT18 are not run" in text
    # Every line of a table has as many columns as its header.
    for block in text.split("\n\n"):
        if block.startswith("|"):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_results_of_schema_1(tmp_path):
    old = {
        "schema": 1,
        "key": "k",
        "score": 66.5,
        "complete": False,
        "task": {"id": "barks", "version": 1, "domain": "environment", "metric": "accuracy"},
        "protocol": {"identity": "fast/1"},
        "clips": {"n_expected": 20, "n_used": 19, "n_failed": 1, "failures": {"x.wav": "empty"}},
        "model": {"name": "old", "handle": "exports/old", "fingerprint": None},
        "seconds": {"embedding": 1.0, "head": 0.1, "clips_embedded": 19},
    }
    demo = json.loads(json.dumps(old))
    demo["task"]["id"], demo["complete"], demo["clips"] = "mini_pitch", True, {}
    save_old = tmp_path / "fast" / "old"
    save_old.mkdir(parents=True)
    for name, data in (("barks", old), ("mini_pitch", demo)):
        (save_old / f"{name}.json").write_text(json.dumps(data))
    found = {one.task: one for one in read(tmp_path)}
    assert found["barks"].suite == "user" and found["mini_pitch"].suite == "mini"
    assert found["barks"].interval is None
    assert found["barks"].reasons == ("1 clip(s) could not be read",)
    outputs = [tmp_path / f"r.{ending}" for ending in ("html", "md", "csv")]
    assert write([tmp_path], outputs) == []
    assert "66.5!" in Page(outputs[0]).cells("barks")[0][1]


BAD = {
    "text": "not JSON",
    "list": "[1, 2]",
    "foreign": '{"name": "package", "version": 1}',
    "no score": json.dumps({**result("a", "esc50", 1.0), "score": None}),
    "nan": json.dumps({**result("a", "esc50", 1.0), "score": float("nan")}),
    "huge": json.dumps(result("a", "esc50", 1.0)).replace('"score": 1.0', '"score": 1' + "0" * 400),
    "deep": "[" * 100_000,
    "task": json.dumps({**result("a", "esc50", 1.0), "task": "esc50"}),
    "model": json.dumps({**result("a", "esc50", 1.0), "model": [1]}),
    "domain": json.dumps(result("a", "esc50", 1.0, task__domain="music")),
    "suite": json.dumps(result("a", "esc50", 1.0, suite="best")),
    "bytes": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_files_that_are_not_results_are_reported_in_one_sentence(tmp_path, content, capsys):
    bad = tmp_path / "results" / "bad.json"
    bad.parent.mkdir()
    bad.write_bytes(content if isinstance(content, bytes) else content.encode())
    output = f"--output={tmp_path / 'r.html'}"
    for argument in (bad, bad.parent):
        assert report_command.main([str(argument), output]) == 2
        said = capsys.readouterr().err
        assert "bad.json" in said and "Traceback" not in said and said.count("\n") == 1
    # Beside a good result it is passed over, and the page says so.
    save(bad.parent, [result("a", "esc50", 90.0)])
    assert report_command.main([str(bad.parent), output]) == 0
    assert "bad.json" in capsys.readouterr().err
    assert "bad.json" in "".join(Page(tmp_path / "r.html").words)


def test_sections_of_unexpected_types_are_tolerated(tmp_path):
    odd = result("a", "esc50", 90.0, seconds=[], environment="?", embeddings=None, interval="x")
    odd["clips"] = {"failures": ["x"], "notes": {"a": 1}, "n_failed": "many", "manifest_hash": 3}
    odd["model"].update(parameters="63m", interface=["x"], training={"on": ["AudioSet"]})
    odd["task"].update(version=[1], labels=7, head=None)
    odd["protocol"].update(warnings="no", options={"K": [1, {"x": None}]})
    odd["predictions"] = "esc50.predictions.npz"
    outputs = [tmp_path / f"r.{ending}" for ending in ("html", "md", "csv")]
    (problem,) = write([save(tmp_path, [odd])], outputs)
    assert "does not list its labels" in problem
    assert compare([[odd]]).count("90.0") == 1


def test_the_later_of_two_results_counts(tmp_path):
    early = result("a", "esc50", 50.0)
    late = result("a", "esc50", 60.0, environment__finished_at="2025-02-01T00:00:00+00:00")
    save(tmp_path / "x", [late])
    save(tmp_path / "y", [early])
    for roots in (["x", "y"], ["y", "x"]):
        (one,), problems = reading.read([tmp_path / root for root in roots])
        assert one.score == 60.0 and "two results" in problems[0]
    # The same file named twice is no conflict.
    assert reading.read([tmp_path / "x", tmp_path / "x"])[1] == []


def test_figures_of_averages_only_where_there_are_averages(tmp_path):
    def drawn(results, name):
        write([save(tmp_path / name, results)], [tmp_path / "r.html"])
        page = Page(tmp_path / "r.html")
        figures = [v for n, v in page.attributes if n == "aria-label" and " against " in v]
        return {words.split(" against ")[0] for words in figures}

    most = [r for r in twelve("a", F0) if r["task"]["id"] != "esc50"]
    assert "Speech average" in drawn(most, "x") and "HARES total" not in drawn(most, "x")
    assert {"HARES total", "Environment average"} <= drawn(twelve("a", F0), "y")
    assert drawn(mini("m"), "z") == set()  # a single model, without rows of the paper


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["hares-report", "--results is required."]),
        (["/no/such/folder"], ["/no/such/folder", "no such folder"]),
        (["{empty}"], ["no result"]),
        (["{good}", "--output=r.pdf"], ["r.pdf", ".html", ".csv"]),
        (["{good}", "--published=5"], ["--published=5"]),
        (["{good}", "--published=four"], ["--published", "four"]),
        (["{good}", "--ouptut=r.html"], ["ouptut"]),
    ],
)
def test_wrong_arguments_print_one_sentence(tmp_path, arguments, words, capsys):
    (tmp_path / "empty").mkdir()
    save(tmp_path / "good", [result("a", "esc50", 1.0)])
    places = {name: tmp_path / name for name in ("empty", "good")}
    assert report_command.main([argument.format(**places) for argument in arguments]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said and all(word in said for word in words)


def test_report_command_writes_all_formats(tmp_path, capsys):
    save(tmp_path / "x", [result("a", "esc50", 90.0)])
    save(tmp_path / "y", [result("b", "esc50", 80.0)])
    outputs = [f"--output={tmp_path / name}" for name in ("r.html", "r.md", "r.csv")]
    assert report_command.main([str(tmp_path / "x"), f"--results={tmp_path / 'y'}", *outputs]) == 0
    assert (tmp_path / "r.csv").read_text().count("\n") == 3
    assert "2 result(s)" in capsys.readouterr().err


def test_help_and_text_need_no_tensorflow(tmp_path):
    import subprocess

    save(tmp_path, [result("a", "esc50", 90.0)])
    code = (
        "import sys; from hares_tf.commands import report as r;"
        f"assert r.main([{str(tmp_path)!r}, '--output={tmp_path / 'r.html'}']) == 0;"
        "assert not {'tensorflow', 'keras', 'sklearn'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
