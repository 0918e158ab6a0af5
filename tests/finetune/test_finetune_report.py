"""Numbers and pictures of a report."""

import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from hares_tf.finetune.clips import Clip
from hares_tf.finetune.confusion import confusion_svg
from hares_tf.finetune.errors import FinetuneError
from hares_tf.finetune.report import HeldOut, accuracy, check_destination, summary
from hares_tf.recordings import FileSound, Recording

SVG = "{http://www.w3.org/2000/svg}"


def test_intervals_are_wilsons():
    z, n = 1.959964, 40
    for right in (0, 31, 40):
        p = right / n
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        result = accuracy(right, n)
        assert result["accuracy"] == pytest.approx(100 * p)
        expected = [100 * (middle - half), 100 * (middle + half)]
        assert result["interval"] == pytest.approx(expected, abs=1e-3)


def held_out():
    clips = [
        Clip(Recording(str(n), FileSound(str(n)), (label,), "test"), str(n), 0, 1)
        for n, label in enumerate([0, 0, 1, 1, 1])
    ]
    frozen = np.eye(3)[[0, 1, 0, 0, 1]]
    final = np.eye(3)[[0, 1, 1, 1, 1]]
    return HeldOut(clips, ("cat", "dog", "cow"), frozen, final)


def test_results_of_hand_counted_clips():
    results = held_out().results()
    assert results["frozen_head"]["right"] == 2 and results["fine_tuned"]["right"] == 4
    assert results["fine_tuned"]["recall"] == {"cat": 50.0, "dog": 100.0, "cow": None}
    assert results["gain"]["difference"] == pytest.approx(40.0)
    assert held_out().confusion().tolist() == [[1, 1, 0], [0, 3, 0], [0, 0, 0]]


def texts(drawing):
    return [e.text for e in ET.fromstring(drawing.encode()).iter(f"{SVG}text")]


def test_the_picture_holds_every_number_and_name():
    counts = np.array([[12, 3, 0], [0, 1234, 0], [0, 0, 0]])
    drawing = confusion_svg(counts, ("a<b>&", "mäuse", "bad\x00\x1bname"), 'say "hi" <now>', "n")
    found = texts(drawing)
    assert [t for t in found if t.isdecimal()] == ["12", "3", "1234"]
    assert found.count("a<b>&") == 2 and "bad\ufffd\ufffdname" in found
    assert 'say "hi" <now>' in found
    assert [t for t in found if t.endswith("%") or t == "–"] == ["80%", "100%", "–"]
    shades = [
        float(e.get("fill-opacity"))
        for e in ET.fromstring(drawing.encode()).iter(f"{SVG}rect")
        if e.get("class") == "cell"
    ]
    assert shades == [0.8, 0.2, 1.0]


def test_the_picture_needs_no_browser():
    """Image viewers and LaTeX paint everything black whose color is a CSS variable."""
    drawing = confusion_svg(np.eye(2, dtype=int), ("a", "b"), "t")
    assert "var(" not in drawing
    light, dark = drawing.split("@media")
    for kind in ("paper", "cell", "on", "soft"):
        assert f".{kind} {{ fill: #" in light and f".{kind} {{ fill: #" in dark


def test_many_long_names_stay_inside_the_picture():
    classes = [f"{'very ' * 12}long class name {n}" for n in range(60)]
    drawing = confusion_svg(np.diag(np.arange(60)), classes, "many")
    root = ET.fromstring(drawing.encode())
    width = float(root.get("width"))
    for box in root.iter(f"{SVG}rect"):
        assert float(box.get("x")) + float(box.get("width")) <= width + 0.01
    cells = [box for box in root.iter(f"{SVG}rect") if box.get("class") == "cell"]
    assert len(cells) == 59 and all(float(box.get("width")) >= 20 for box in cells)


def test_the_summary_says_what_counts(tmp_path):
    report = {
        "results": held_out().results(),
        "data": {"clips": {"train": 9, "validation": 3, "test": 5}},
        "window_seconds": 0.5,
        "training": {"skipped": None, "epochs": 4, "best_epoch": 2, "history": []},
        "rejected": [{"id": f"{n}.wav", "reason": "broken"} for n in range(7)],
        "notes": ["mind this"],
    }
    text = summary(report, held_out(), "out", tmp_path)
    for words in (
        "9 train, 3 validation, 5 test", "40.0% (", "80.0% (", "+40.0 points", "epoch 2 of 4",
        "cat as dog (1)", "7 recording(s) left out", "0.wav: broken", "report.json", "mind this",
    ):  # fmt: skip
        assert words in text
    assert "6.wav" not in text


def test_only_reports_are_replaced(tmp_path):
    check_destination(tmp_path / "new", False)
    with pytest.raises(FinetuneError, match="exists already"):
        check_destination(tmp_path, False)
    check_destination(tmp_path, True)
    (tmp_path / "thesis.doc").write_text("")
    with pytest.raises(FinetuneError, match="is not a report"):
        check_destination(tmp_path, True)
    (tmp_path / "report.json").write_text("{}")
    check_destination(tmp_path, True)
