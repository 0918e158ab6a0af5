"""Whole runs on several replicas: reading, looping, recording, checkpoints."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from test_replicas import free_port

from hares_tf.data import open_clips
from hares_tf.data.prepare import prepare
from hares_tf.jobs import Runner
from hares_tf.pretrain.journal import read_metrics
from hares_tf.pretrain.run_record import read_record
from hares_tf.recordings import folder_source

PROGRAM = Path(__file__).with_name("run_program.py")


@pytest.fixture(scope="module")
def labeled_clips(tmp_path_factory):
    """High and low tones, labeled."""
    folder = tmp_path_factory.mktemp("tones")
    random = np.random.default_rng(0)
    for number in range(24):
        name, low = (("low", 150), ("high", 2500))[number % 2]
        hertz = low * random.uniform(1, 1.4)
        (folder / name).mkdir(exist_ok=True)
        wave = 0.3 * np.sin(2 * np.pi * hertz * np.arange(8000) / 16_000)
        soundfile.write(folder / name / f"{number:02}.wav", wave, 16_000)
    output = tmp_path_factory.mktemp("clips") / "prepared"
    prepare(folder_source([folder], "subfolder"), output, runner=Runner(workers=1))
    return output


def start(clips, workdir, kind, **environment):
    path = os.pathsep.join([str(PROGRAM.parents[n]) for n in (2, 1, 0)])
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(clips), str(workdir), kind],
        env={**os.environ, "PYTHONPATH": path, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors[-3000:]


@pytest.fixture(scope="module")
def mirrored(labeled_clips, tmp_path_factory):
    """A whole run on two replicas."""
    workdir = tmp_path_factory.mktemp("mirrored")
    finish(start(labeled_clips, workdir, "mirrored"))
    return workdir


def assert_equal_runs(one, other, names=("loss", "gradient_norm", "mean_average_precision")):
    """What two runs say of their steps; threads add up in varying order."""
    assert len(one) == len(other)
    for mine, yours in zip(one, other, strict=True):
        assert mine["step"] == yours["step"]
        for name in names:
            assert mine[name] == pytest.approx(yours[name], rel=1e-3), (name, mine["step"])


@pytest.mark.slow
def test_classification_on_two_mirrored_replicas(mirrored, labeled_clips):
    record = read_record(mirrored)
    assert record["environment"]["replicas"] == 2
    assert record["label_names"] == list(open_clips(labeled_clips).label_names) == ["high", "low"]
    metrics = read_metrics(mirrored)
    assert [line["step"] for line in metrics] == list(range(1, 7))
    assert all(0.0 < line["mean_average_precision"] <= 1.0 for line in metrics)
    # Two classes and gains of 0: the first losses are near that of a guess.
    assert metrics[0]["loss"] == pytest.approx(np.log(2), abs=0.3)


@pytest.mark.slow
def test_a_mirrored_run_goes_on_from_its_checkpoint(mirrored, labeled_clips, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    for name in ("run.json", "metrics.jsonl", "checkpoints/step-00000004.npz"):
        (tmp_path / name).write_bytes((mirrored / name).read_bytes())
    finish(start(labeled_clips, tmp_path, "mirrored"))
    # Average precision is over recent batches, and those before a restart are not kept.
    lines = read_metrics(tmp_path), read_metrics(mirrored)
    assert_equal_runs(*lines, names=("loss", "gradient_norm"))


@pytest.mark.slow
def test_gradient_caching_changes_nothing_of_a_mirrored_run(mirrored, labeled_clips, tmp_path):
    """In the compiled loop, as on a machine with several accelerators."""
    finish(start(labeled_clips, tmp_path, "cached"))
    assert_equal_runs(read_metrics(tmp_path), read_metrics(mirrored))


@pytest.mark.slow
def test_two_workers_train_one_model(labeled_clips, tmp_path):
    workers = [f"localhost:{free_port()}" for _ in range(2)]
    processes = [
        start(
            labeled_clips,
            tmp_path,
            "multi_worker",
            TF_CONFIG=json.dumps(
                {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
            ),
        )
        for index in range(2)
    ]
    for process in processes:
        finish(process)
    # Written by one of them only.
    lines = read_metrics(tmp_path)
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 7))
    # The chief alone examines the encoder, while the others wait for it in the next step.
    assert [line["step"] for line in lines if "probe/mean" in line] == [2, 4, 6]
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "best.json",
        # What is probed is kept, and every fourth step.
        "step-00000002.npz",
        "step-00000004.npz",
        "step-00000006.npz",
    ]
