"""A Hub module as a Keras layer: opening it, and what training changes."""

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from hares_tf.evaluation import Interface
from hares_tf.evaluation.encoders.probe import probe
from hares_tf.finetune import Settings, finetune, read_recordings
from hares_tf.finetune.encoder import open_module, trace
from hares_tf.finetune.errors import FinetuneError
from hares_tf.hub.loader import load, locate

RATE = 8000
RANDOM = np.random.default_rng(0)


class Normalized(tf.Module):
    """`[batch, samples] -> [batch, 2]`: batch normalization of energies, times a trained scale."""

    variables = None
    trainable_variables = None

    def __init__(self, trainable=True):
        super().__init__()
        self.mean = tf.Variable([0.5, 0.5], trainable=False, name="moving_mean")
        self.scale = tf.Variable([2.0, 3.0], name="scale")
        self.variables = [self.scale, self.mean]
        self.trainable_variables = [self.scale] if trainable else []

    @tf.function
    def __call__(self, waveform, training=False):
        differences = waveform[:, 1:] - waveform[:, :-1]
        energies = tf.stack(
            [tf.reduce_mean(waveform**2, axis=1), tf.reduce_mean(differences**2, axis=1)], axis=1
        )
        mean = self.mean
        if training:
            mean = tf.reduce_mean(energies, axis=0)
            self.mean.assign(0.9 * self.mean + 0.1 * mean)
        return self.scale * (energies - mean)


def saved(folder, trainable=True, modes=(False, True)):
    module = Normalized(trainable)
    for training in modes:
        spec = tf.TensorSpec([None, None], tf.float32, name="waveform")
        module.__call__.get_concrete_function(spec, training=training)
    tf.saved_model.save(module, str(folder))
    return locate(folder)


def opened(module, trainable=True, **stated):
    stated = Interface(sample_rate=RATE, **stated)
    embed, _, interface, _ = probe(module.handle, load(module), stated)
    return open_module(module, interface, trainable), embed


def moving_mean(encoder):
    return encoder.hub.module.mean.numpy()


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Noise and hum, ten recordings each."""
    folder = tmp_path_factory.mktemp("sounds")
    for label in ("hum", "noise"):
        (folder / label).mkdir()
        for number in range(10):
            samples = RANDOM.normal(0, 0.2, 800)
            samples = np.convolve(samples, np.ones(8) / 8, "same") if label == "hum" else samples
            soundfile.write(folder / label / f"{number}.wav", samples, RATE)
    return read_recordings(folder)


def test_opening_a_module_does_not_change_it(tmp_path):
    encoder, embed = opened(saved(tmp_path / "module"))
    waveforms = RANDOM.normal(0, 0.1, (2, 500)).astype(np.float32)
    encoder.check_against(embed, waveforms)
    np.testing.assert_array_equal(moving_mean(encoder), 0.5)
    assert encoder.hub.has_training_mode
    trace(encoder, training=True)(tf.ones([1, 80]))
    assert (moving_mean(encoder) != 0.5).all()


def test_a_module_that_gives_something_else_is_refused(tmp_path):
    encoder, embed = opened(saved(tmp_path / "module"))
    encoder.hub.module.mean.assign_add([0.1, 0.0])
    with pytest.raises(FinetuneError, match=r"differ by .* between two calls on the same sound"):
        encoder.check_against(embed, np.zeros((2, 500), np.float32))


def test_a_module_that_cannot_be_called_is_refused(tmp_path):
    module = saved(tmp_path / "module")
    _, _, interface, _ = probe("it", load(module), Interface(sample_rate=RATE))
    with pytest.raises(FinetuneError, match=r"cannot be called in a graph: .*no function or sign"):
        open_module(module, interface | {"entry_point": "absent"}, trainable=True)


@pytest.mark.parametrize(
    ("settings", "trainable", "changes"),
    [
        (Settings(epochs=2, learning_rate=1e-2, batch=4), True, True),
        (Settings(epochs=0), True, False),
        (Settings(epochs=2), False, False),
    ],
)
def test_moving_averages_are_updated_while_the_encoder_is_trained(
    settings, trainable, changes, sounds, tmp_path, monkeypatch
):
    from hares_tf.finetune.head import Score

    # The last epoch is the best one.
    monkeypatch.setattr(Score, "better_than", lambda self, other: True)
    module = saved(tmp_path / "module", trainable)
    known = Interface(sample_rate=RATE)
    outcome = finetune(module.path, sounds, tmp_path / "o", settings=settings, interface=known)
    written = tf.saved_model.load(str(outcome.output))
    values = {variable.name: variable.numpy() for variable in written.variables}
    moved = values["moving_mean:0"] != 0.5
    assert moved.all() if changes else not moved.any()
    assert [v.name for v in written.trainable_variables] == ["scale:0"] * trainable


def test_a_module_for_inference_only_is_trained_in_inference_mode(sounds, tmp_path):
    module = saved(tmp_path / "module", modes=(False,))
    known = Interface(sample_rate=RATE)
    settings = Settings(epochs=1)
    outcome = finetune(module.path, sounds, tmp_path / "o", settings=settings, interface=known)
    assert any("no training mode" in note for note in outcome.report["notes"])
    assert not outcome.report["training"]["skipped"]
    written = tf.saved_model.load(str(outcome.output))
    values = {variable.name: variable.numpy() for variable in written.variables}
    np.testing.assert_array_equal(values["moving_mean:0"], 0.5)
