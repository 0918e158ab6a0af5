"""Reports: which numbers may stand beside each other, and that any input gives a readable page."""

import csv
import html.parser
import json
import re
import sys
import types

import numpy as np
import pytest

from hares_tf.commands import report as report_command
from hares_tf.evaluation import EvaluationError, published
from hares_tf.evaluation.report import (
    compare,
    comparison,
    details,
    predictions,
    reading,
    table,
    write,
)

PAPER = "paper(K=4)/1"
HOSTILE = "<script>alert('x')</script>"
F0 = {row.name: row for row in published.rows(4)}["SF NFNet-F0 (ours)"].scores
CNN14 = {row.name: row for row in published.rows(4)}["PANNs-CNN14 (ours)"].scores
GROUPS = {"fluent_speech_commands": ("slots", {"action": 6, "object": 14, "location": 4})}
WIDTHS = {"birdsong": 2, "tut18": 10, "esc50": 50, "voxforge": 6, "voxceleb1": 60}


def result(model, task, score, *, identity=PAPER, suite="hares", **changes):
    """The JSON data of a result; `changes` replace top-level entries, dotted ones nested ones."""
    known = published.TASKS.get(task)
    domain = known.domain if known else "environment"
    data = {
        "schema": 2,
        "key": f"{model}{task}{identity}",
        "score": score,
        "interval": [max(score - 2.5, 0), min(score + 2, 100)],
        "complete": True,
        "incomplete_because": [],
        "task": {
            "id": task,
            "version": 1,
            "domain": domain,
            "suite": suite,
            "metric": "mean_average_precision" if known and known.metric == "mAP" else "accuracy",
            "head": "linear",
            "windows": {"seconds": 5.0, "test": "tiles", "count": 0, "train": "whole"},
            "expected": {"test": 400},
            "labels": {"kind": "classes", "groups": {"class": ["dog", "cat"]}},
        },
        "protocol": {
            "name": re.match("[a-z]+", identity)[0],
            "version": 1,
            "identity": identity,
            "c": 0.1,
        },
        "clips": {
            "n_expected": 2000,
            "n_missing": 0,
            "n_failed": 0,
            "n_used": 2000,
            "n_scored": 400,
            "n_excluded": 0,
            "failures": {},
            "n_repeated_across_parts": 0,
            "manifest_hash": f"hash of {task}",
            "n_labels": 50,
            "n_labels_scored": 50,
            "notes": [],
        },
        "model": {
            "name": model,
            "handle": f"exports/{model}",
            "fingerprint": f"{sum(map(ord, model)):064x}"[::-1],
            "parameters": 62_970_654,
            "embedding_size": 3456,
            "interface": {"sample_rate": 16000, "entry_point": "__call__"},
            "training": None,
        },
        "embeddings": {"interface": {"sample_rate": 16000}, "runtime": "tensorflow"},
        "seconds": {
            "embedding": 120.5,
            "head": 4.2,
            "clips_embedded": 2000,
            "audio_seconds": 10000.0,
        },
        "predictions": None,
        "environment": {
            "hares_tf": "0.3.0",
            "python": "3.12.1",
            "packages": {"tensorflow": "2.21.0"},
            "cpu": "A processor",
            "finished_at": "2025-01-02T03:04:05+00:00",
        },
    }
    for name, value in changes.items():
        *path, last = name.split("__")
        place = data
        for step in path:
            place = place[step]
        place[last] = value
    return data


def twelve(model, scores, **changes):
    return [result(model, task, score, **changes) for task, score in scores.items()]


def mini(model, scores=(80.0, 70.0, 60.0), **changes):
    tasks = {"mini_textures": "environment", "mini_keywords": "speech", "mini_pitch": "music"}
    return [
        result(model, task, score, identity="fast/1", suite="mini", task__domain=domain, **changes)
        for (task, domain), score in zip(tasks.items(), scores, strict=True)
    ]


def place(folder, data):
    """Where a result stands."""
    model = re.sub(r"[^A-Za-z0-9]+", "-", data["model"]["name"])[:60]
    return folder / data["protocol"]["name"] / model / f"{data['task']['id']}.json"


