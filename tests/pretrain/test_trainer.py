"""Whole runs: what they leave behind, how they go on, how they stop."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import micro
import numpy as np
import pytest
import tensorflow as tf

from hares_tf.checkpoints.runs import load_encoder, open_checkpoint
from hares_tf.checkpoints.variable_names import named_variables
from hares_tf.data import DataError, open_clips
from hares_tf.models import create_model
from hares_tf.pretrain import PretrainError, pretrain, trainer
from hares_tf.pretrain.checkpoints import Checkpoints
from hares_tf.pretrain.interruption import only_process
from hares_tf.pretrain.journal import read_metrics
from hares_tf.pretrain.run_record import check_resumable, read_record

CONFIG = Path(micro.__file__)


def arrays(workdir, step):
    with np.load(workdir / "checkpoints" / f"step-{step:08d}.npz") as file:
        return {name: file[name] for name in file.files}


def scalars(workdir):
    """What TensorBoard shows of a run, but for its probes: (name, step) -> value."""
    (path,) = (workdir / "tensorboard").glob("events.out.*")
    return {
        (value.tag, event.step): float(tf.make_ndarray(value.tensor))
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
        if not value.tag.startswith("probe/")
    }


class Examiner:
    """A probe whose best score is that of step 4."""

    def run(self, model, step):
        assert model.embedding_size == 24
        return {"task": 50.0 - step, "mean": 50.0 - step}


@pytest.fixture(scope="module")
def finished(clips, tmp_path_factory):
    """A run to its end, probed every four steps."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    config = micro.get_config()
    config.keep = 2
    config.probe.every = 4
    assert pretrain(config, clips, workdir, probe=Examiner()) == 0
    return workdir


def test_a_run_leaves_what_it_promises(finished, clips):
    record = read_record(finished)
    assert record["model"] == micro.NAME and record["objective"] == "simclr"
    assert record["config"]["learning_rate"] == 1e-2
    sidecar = json.loads((clips / "clips.json").read_text())
    assert record["data"]["content_hash"] == sidecar["content_hash"]
    assert {"tensorflow", "keras", "replicas", "threads"} <= record["environment"].keys()
    metrics = [line for line in read_metrics(finished) if "loss" in line]
    assert [line["step"] for line in metrics] == list(range(1, 13))
    assert {"loss", "gradient_norm", "contrastive_accuracy", "learning_rate"} < metrics[0].keys()
    # Warm-up over three steps from 0, then a cosine to 0 at step 12.
    assert metrics[0]["learning_rate"] == 0.0
    assert metrics[3]["learning_rate"] == pytest.approx(1e-2)
    assert scalars(finished) == {
        (name, line["step"]): pytest.approx(value, rel=1e-6)
        for line in metrics
        for name, value in line.items()
        if name != "step"
    }
    names = sorted(path.name for path in (finished / "checkpoints").glob("*.npz"))
    assert names == [f"step-{step:08d}.npz" for step in (4, 8, 12)]


def test_the_best_checkpoint_stays(finished):
    """Of three checkpoints two are kept beside the best one, here the first."""
    best = json.loads((finished / "checkpoints" / "best.json").read_text())
    assert best == {"step": 4, "by": "probe/mean fast", "value": 46.0}
    probes = [line for line in read_metrics(finished) if "probe/mean" in line]
    assert [(line["step"], line["probe/task"]) for line in probes] == [(4, 46), (8, 42), (12, 38)]


def test_a_finished_run_has_nothing_left_to_do(finished, clips):
    before = (finished / "metrics.jsonl").read_bytes()
    assert pretrain(micro.get_config(), clips, finished) == 0
    assert (finished / "metrics.jsonl").read_bytes() == before


def command(clips, workdir, *more):
    path = os.pathsep.join([str(CONFIG.parents[1]), str(CONFIG.parent)])
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "hares_tf.commands.pretrain",
            f"--config={CONFIG}",
            f"--data={clips}",
            f"--workdir={workdir}",
            "--progress=none",
            *more,
        ],
        env={**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path, process):
    for _ in range(1200):
        if path.exists():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError(f"{path} never came")


@pytest.fixture(scope="module")
def killed(clips, tmp_path_factory):
    """A run that SIGKILL ended after its first checkpoint, with exact computation."""
    workdir = tmp_path_factory.mktemp("runs") / "killed"
    process = command(clips, workdir, "--exact_resume", "--config.steps=40")
    wait_for(workdir / "checkpoints" / "step-00000004.npz", process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    return workdir


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_bits(killed, clips, tmp_path):
    again = command(clips, killed, "--exact_resume", "--config.steps=40")
    whole = command(clips, tmp_path / "whole", "--exact_resume", "--config.steps=40")
    for process in (again, whole):
        output = process.communicate(timeout=600)
        assert process.returncode == 0, output
    resumed, uninterrupted = arrays(killed, 40), arrays(tmp_path / "whole", 40)
    assert resumed.keys() == uninterrupted.keys()
    for name, value in uninterrupted.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)
    lines = [read_metrics(folder) for folder in (killed, tmp_path / "whole")]
    for line in [*lines[0], *lines[1]]:
        del line["clips_per_second"]
    assert lines[0] == lines[1]


