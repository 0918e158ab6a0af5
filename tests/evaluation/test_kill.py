"""Kills and company: killed at any instant an evaluation goes on, and two may share a store."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

# An encoder that takes its time, and shards of a few clips, so that kills fall everywhere.
PLUG_IN = """
import time

import numpy as np

from hares_tf.evaluation.embeddings import embedding, store

store.SHARD_BYTES = 2000
embedding.BATCH_SECONDS = 2.0


def slow(batch):
    time.sleep(0.1)
    spectrum = np.abs(np.fft.rfft(batch))[:, : 40 * 40]
    return np.log1p(spectrum.reshape(len(batch), 40, -1).mean(-1))


slow.sample_rate = 16000
slow.fingerprint = "1"
"""
TOML = """
domain = "music"
manifest = "list.csv"
window_seconds = 0.25
[columns]
file = "file"
label = "label"
split = "split"
"""
CLIPS = 90


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("kill")
    numbers = np.random.default_rng(0)
    with open(place / "list.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "label", "split"])
        for index in range(CLIPS):
            frequency = 300 * (1 + index % 3) * 2 ** numbers.normal(0, 0.4)
            clock = np.arange(numbers.integers(3000, 9000)) / 16000
            tone = 0.2 * np.sin(2 * np.pi * frequency * clock) + 0.1 * numbers.normal(
                size=len(clock)
            )
            soundfile.write(place / f"{index}.wav", tone, 16000, "PCM_16")
            split = ("train", "train", "test")[index // 3 % 3]
            rows.writerow([f"{index}.wav", index % 3, split])
    (place / "task.toml").write_text(TOML)
    (place / "slow_plug_in.py").write_text(PLUG_IN)
    return place


def _start(folder, name):
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "hares_tf.commands.evaluate",
            "--handle=python:slow_plug_in:slow",
            "--tasks=task.toml",
            f"--output={name}/results",
            f"--store={name}/store",
            "--progress=json",
        ],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _result(folder, name):
    path = next((folder / name / "results").glob("fast/*/task.json"))
    result = json.loads(path.read_text())
    with np.load(path.with_name(result["predictions"]), allow_pickle=False) as arrays:
        predictions = {key: arrays[key] for key in arrays.files}
    return result, predictions


def _same(one, other):
    """Equal in everything but how long it took and when."""
    first, second = ({**r[0], "seconds": 0, "environment": 0} for r in (one, other))
    assert first == second
    for key, value in one[1].items():
        np.testing.assert_array_equal(value, other[1][key])


@pytest.fixture(scope="module")
def undisturbed(folder):
    process = _start(folder, "undisturbed")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    result = _result(folder, "undisturbed")
    assert result[0]["seconds"]["clips_embedded"] == CLIPS and 40 < result[0]["score"] < 100
    return result


def _embedded(folder):
    """Clips in the store of the runs that are killed."""
    indexes = (folder / "killed/store").glob("*/[0-9a-f]*.json")
    return sum(len(json.loads(path.read_text())["clips"]) for path in indexes)


def test_killed_at_random_instants_it_goes_on_to_the_same_result(folder, undisturbed):
    instants, kills = random.Random(0), 0
    for attempt in range(6):
        before = _embedded(folder)
        process = _start(folder, "killed")
        if attempt % 3:  # two of three kills fall into the embedding phase, the others anywhere
            while _embedded(folder) == before and process.poll() is None:
                time.sleep(0.01)
        time.sleep(instants.uniform(0, 0.4))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.communicate(timeout=60)
    embedded_before = _embedded(folder)
    assert kills >= 4 and embedded_before > 0
    process = _start(folder, "killed")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    result = _result(folder, "killed")
    _same(result, undisturbed)
    assert result[0]["seconds"]["clips_embedded"] <= CLIPS - embedded_before


def test_two_processes_share_a_store(folder, undisturbed):
    processes = [_start(folder, "shared") for _ in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    _same(_result(folder, "shared"), undisturbed)


def test_json_progress_is_one_object_per_line(folder, undisturbed):
    process = _start(folder, "progress")
    _, errors = process.communicate(timeout=120)
    records = [json.loads(line) for line in errors.splitlines()]
    events = [r for r in records if r.get("phase") == "embedding"]
    assert [events[0]["event"], events[-1]["event"]] == ["start", "end"]
    assert events[-1]["done"] == events[-1]["total"] == CLIPS
    assert any(r["event"] == "message" and "task" in r["text"] for r in records)
