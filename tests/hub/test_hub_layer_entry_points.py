"""HubLayer: which function of a module is called, and how."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from hares_tf.hub import HubError, HubLayer

WAVEFORMS = np.random.default_rng(0).normal(0, 1, (3, 16)).astype(np.float32)


class Several(tf.Module):
    """Three functions of a waveform; an average that training moves."""

    variables = None
    trainable_variables = None

    def __init__(self):
        super().__init__()
        self.scale = tf.Variable(2.0)
        self.average = tf.Variable(0.5, trainable=False)
        self.variables, self.trainable_variables = [self.scale, self.average], [self.scale]

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32)])
    def __call__(self, waveform):
        return self.scale * waveform[:, :2]

    @tf.function(input_signature=[tf.TensorSpec([1, None], tf.float32)])
    def batch_of_one(self, waveform):
        peak = self.scale * tf.reduce_max(waveform)
        return {"peak": peak[tf.newaxis, tf.newaxis], "ends": waveform[:, -3:]}

    @tf.function
    def with_mode(self, waveform, training):
        if training:
            self.average.assign(0.0)
        return self.average * self.scale * waveform


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    module = Several()
    spec = tf.TensorSpec([None, None], tf.float32)
    module.with_mode.get_concrete_function(spec, training=False)
    folder = tmp_path_factory.mktemp("several") / "module"
    signature = tf.function(lambda waveform: {"sum": tf.reduce_sum(waveform, 1, keepdims=True)})
    tf.saved_model.save(
        module, str(folder), signatures={"sums": signature.get_concrete_function(spec)}
    )
    return folder


def test_a_function_or_signature_is_called_by_its_name(several):
    np.testing.assert_allclose(HubLayer(several)(WAVEFORMS), 2 * WAVEFORMS[:, :2])
    layer = HubLayer(several, entry_point="sums")
    np.testing.assert_allclose(layer(WAVEFORMS), WAVEFORMS.sum(1, keepdims=True), rtol=1e-5)
    again = HubLayer.from_config(layer.get_config())
    np.testing.assert_array_equal(again(WAVEFORMS), layer(WAVEFORMS))
    with pytest.raises(HubError, match="no function or signature 'absent'"):
        HubLayer(several, entry_point="absent")


def test_a_batch_of_exactly_one_is_called_for_each_row(several):
    layer = HubLayer(several, entry_point="batch_of_one")
    peaks = 2 * WAVEFORMS.max(1, keepdims=True)
    for rows in (1, 3):
        outputs = layer(WAVEFORMS[:rows])
        np.testing.assert_allclose(outputs["peak"], peaks[:rows])
        np.testing.assert_allclose(outputs["ends"], WAVEFORMS[:rows, -3:])
    inputs = keras.Input((16,))
    model = keras.Model(inputs, layer(inputs)["peak"])
    np.testing.assert_allclose(model.predict(WAVEFORMS, verbose=0), peaks)


def test_a_module_in_the_tf1_format_is_used_frozen(tmp_path):
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        waveform = v1.placeholder(tf.float32, [None, None])
        gain = v1.get_variable("gain", initializer=[2.0])
        peak = gain * tf.reduce_max(waveform, axis=1, keepdims=True)
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(tmp_path / "tf1"))
        signature = v1.saved_model.predict_signature_def({"default": waveform}, {"default": peak})
        builder.add_meta_graph_and_variables(session, [], {"default": signature})
        builder.save()
    (tmp_path / "tf1" / "tfhub_module.pb").write_bytes(b"\x08\x03")
    layer = HubLayer(tmp_path / "tf1")
    np.testing.assert_allclose(layer(WAVEFORMS), 2 * WAVEFORMS.max(1, keepdims=True))
    with pytest.raises(HubError, match="lists no trainable_variables"):
        HubLayer(tmp_path / "tf1", trainable=True)


def test_training_in_inference_mode(several):
    """Of a function that was traced for inference only."""
    with pytest.raises(HubError, match="traced for inference only"):
        HubLayer(several, trainable=True, entry_point="with_mode")
    arguments = {"training": False}
    layer = HubLayer(several, trainable=True, entry_point="with_mode", arguments=arguments)
    assert not layer.has_training_mode and layer.module.average.numpy() == 0.5
    with tf.GradientTape() as tape:
        outputs = layer(WAVEFORMS, training=True)
    np.testing.assert_allclose(outputs, WAVEFORMS)
    gradient = tape.gradient(outputs, layer.trainable_variables[0].value)
    np.testing.assert_allclose(gradient, 0.5 * WAVEFORMS.sum(), rtol=1e-4)
