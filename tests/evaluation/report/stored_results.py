"""Results and predictions as an evaluation stores them, and a parser of pages."""

import html.parser
import json
import re

import numpy as np

from hares_tf.evaluation import published
from hares_tf.evaluation.report import (
    reading,
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


def read(folder):
    return reading.read([folder])[0]
