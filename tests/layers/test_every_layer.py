"""One suite for every layer: configuration, files, precisions, gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from hares_tf import layers, models
from hares_tf.audio import LogMel, Standardize
from hares_tf.models.log_mel_statistics import LogMelStatistics
from hares_tf.objectives.simclr import Projector


def _images(*shape):
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


IMAGE = _images(2, 5, 6, 8)
SPECTROGRAM = np.abs(_images(2, 7, 80, 1))
#: Layers with what they are called with.
CASES = {
    "LogMel": (lambda **k: LogMel(**k), (0.1 * _images(2, 1600),)),
    "Standardize": (lambda **k: Standardize(**k), (SPECTROGRAM,)),
    "ScaledWSConv2D": (
        lambda **k: layers.ScaledWSConv2D(8, (3, 1), (2, 1), groups=4, input_scale=1.5, **k),
        (IMAGE,),
    ),
    "SqueezeExcite": (lambda **k: layers.SqueezeExcite(**k), (IMAGE,)),
    "NFBlock": (lambda **k: layers.NFBlock(16, 3, (1, 2), group_size=4, beta=0.9, **k), (IMAGE,)),
    "NFBlock with gradient checkpointing": (
        lambda **k: layers.NFBlock(8, 1, group_size=2, gradient_checkpointing=True, **k),
        (IMAGE,),
    ),
    "StochasticDepth": (lambda **k: layers.StochasticDepth(0.25, seed=3, **k), (IMAGE,)),
    "FastToSlowFusion": (
        lambda **k: layers.FastToSlowFusion(3, **k),
        (_images(2, 3, 5, 6), _images(2, 9, 5, 4)),
    ),
    "LogMelStatistics": (lambda **k: LogMelStatistics(**k), (SPECTROGRAM,)),
    "SlowFastNFNet": (lambda **k: models.SlowFastNFNet("tiny", **k), (SPECTROGRAM,)),
    "SinglePathNFNet": (lambda **k: models.SinglePathNFNet("tiny", "fast", **k), (SPECTROGRAM,)),
    "Projector": (lambda **k: Projector(8, 2, 4, **k), (_images(3, 6),)),
}
every_layer = pytest.mark.parametrize("name", CASES)


def test_every_layer_is_here():
    """Whatever can be saved by Keras' registry passes this suite."""
    ours = {
        registered.partition(">")[2]
        for registered in keras.saving.get_custom_objects()
        if registered.startswith("hares_tf>")
    }
    made_of_layers = {"WaveformEncoder", "NFNetPath", "HubLayer"}
    assert ours - made_of_layers <= set(CASES)


def _built(name, **arguments):
    make, inputs = CASES[name]
    keras.utils.set_random_seed(0)
    layer = make(**arguments)
    layer(*inputs)
    generator = np.random.default_rng(6)
    for weight in layer.weights:
        if weight.dtype in ("float32", "float64"):
            weight.assign(generator.normal(0.5, 0.3, weight.shape))
    return layer, inputs


@every_layer
def test_configuration_and_weights_restore_the_layer(name):
    layer, inputs = _built(name)
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(restored) is type(layer)
    assert restored.get_config() == layer.get_config()
    restored(*inputs)
    restored.set_weights(layer.get_weights())
    np.testing.assert_array_equal(np.asarray(restored(*inputs)), np.asarray(layer(*inputs)))


@every_layer
@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "float64"])
def test_precisions(name, dtype):
    layer, inputs = _built(name, dtype=dtype)
    assert keras.dtype_policies.get(layer.dtype_policy).name
    expected = "float64" if dtype == "float64" else "float32"
    floats = [v for v in layer.weights if "float" in v.dtype]
    assert {v.dtype for v in floats} <= {expected}
    output = np.asarray(keras.ops.cast(layer(*inputs), "float64"))
    assert np.isfinite(output).all()
    reference = np.asarray(keras.ops.cast(_built(name)[0](*inputs), "float64"))
    # Of the largest value: eight bits, through dozens of layers in the networks.
    limit = 1e-5 if dtype == "float64" else 0.1
    assert np.abs(output - reference).max() <= limit * np.abs(reference).max()


@every_layer
def test_every_weight_gets_a_finite_gradient(name):
    layer, inputs = _built(name)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(layer(*inputs)))
    gradients = tape.gradient(loss, [v.value for v in layer.trainable_variables])
    assert all(g is not None and np.isfinite(g).all() for g in gradients)