@pytest.mark.slow
def test_kills_at_any_moment_change_nothing(clips, tmp_path):
    """Saves and log lines after every step: kills fall into them."""
    settings = (
        "--exact_resume",
        *(f"--config.{name}" for name in ("steps=40", "steps_per_call=1", "checkpoint_every=1")),
    )
    random = np.random.default_rng(0)
    often, whole = tmp_path / "often", tmp_path / "whole"
    kills = 0
    for least in (1, 12, 24):
        process = command(clips, often, *settings)
        while max(Checkpoints(often / "checkpoints").steps(), default=0) < least:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.2))
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    for workdir in (often, whole):
        process = command(clips, workdir, *settings)
        output = process.communicate(timeout=600)
        assert process.returncode == 0, output
    assert kills == 3
    resumed, uninterrupted = arrays(often, 40), arrays(whole, 40)
    for name, value in uninterrupted.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)
    steps = [[line["step"] for line in read_metrics(folder)] for folder in (often, whole)]
    assert steps[0] == steps[1] == list(range(1, 41))
    # Nothing half-written stays behind.
    assert sorted(p.name for p in often.rglob("*.npz")) == sorted(
        p.name for p in whole.rglob("*.npz")
    )


@pytest.mark.slow
def test_without_exactness_a_resumed_run_agrees_to_a_tolerance(finished, clips, tmp_path):
    """Its first steps come from the checkpoint of another run: only rounding may differ."""
    workdir = tmp_path / "resumed"
    (workdir / "checkpoints").mkdir(parents=True)
    for name in ("run.json", "metrics.jsonl", "checkpoints/step-00000008.npz"):
        (workdir / name).write_bytes((finished / name).read_bytes())
    # A file that was cut is passed over.
    cut = (finished / "checkpoints" / "step-00000012.npz").read_bytes()[:-1000]
    (workdir / "checkpoints" / "step-00000012.npz").write_bytes(cut)
    assert pretrain(micro.get_config(), clips, workdir) == 0
    old, new = (
        [line for line in read_metrics(folder) if "loss" in line] for folder in (finished, workdir)
    )
    assert [line["step"] for line in new] == list(range(1, 13))
    for before, after in zip(old, new, strict=True):
        # Threads add up in varying order.
        assert after["loss"] == pytest.approx(before["loss"], rel=1e-3)


@pytest.mark.slow
def test_sigterm_saves_and_the_same_command_goes_on(clips, tmp_path):
    workdir = tmp_path / "run"
    endless = ("--config.steps=100000", "--config.checkpoint_every=100000")
    process = command(clips, workdir, *endless)
    wait_for(workdir / "metrics.jsonl", process)
    process.terminate()
    output = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, output
    (checkpoint,) = (workdir / "checkpoints").iterdir()
    step = int(checkpoint.stem.removeprefix("step-"))
    assert read_metrics(workdir)[-1]["step"] <= step < 100000
    done = [line for line in read_metrics(workdir) if line["step"] <= step]
    again = command(clips, workdir, *endless)
    while read_metrics(workdir)[-1]["step"] <= step + 2:
        assert again.poll() is None, again.communicate()
        time.sleep(0.1)
    again.send_signal(signal.SIGINT)
    output = again.communicate(timeout=120)
    assert again.returncode == 128 + signal.SIGINT, output
    lines = read_metrics(workdir)
    assert lines[: len(done)] == done, "to the clips per second: nothing was done again"
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))


@pytest.mark.slow
def test_a_compiled_run_equals_a_plain_one(finished, clips, tmp_path):
    config = micro.get_config()
    config.jit_compile = True
    assert pretrain(config, clips, tmp_path) == 0
    compiled, plain = (
        [line["loss"] for line in read_metrics(folder) if "loss" in line]
        for folder in (tmp_path, finished)
    )
    assert compiled == pytest.approx(plain, rel=1e-3)


def test_what_a_run_leaves_is_what_is_exported(finished, clips):
    """The names and shapes of the newest checkpoint, not only of files that tests make up."""
    checkpoint = open_checkpoint(finished)
    model = create_model(micro.NAME)
    load_encoder(model, checkpoint)
    assert checkpoint.step == 12 and checkpoint.run.model == micro.NAME
    saved = arrays(finished, 12)
    for name, variable in named_variables(model, "encoder").items():
        np.testing.assert_array_equal(variable, saved[name], err_msg=name)
    assert checkpoint.provenance()["data"]["content_hash"] == open_clips(clips).content_hash


