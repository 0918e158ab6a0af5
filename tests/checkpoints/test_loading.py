"""`load_checkpoint` finds the format of a file by itself."""

import keras
import micro
import numpy as np
import pytest

from hares_tf.checkpoints import load_checkpoint
from hares_tf.checkpoints.errors import CheckpointError
from hares_tf.models import create_model
from hares_tf.pretrain.checkpoints import Checkpoints
from hares_tf.utils.files import write_json


@pytest.fixture(scope="module")
def encoder():
    keras.utils.set_random_seed(1)
    return create_model(micro.NAME)


@pytest.fixture
def run(tmp_path):
    """The folder of a run, as hares-pretrain leaves it."""
    learner = micro.awake_learner(micro.get_config())
    record = {"schema": 1, "model": micro.NAME, "objective": "simclr", "label_names": []}
    write_json(tmp_path / "run" / "run.json", record)
    Checkpoints(tmp_path / "run" / "checkpoints").save(learner.named_variables(), 4)
    return tmp_path / "run", learner.encoder


def test_runs_and_their_checkpoints(encoder, run):
    folder, trained = run
    for source in (folder, folder / "checkpoints" / "step-00000004.npz"):
        encoder.set_weights([np.zeros(weight.shape) for weight in encoder.weights])
        load_checkpoint(encoder, source)
        for loaded, expected in zip(encoder.get_weights(), trained.get_weights(), strict=True):
            np.testing.assert_array_equal(loaded, expected)


def test_keras_weights(encoder, tmp_path):
    path = tmp_path / "a.weights.h5"
    encoder.save_weights(path)
    expected = encoder.get_weights()
    encoder.set_weights([np.zeros(weight.shape) for weight in encoder.weights])
    load_checkpoint(encoder, path)
    for loaded, value in zip(encoder.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(loaded, value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none.npz", "no such file"),
        ("text.txt", "no known format"),
        ("broken.weights.h5", "does not hold the weights"),
        ("broken.npz", "not an .npz"),
    ],
)
def test_refusals(encoder, tmp_path, name, words):
    if name != "none.npz":
        (tmp_path / name).write_text("hello")
    with pytest.raises(CheckpointError, match=words):
        load_checkpoint(encoder, tmp_path / name)
