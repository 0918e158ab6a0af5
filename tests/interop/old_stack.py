"""Our module under TensorFlow 2.15, Keras 2.15, tensorflow-hub 0.15 and tensorflow-addons 0.23.

Run by `make test-interop` in an environment of its own, without this package; what it leaves in
build/interop is read by `back_home.py`.
"""

import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_addons as tfa
import tensorflow_hub as hub

FOLDER = Path(os.environ["HARES_INTEROP"])
# Float32 sums in another order: the same limit as of an export's own conformance check.
TOLERANCE = 1e-5
SECONDS_OF_16_KHZ = 16_000


@pytest.fixture(scope="module")
def recorded():
    with np.load(FOLDER / "embeddings.npz", allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _cases(recorded):
    return [name.partition("/")[2] for name in recorded if name.startswith("waveform/")]


def _assert_equal(found, wanted):
    limit = TOLERANCE * max(1.0, np.abs(wanted).max())
    np.testing.assert_allclose(found, wanted, rtol=0, atol=limit)


def test_this_is_the_old_stack():
    assert tf.__version__.startswith("2.15.") and keras.__version__.startswith("2.15.")
    assert tfa.__version__.startswith("0.23.")


def test_the_embeddings_are_those_of_the_model(recorded):
    module = tf.saved_model.load(str(FOLDER / "module"))
    layer = hub.KerasLayer(str(FOLDER / "module"))
    served = module.signatures["serving_default"]
    assert len(_cases(recorded)) == 4
    for case in _cases(recorded):
        waveform, wanted = tf.constant(recorded[f"waveform/{case}"]), recorded[f"embedding/{case}"]
        # The Hann window of a frame begins with 0, so a single sample is silence.
        assert wanted.std() > 0.001 or case == "1x1"
        _assert_equal(module(waveform).numpy(), wanted)
        _assert_equal(layer(waveform).numpy(), wanted)
        _assert_equal(served(waveform=waveform)["embedding"].numpy(), wanted)


def _recordings():
    """Low and high tones in noise, and which is which."""
    random = np.random.default_rng(0)
    labels = np.arange(24) % 2
    hertz = np.where(labels, 2000.0, 300.0) * random.uniform(0.8, 1.2, 24)
    time = np.arange(SECONDS_OF_16_KHZ // 2) / SECONDS_OF_16_KHZ
    waveforms = 0.3 * np.sin(2 * np.pi * hertz[:, np.newaxis] * time)
    waveforms += random.normal(0, 0.05, waveforms.shape)
    return waveforms.astype(np.float32), tf.keras.utils.to_categorical(labels, 2)


def _classifier(trainable: bool):
    layer = hub.KerasLayer(str(FOLDER / "module"), trainable=trainable)
    inputs = tf.keras.Input([None], dtype=tf.float32, name="waveform")
    outputs = tf.keras.layers.Dense(2, activation="softmax")(layer(inputs))
    model = tf.keras.Model(inputs, outputs)
    model.compile(
        optimizer=tfa.optimizers.LAMB(0.003),
        loss="categorical_crossentropy",
        metrics=[tfa.metrics.F1Score(num_classes=2, average="macro", name="f1")],
    )
    return layer, model


@pytest.fixture(scope="module")
def fine_tuned():
    """A trained classifier, its layer, what the layer's weights were, and the history."""
    tf.keras.utils.set_random_seed(0)
    layer, model = _classifier(trainable=True)
    before = [variable.numpy() for variable in layer.trainable_weights]
    history = model.fit(*_recordings(), batch_size=8, epochs=8, verbose=0, shuffle=True).history
    return layer, model, before, history


def test_lamb_trains_all_of_the_module(fine_tuned):
    layer, _, before, history = fine_tuned
    changed = [
        not np.array_equal(old, new.numpy())
        for old, new in zip(before, layer.trainable_weights, strict=True)
    ]
    assert len(changed) > 50 and all(changed)
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    assert history["f1"][-1] > max(0.9, history["f1"][0])


def test_a_frozen_layer_stays_as_it_was():
    layer, model = _classifier(trainable=False)
    before = [variable.numpy() for variable in layer.weights]
    assert not layer.trainable_weights and len(before) > 50
    model.fit(*_recordings(), batch_size=8, epochs=1, verbose=0)
    for old, new in zip(before, layer.weights, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


def test_modules_for_the_way_back(fine_tuned, recorded):
    """A Keras 2 model that holds our fine-tuned layer, and a module of plain TensorFlow."""
    layer, _, _, _ = fine_tuned
    inputs = tf.keras.Input([None], dtype=tf.float32, name="waveform")
    keras_2 = tf.keras.Model(inputs, {"embedding": layer(inputs)})
    tf.saved_model.save(keras_2, str(FOLDER / "from_keras_2"))

    class Spectrum(tf.Module):
        """Mean and deviation of a log spectrum over time, scaled by a variable."""

        def __init__(self):
            super().__init__()
            self.scale = tf.Variable(0.5, name="scale")

        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name="waveform")])
        def __call__(self, waveform):
            magnitude = tf.abs(tf.signal.stft(waveform, 400, 160, pad_end=True))
            spectrum = self.scale * tf.math.log1p(1000.0 * magnitude)
            mean, variance = tf.nn.moments(spectrum, axes=[1])
            return tf.concat([mean, tf.sqrt(variance)], axis=1)

    plain = Spectrum()
    tf.saved_model.save(plain, str(FOLDER / "from_module"))
    card = json.dumps({"name": "spectrum_of_tf215", "sample_rate": SECONDS_OF_16_KHZ})
    (FOLDER / "from_module" / "model_card.json").write_text(card, encoding="utf-8")
    waveform = recorded["waveform/4x24007"]
    fresh = recorded["embedding/4x24007"]
    tuned = keras_2(waveform)["embedding"].numpy()
    assert np.abs(tuned - fresh).max() > 0.01  # otherwise the way back would prove nothing
    np.savez(
        FOLDER / "way_back.npz",
        waveform=waveform,
        from_keras_2=tuned,
        from_module=plain(waveform).numpy(),
    )