@pytest.mark.slow
def test_numbers_that_explode_stop_the_run_and_keep_the_last_checkpoint(clips, tmp_path):
    config = micro.get_config()
    config.update({"learning_rate": 1e30, "checkpoint_every": 2, "warmup_steps": 4})
    with pytest.raises(PretrainError, match=r"Step \d+: .* (finite|times its first)") as caught:
        pretrain(config, clips, tmp_path)
    assert "is kept" in str(caught.value)
    kept = sorted((tmp_path / "checkpoints").iterdir())
    with np.load(kept[-1]) as file:
        assert all(np.isfinite(file[name]).all() for name in file.files if name != "metadata")


def test_a_loss_that_explodes_stops_the_run(tmp_path):
    """By itself, with finite numbers: SimCLR's bounded loss may reach twice its first value."""
    config = micro.get_config()
    assert config.explosion == 2.0
    run = trainer._Run(config, tmp_path, None, None, None, Checkpoints(tmp_path), True, None, None)
    names = ("loss", "gradient_norm")
    run._check(np.array([[5.0, 1.0], [9.9, 1.0]]), names, 0)
    with pytest.raises(PretrainError, match=r"Step 13: the loss is 10.1, 2 times its first"):
        run._check(np.array([[4.0, 1.0], [10.1, 1.0]]), names, 11)
    with pytest.raises(PretrainError, match=r"Step 12: gradient_norm is not a finite number"):
        run._check(np.array([[4.0, np.nan]]), names, 11)


def test_one_process_at_a_time(finished, clips):
    with (
        only_process(finished),
        pytest.raises(PretrainError, match="Another process trains"),
    ):
        pretrain(micro.get_config(), clips, finished)


def test_checkpoints_without_a_record_are_refused(finished, clips, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    name = "checkpoints/step-00000012.npz"
    (tmp_path / name).write_bytes((finished / name).read_bytes())
    with pytest.raises(PretrainError, match=r"no run.json"):
        pretrain(micro.get_config(), clips, tmp_path)
    (tmp_path / "run.json").write_text('{"schema": 1}')
    with pytest.raises(PretrainError, match="not a record"):
        pretrain(micro.get_config(), clips, tmp_path)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("exact", [False, True])
def test_gradients_added_up_in_bfloat16_are_said(monkeypatch, capsys, tmp_path, precision, exact):
    monkeypatch.setattr(trainer, "sums_bfloat16_exactly", lambda: exact)
    config = micro.get_config()
    config.precision = precision
    with pytest.raises(DataError):
        pretrain(config, tmp_path / "no_clips", tmp_path / "run", progress="bar")
    said = "adds up gradients in bfloat16" in capsys.readouterr().err
    assert said == (precision == "mixed_bfloat16" and not exact)


def test_a_bucket_is_no_workdir(clips):
    with pytest.raises(PretrainError, match="folder of this machine"):
        pretrain(micro.get_config(), clips, "gs://bucket/run")


def test_a_missed_probe_is_made_up_for(finished, clips, tmp_path):
    """A kill between the last checkpoint and its probe."""
    (tmp_path / "checkpoints").mkdir()
    for name in ("run.json", "checkpoints/step-00000012.npz"):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    lines = (finished / "metrics.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "metrics.jsonl").write_text("".join(lines[:-1]))
    assert "probe/mean" in lines[-1]
    config = micro.get_config()
    config.probe.every = 4
    assert pretrain(config, clips, tmp_path, probe=Examiner()) == 0
    assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])["probe/mean"] == 38


def test_other_settings_cannot_continue_a_run(finished, clips):
    config = micro.get_config()
    config.learning_rate = 2e-2
    with pytest.raises(PretrainError, match=r"began with learning_rate=0.01 .* 0.02"):
        pretrain(config, clips, finished)


def test_exactness_needs_the_same_versions(finished):
    old = read_record(finished)
    new = json.loads(json.dumps(old))
    new["environment"]["tensorflow"] = "9.9.9"
    check_resumable(old, new, finished)
    for record in (old, new):
        record["environment"]["exact_resume"] = True
    with pytest.raises(PretrainError, match=r"began with tensorflow=.* now it is 9\.9\.9"):
        check_resumable(old, new, finished)


def test_harmless_settings_may_change(finished, clips):
    config = micro.get_config()
    config.update({"log_every": 5, "keep": 1, "steps_per_call": 7})
    assert pretrain(config, clips, finished) == 0


def test_batch_and_chunk_must_fit(clips, tmp_path):
    config = micro.get_config()
    config.chunk = 5
    with pytest.raises(PretrainError, match="chunk=5 does not divide the 16 crops"):
        pretrain(config, clips, tmp_path)
    config.update({"chunk": 0, "batch": 64})
    with pytest.raises(DataError, match="24"):
        pretrain(config, clips, tmp_path)


@pytest.mark.slow
def test_a_chunk_of_more_than_all_views(clips, tmp_path):
    """Settings for many devices serve a few clips, too: all at once."""
    config = micro.get_config()
    config.update({"chunk": 1000, "steps": 4})
    assert pretrain(config, clips, tmp_path / "small") == 0