def save(folder, results):
    for data in results:
        path = place(folder, data)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data), encoding="utf-8")
    return folder


def labeled(data, names, seed=0, clips=400, skill=3.0, kind="classes"):
    """Adds labels to a result, and gives answers that fit them."""
    groups = names if isinstance(names, dict) else {"class": names}
    data["task"]["labels"] = {"kind": kind, "groups": {g: list(n) for g, n in groups.items()}}
    data["predictions"] = f"{data['task']['id']}.predictions.npz"
    random, truth = np.random.default_rng(seed), np.random.default_rng(99)
    widths = [len(group) for group in groups.values()]
    if kind == "tags":
        targets = (truth.random((clips, widths[0])) < 0.2).astype(np.float32)
        hits = targets
    else:
        columns = [truth.integers(width, size=clips) for width in widths]
        targets = np.stack(columns, axis=1).astype(np.int32)
        hits = np.concatenate([np.eye(w)[c] for w, c in zip(widths, columns, strict=True)], axis=1)
    scores = (random.normal(size=hits.shape) + skill * hits).astype(np.float32)
    return {
        "ids": np.array([f"clip {i}" for i in range(clips)]),
        "scores": scores,
        "targets": targets,
    }


def save_with_answers(folder, results_and_answers):
    for data, answers in results_and_answers:
        save(folder, [data])
        np.savez(place(folder, data).with_name(data["predictions"]), **answers)
    return folder


