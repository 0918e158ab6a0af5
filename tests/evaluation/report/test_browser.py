"""The page in a browser: nothing overlaps, is cut, or makes the page scroll sideways."""

import numpy as np
import pytest
from evaluation.report.browser import measure, needs_chromium
from evaluation.report.stored_results import labeled, result, save_with_answers

from hares_tf.evaluation import published
from hares_tf.evaluation.report import write

pytestmark = needs_chromium
WIDTHS = (390, 800, 1600)
# Narrow and wide ones; a family that is not installed falls back to another.
FONTS = ("", "DejaVu Serif", "Liberation Sans Narrow", "DejaVu Sans Mono")
NAMES = (
    "slowfast_nfnet_f0",
    "byol_a_resnet50_audioset_300k_with_a_very_long_name_v2",
    "a",
    "PANNs CNN14 (16 kHz, fine-tuned on everything)",
    "x" * 70,
    "模型 音频编码器",
    *(f"model-{number}" for number in range(9)),
)


def stored(models, tasks, suite="hares"):
    """Results with predictions; names, sizes, classes and scores of many kinds."""
    random = np.random.default_rng(0)
    own = [f"own_task_{'long_' * (number % 4)}{number}" for number in range(tasks)]
    ids = list(published.TASKS) if suite == "hares" else own
    for name in NAMES[:models]:
        size, time = int(10 ** random.uniform(5, 9)), float(10 ** random.uniform(0, 3))
        for number, task in enumerate(ids[:tasks]):
            score = float(random.uniform(5, 100))
            changes = {
                "suite": suite,
                "interval": [max(score - 3, 0), min(score + 3, 100)],
                "identity": "fast/1",
                "model__parameters": size,
                "seconds__embedding": time,
            }
            if number == 1:
                partial = {"complete": False, "incomplete_because": ["a --subset of the data"]}
                changes |= {**partial, "clips__n_used": 82}
            data = result(name, task, score, **changes)
            kind = "tags" if data["task"]["metric"] == "mean_average_precision" else "classes"
            classes = [f"Mechanical keyboard {i}" if number % 2 else f"c{i}" for i in range(12)]
            yield data, labeled(data, classes, clips=100, seed=number, skill=2.0, kind=kind)


def pages(folder, *parts):
    for models, tasks, suite in parts:
        save_with_answers(folder / "results", stored(models, tasks, suite))
    write([folder / "results"], [folder / "r.html"], resamples=20)
    return folder / "r.html"


def check(frames):
    for frame in frames:
        assert frame["texts"] > 50
        problems = {name: frame[name] for name in ("wider", "overlaps", "cut", "outside")}
        assert problems == {"wider": 0, "overlaps": [], "cut": [], "outside": 0}


@pytest.mark.parametrize(
    "parts",
    [
        [(1, 1, "user")],
        [(1, 12, "hares")],
        [(3, 12, "hares"), (2, 3, "user")],
        [(15, 4, "hares")],
        [(3, 30, "user")],
    ],
    ids=["1 model, 1 task", "1 model", "3 models, two suites", "15 models", "30 tasks"],
)
def test_nothing_overlaps_or_is_cut_at_any_width_and_font(tmp_path, parts):
    page = pages(tmp_path, *parts)
    large = parts[0][0] > 6 or parts[0][1] > 12
    check(measure(page, tmp_path, WIDTHS, FONTS[-1:] if large else FONTS, unfold=True))


@pytest.mark.parametrize("dark", [False, True])
def test_folded_in_both_color_schemes(tmp_path, dark):
    frames = measure(pages(tmp_path, (6, 12, "hares")), tmp_path, WIDTHS, dark=dark)
    check(frames)
    assert [frame["dark"] for frame in frames] == [dark] * 3


def test_the_measurement_sees_what_is_wrong(tmp_path):
    page = pages(tmp_path, (2, 3, "user"))
    source = page.read_text(encoding="utf-8")
    for style, name in (
        (".row { margin-bottom: -1rem }", "overlaps"),
        ("h1 { width: 2000px }", "wider"),
        ("svg text { font-size: 30px !important }", "cut"),
        (".whisker { margin-left: 400px }", "outside"),
    ):
        page.write_text(source.replace("</style>", f"{style}</style>", 1), encoding="utf-8")
        (frame,) = measure(page, tmp_path, [800])
        assert frame[name], style
