"""Objectives with state of their own, and encoders with batch normalization, in training."""

import os
import subprocess
import sys
from pathlib import Path

import batch_norm_encoder
import micro
import momentum_objective
import numpy as np
import pytest

from hares_tf.pretrain import PretrainError, pretrain
from hares_tf.pretrain.checkpoints import Checkpoints
from hares_tf.pretrain.gradient_caching import check_chunkable
from hares_tf.pretrain.learner import create_learner

PROGRAM = Path(__file__).with_name("contract_program.py")


@pytest.mark.parametrize("kind", [pytest.param("momentum", marks=pytest.mark.slow), "batch_norm"])
def test_two_replicas_equal_one_device(tmp_path, kind):
    arrays = []
    path = os.pathsep.join([str(PROGRAM.parent), str(PROGRAM.parents[1]), str(PROGRAM.parents[2])])
    for replicas in (1, 2):
        output = tmp_path / f"{replicas}.npz"
        subprocess.run(
            [sys.executable, str(PROGRAM), str(output), kind, str(replicas)],
            env={**os.environ, "PYTHONPATH": path},
            check=True,
        )
        with np.load(output) as file:
            arrays.append({name: file[name] for name in file.files})
    one, two = arrays
    assert one.keys() == two.keys()
    for name, value in one.items():
        # Sums over replicas are added up in another order.
        np.testing.assert_allclose(two[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    if kind == "momentum":
        assert one["objective/updates"] == two["objective/updates"] == 2.0
        kernel = "network/slow/stem_conv0/kernel"
        moved = one[f"encoder/{kernel}"] - one[f"objective/target/{kernel}"]
        assert np.abs(moved).max() > 0  # the target follows at a distance
    else:
        assert np.abs(one["encoder/network/norm/moving_mean"]).max() > 0.01


def test_state_of_an_objective_is_in_checkpoints(tmp_path):
    config = momentum_objective.get_config()
    learner = create_learner(config, 0)
    variables = learner.named_variables()
    names = [name for name in variables if name.startswith("objective/")]
    assert len(names) == len(learner.encoder.weights) + 1  # the target and the counter
    learner.objective.after_update(learner.encoder, learner.head)
    Checkpoints(tmp_path).save(variables, 1)
    before = {name: np.asarray(variables[name]) for name in names}
    config.seed = 1
    other = create_learner(config, 0).named_variables()
    Checkpoints(tmp_path).restore(other)
    for name, value in before.items():
        np.testing.assert_array_equal(np.asarray(other[name]), value)
    assert other["objective/updates"] == 1.0


@pytest.mark.slow
def test_a_run_with_state_goes_on_from_its_checkpoint(clips, tmp_path):
    config = momentum_objective.get_config()
    config.update({"steps": 8, "warmup_steps": 1, "checkpoint_every": 4, "steps_per_call": 1})
    assert pretrain(config, clips, tmp_path / "whole") == 0
    assert pretrain(config, clips, tmp_path / "parts") == 0
    # As if the run had been killed after the checkpoint of step 4.
    (tmp_path / "parts" / "checkpoints" / "step-00000008.npz").unlink()
    assert pretrain(config, clips, tmp_path / "parts") == 0
    contents = []
    for name in ("whole", "parts"):
        path = Checkpoints(tmp_path / name / "checkpoints").path(8)
        with np.load(path) as file:
            contents.append({key: file[key] for key in file.files if key != "metadata"})
    assert contents[0]["objective/updates"] == 8.0
    for name, value in contents[0].items():
        # Not every bit: threads add up in varying order, see --exact_resume.
        np.testing.assert_allclose(contents[1][name], value, rtol=1e-3, atol=1e-5, err_msg=name)


def test_batch_normalization_trains_and_is_in_checkpoints(clips, tmp_path):
    config = batch_norm_encoder.get_config()
    config.update({"steps": 4, "warmup_steps": 1, "checkpoint_every": 4})
    config.objective = {"name": "simclr", "hidden": 8, "layers": 1, "size": 4}
    config.chunk = 2
    with pytest.raises(PretrainError, match="batch normalization"):
        pretrain(config, clips, tmp_path / "chunks")
    config.chunk = 0
    assert pretrain(config, clips, tmp_path / "run") == 0
    with np.load(Checkpoints(tmp_path / "run" / "checkpoints").path(4)) as file:
        assert np.abs(file["encoder/network/norm/moving_mean"]).max() > 0.01


def test_gradient_caching_is_refused_where_it_is_not_exact():
    with pytest.raises(PretrainError, match="momentum cannot be computed in chunks"):
        check_chunkable(create_learner(momentum_objective.get_config(), 0), "momentum")
    check_chunkable(create_learner(micro.get_config(), 0), "simclr")