class Page(html.parser.HTMLParser):
    """What a browser would make of a page: its tags, their attributes, its text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self.rows: list[list[str]] = []
        self.in_cell = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.in_cell = False

    def handle_data(self, data):
        self.words.append(data)
        if self.in_cell:
            self.rows[-1][-1] += data

    def cells(self, first):
        """The table rows whose first cell begins with a text, without white space at the ends."""
        rows = [[cell.strip() for cell in row] for row in self.rows if row]
        return [row for row in rows if row[0].startswith(first)]


@pytest.fixture
def uncertainty(monkeypatch):
    """A stand-in for the bootstrap that shows which clips it was given in which order."""
    calls = []

    def paired(scores_a, scores_b, targets, labels, metric_name, resamples, seed):
        calls.append((scores_a, scores_b, targets, labels, metric_name, resamples, seed))
        return {"difference": 2.0, "low": 0.5, "high": 3.5}

    module = types.ModuleType("uncertainty")
    module.paired = paired
    monkeypatch.setitem(sys.modules, "hares_tf.evaluation.results.uncertainty", module)
    return calls


def read(folder):
    return reading.read([folder])[0]


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


def test_the_best_is_marked_among_equal_questions_only():
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


def test_protocols_have_their_own_tables(tmp_path):
    save(tmp_path, twelve("a", F0) + twelve("a", CNN14, identity="fast/1") + mini("a"))
    write([tmp_path], [tmp_path / "r.html"])
    page = Page(tmp_path / "r.html")
    totals = page.cells("HARES total")
    assert len(totals) == 2 and {row[1] for row in totals} == {"74.6", "62.4"}
    assert len(page.cells("mini_pitch")) == 1 + 1  # the scores, and the provenance
    # Alone within its identity, no score of the page is a best.
    assert "★" not in "".join(cell for row in page.rows for cell in row)
    assert "mini never" not in "".join(page.words)
    assert "enter a HARES total" in "".join(page.words)


def test_miniatures_and_variants_stand_in_the_order_of_table_1():
    named = [f"mini_{task}" for task in published.TASKS]
    data = [
        result("a", task, 50.0, suite="mini", task__domain=published.TASKS[task[5:]].domain)
        for task in sorted(named)
    ]
    (one,) = comparison.tables([reading.from_data(entry) for entry in data])
    assert [row.id for row in one.rows] == named


def test_a_page_stands_beside_the_chosen_tables_of_the_paper(tmp_path):
    save(tmp_path, twelve("a", F0))
    write([tmp_path], [tmp_path / "r.html"], tables=(6, 9))
    row = Page(tmp_path / "r.html").cells("ESC-50")[0]
    printed = [row.scores["esc50"] for row in (*published.rows(6), *published.rows(9))]
    assert row[2:] == [f"{value:.1f}" for value in printed]
    with pytest.raises(EvaluationError, match="table 5"):
        write([tmp_path], [tmp_path / "r.html"], tables=(5,))


def test_hostile_names_stay_text(tmp_path):
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
    assert any(row.startswith("| HARES total |  | 74.6 | – \\[") for row in rows)
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
def test_what_is_no_result_is_a_sentence(tmp_path, content, capsys):
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


def test_sections_of_odd_types_do_not_hurt(tmp_path):
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


def test_confusions_against_scikit_learn(tmp_path, uncertainty):
    from sklearn.metrics import average_precision_score, confusion_matrix, recall_score

    names = [f"c{i}" for i in range(7)]
    data = result("a", "esc50", 90.0)
    answers = labeled(data, names, skill=1.5)
    save_with_answers(tmp_path, [(data, answers)])
    (found,) = details.describe(predictions.load(read(tmp_path)[0]))
    truth, guess = answers["targets"][:, 0], answers["scores"].argmax(1)
    assert found.matrix == confusion_matrix(truth, guess).tolist()
    recalls = recall_score(truth, guess, average=None) * 100
    assert {c.name: c.score for c in found.classes} == pytest.approx(
        dict(zip(names, recalls, strict=True))
    )
    assert [c.score for c in found.classes] == pytest.approx(sorted(recalls))
    wrong = confusion_matrix(truth, guess) * (1 - np.eye(7, dtype=int))
    assert found.pairs[0][2] == wrong.max() and sum(n for *_, n in found.pairs) <= wrong.sum()

    tagged = result("a", "magnatagatune", 40.0)
    answers = labeled(tagged, names, kind="tags", skill=1.0)
    answers["scores"][:, 3] = -np.inf
    save_with_answers(tmp_path / "tags", [(tagged, answers)])
    (found,) = details.describe(predictions.load(read(tmp_path / "tags")[0]))
    wanted = average_precision_score(answers["targets"][:, 0], answers["scores"][:, 0])
    assert {c.name: c.score for c in found.classes}["c0"] == pytest.approx(100 * wanted)
    # A constant score ranks nothing: its average precision is the share of the tag.
    share = 100 * answers["targets"][:, 3].mean()
    assert {c.name: c.score for c in found.classes}["c3"] == pytest.approx(share)


def test_slots_have_a_matrix_each_and_many_classes_none(tmp_path):
    slots = result("a", "fluent_speech_commands", 40.0)
    groups = {"action": list("abc"), "object": list("defgh")}
    many = result("a", "voxceleb1", 40.0)
    save_with_answers(
        tmp_path,
        [
            (slots, labeled(slots, groups, kind="slots")),
            (many, labeled(many, [f"id{i}" for i in range(51)], skill=1.0)),
        ],
    )
    found = {one.task: details.describe(predictions.load(one)) for one in read(tmp_path)}
    first, second = found["fluent_speech_commands"]
    assert (first.group, np.shape(first.matrix)) == ("action", (3, 3))
    assert (second.group, np.shape(second.matrix)) == ("object", (5, 5))
    assert np.sum(first.matrix) == np.sum(second.matrix) == 400
    (large,) = found["voxceleb1"]
    assert large.matrix is None and len(large.classes) == 20 and len(large.pairs) == 20
    write([tmp_path], [tmp_path / "r.html"])
    page = Page(tmp_path / "r.html")
    assert dict(page.attributes)["aria-label"]
    assert sum(name == "class" and value == "matrix" for name, value in page.attributes) == 2


def _damage(name, data, path):
    if name == "absent":
        path.unlink()
    elif name == "cut":
        path.write_bytes(path.read_bytes()[:200])
    elif name == "pickled":
        np.savez(
            path, ids=np.array([{}], object), scores=np.zeros((1, 3)), targets=np.zeros((1, 1))
        )
    elif name == "no array":
        np.savez(path, ids=np.array(["a"]))
    elif name == "other width":
        np.savez(path, **labeled(result("a", "esc50", 1.0), list("abcd")))
    elif name == "outside":
        data["predictions"] = "../../secret.npz"
        save(path.parents[2], [data])


@pytest.mark.parametrize(
    "damage", ["absent", "cut", "pickled", "no array", "other width", "outside"]
)
def test_damaged_predictions_are_a_note(tmp_path, damage):
    data = result("a", "esc50", 90.0)
    save_with_answers(tmp_path / "r", [(data, labeled(data, list("abc")))])
    np.savez(tmp_path / "secret.npz", **labeled(result("a", "esc50", 1.0), list("abc")))
    _damage(damage, data, tmp_path / "r" / "paper" / "a" / "esc50.predictions.npz")
    (problem,) = write([tmp_path / "r"], [tmp_path / "r.html"])
    assert "predictions" in problem
    page = Page(tmp_path / "r.html")
    assert "90.0" in page.cells("ESC-50")[0][1] and "matrix" not in dict(page.attributes).values()


def test_paired_differences_are_of_the_same_clips(tmp_path, uncertainty):
    a, b = result("a", "esc50", 90.0), result("b", "esc50", 80.0)
    first, second = labeled(a, list("abc"), seed=1), labeled(b, list("abc"), seed=2)
    shuffled = np.random.default_rng(0).permutation(400)
    save_with_answers(tmp_path, [(a, first), (b, {k: v[shuffled] for k, v in second.items()})])
    write([tmp_path], [tmp_path / "r.html"], resamples=50, seed=7)
    ((one, other, targets, labels, *rest),) = uncertainty
    order = np.argsort(first["ids"])
    np.testing.assert_array_equal(one, first["scores"][order])
    np.testing.assert_array_equal(other, second["scores"][order])
    np.testing.assert_array_equal(targets, first["targets"][order])
    assert labels.widths == (3,) and rest == ["accuracy", 50, 7]
    (row,) = Page(tmp_path / "r.html").cells("ESC-50")[1:]
    assert row[:5] == ["ESC-50", "a", "b", "+2.0", "+0.5 to +3.5"] and row[5] == "a is better"


@pytest.mark.parametrize("change", [{"clips__manifest_hash": "other"}, {"identity": "fast/1"}])
def test_no_paired_difference_of_other_clips_or_protocols(tmp_path, uncertainty, change):
    a, b = result("a", "esc50", 90.0), result("b", "esc50", 80.0, **change)
    save_with_answers(tmp_path, [(one, labeled(one, list("abc"))) for one in (a, b)])
    write([tmp_path], [tmp_path / "r.html"])
    assert uncertainty == []


def test_radars_only_where_averages_may_be_shown(tmp_path):
    def radars(results):
        write([save(tmp_path, results)], [tmp_path / "r.html"])
        words = "".join(Page(tmp_path / "r.html").words)
        drawn = [v for n, v in Page(tmp_path / "r.html").attributes if n == "aria-label"]
        return [d for d in drawn if d.startswith("averages by domain")], words

    most = [r for r in twelve("a", F0) if r["task"]["id"] != "esc50"]
    assert radars(most)[0] == []
    drawn, words = radars(mini("m"))
    assert drawn == ["averages by domain of m"] and "not HARES averages" in words
    drawn, _ = radars(twelve("a", F0))
    assert sorted(drawn) == ["averages by domain of a", "averages by domain of m"]


def test_forty_models(tmp_path):
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
    assert "The eight highest; 32 more" in "".join(page.words)
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


def test_the_table_of_a_run_is_still_there():
    text = table([[result("a", "esc50", 70.0)], [result("b", "esc50", 80.0)]])
    assert "80.0*" in text and "70.0*" not in text


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
def test_wrong_use_is_one_sentence(tmp_path, arguments, words, capsys):
    (tmp_path / "empty").mkdir()
    save(tmp_path / "good", [result("a", "esc50", 1.0)])
    places = {name: tmp_path / name for name in ("empty", "good")}
    assert report_command.main([argument.format(**places) for argument in arguments]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said and all(word in said for word in words)


def test_command(tmp_path, capsys):
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
