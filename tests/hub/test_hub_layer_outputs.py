"""HubLayer: inputs and outputs of modules of every kind, and messages about mistakes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hub.hub_layer_models import changed, fitted, sequential
from hub.toy_modules import Toy, embedding

from hares_tf.hub import HubError, HubLayer


def test_mixed_precision(toy_modules, labels):
    """Waveforms reach the module in float32: a bfloat16 has 8 bits, and would lose these."""
    waveform = np.float32(1 + 1e-4 * np.arange(8)[:, None] * np.ones(16))
    layer = HubLayer(toy_modules["plain"], trainable=True, dtype="mixed_bfloat16")
    output = layer(waveform)
    assert output.dtype == tf.bfloat16
    np.testing.assert_array_equal(output, tf.cast(embedding(waveform), tf.bfloat16))
    fine = keras.Sequential([keras.Input((None,)), HubLayer(toy_modules["table"], dtype="float64")])
    loud = waveform[:, :1] > 0
    assert fine(waveform).dtype == tf.float64
    np.testing.assert_allclose(fine(waveform), embedding(waveform) + 10 * loud, atol=1e-5)
    model = fitted(sequential(layer), waveform, labels)
    assert changed(layer) == ["kernel", "bias", "calls"]
    assert {v.dtype for v in layer.trainable_variables} == {"float32"}
    assert model.output_shape == (None, 2)


def test_unknown_batch_and_length(toy_modules):
    inputs = keras.Input((None,))
    assert HubLayer(toy_modules["plain"])(inputs).shape == (None, 3)
    outputs = HubLayer(toy_modules["dictionary"])(inputs)
    assert {name: one.shape for name, one in outputs.items()} == {
        "embedding": (None, 3),
        "energy": (None,),
    }
    scores, embeddings = HubLayer(toy_modules["one_waveform"])(inputs)
    assert scores.shape == (None, None) and embeddings.shape == (None, None, 3)
    assert HubLayer(toy_modules["fixed"])(inputs).shape == (None, 3)


def test_outputs(toy_modules, waveform):
    expected = embedding(waveform)
    by_name = HubLayer(toy_modules["dictionary"], output_key="embedding")
    np.testing.assert_allclose(by_name(waveform), expected, atol=1e-6)
    everything = HubLayer(toy_modules["dictionary"])(waveform)
    np.testing.assert_allclose(everything["energy"], (waveform**2).mean(1), atol=1e-6)
    only = HubLayer(toy_modules["signature"])
    np.testing.assert_allclose(only(waveform), expected, atol=1e-6)
    assert set(HubLayer(toy_modules["signature_of_two"])(waveform)) == {"embedding", "energy"}
    logits = HubLayer(toy_modules["classifier"], output_key="logits")
    np.testing.assert_allclose(logits(waveform), 2 * expected, atol=1e-6)
    np.testing.assert_allclose(HubLayer(toy_modules["classifier"])(waveform), expected, atol=1e-6)
    double = HubLayer(toy_modules["plain"])(waveform.astype(np.float64))
    assert double.dtype == tf.float32


def test_an_output_of_another_signature(tmp_path, waveform):
    toy = Toy()
    toy.list_variables()
    spec = tf.TensorSpec([None, None], tf.float32, name="waveform")
    toy.__call__ = tf.function(toy.embed, input_signature=[spec])

    @tf.function(input_signature=[spec, tf.TensorSpec([None], tf.int32, name="lengths")])
    def a_lengths(waveform, lengths):
        return {"embedding": toy.embed(waveform), "frames": tf.cast(lengths, tf.float32)}

    @tf.function(input_signature=[spec])
    def frames(waveform):
        return {"embedding": toy.embed(waveform), "frames": 2 * toy.embed(waveform)}

    signatures = {"a_lengths": a_lengths, "frames": frames}
    tf.saved_model.save(toy, str(tmp_path / "m"), signatures=signatures)
    layer = HubLayer(tmp_path / "m", output_key="frames")
    np.testing.assert_allclose(layer(waveform), 2 * embedding(waveform), atol=1e-6)
    with pytest.raises(HubError, match="no output 'step'; it has: 'embedding', 'frames'"):
        HubLayer(tmp_path / "m", output_key="step")


def test_one_waveform_at_a_time(toy_modules, waveform, labels):
    layer = HubLayer(toy_modules["one_waveform"], trainable=True, output_key=1)
    framed = np.stack([waveform[:, i : i + 4] for i in range(0, 13, 2)], 1)
    expected = embedding(framed.reshape(-1, 4)).reshape(8, 7, 3)
    np.testing.assert_allclose(layer(waveform), expected, atol=1e-6)
    inputs = keras.Input((None,))
    pooled = keras.layers.GlobalAveragePooling1D()(layer(inputs))
    fitted(keras.Model(inputs, keras.layers.Dense(2)(pooled)), waveform, labels)
    assert changed(layer) == ["kernel", "bias", "calls"]


def test_further_arguments(tmp_path, waveform):
    class Rated(tf.Module):
        @tf.function
        def __call__(self, samples, sample_rate):
            return tf.reduce_mean(samples, 1, keepdims=True) * tf.cast(sample_rate, tf.float32)

    module = Rated()
    spec = tf.TensorSpec([None, None], tf.float32)
    module.__call__.get_concrete_function(spec, tf.TensorSpec([], tf.int32))
    tf.saved_model.save(module, str(tmp_path))
    with pytest.raises(HubError, match=r"inputs: samples, sample_rate\)"):
        HubLayer(tmp_path)
    layer = HubLayer(tmp_path, arguments={"sample_rate": 100})
    np.testing.assert_allclose(layer(waveform), 100 * waveform.mean(1, keepdims=True), rtol=1e-5)
    assert HubLayer.from_config(layer.get_config()).arguments == {"sample_rate": 100}


def test_mistakes(toy_modules, tmp_path, waveform, monkeypatch):
    def message(handle, inputs=None, **arguments):
        with pytest.raises(HubError) as caught:
            layer = HubLayer(handle, **arguments)
            layer(inputs)
        return str(caught.value).replace(str(handle), "HANDLE")

    assert message(toy_modules["dictionary"], output_key="logits") == (
        "HANDLE has no output 'logits'; it has: 'embedding', 'energy'"
    )
    assert message(toy_modules["one_waveform"], output_key=2) == (
        "HANDLE has no output 2; it has: 0, 1"
    )
    assert message(toy_modules["plain"], output_key="embedding") == (
        "HANDLE has no output 'embedding'; it gives a single tensor: leave output_key out"
    )
    assert "lists no trainable_variables" in message(toy_modules["unlisted"], trainable=True)
    assert "traced for inference only" in message(toy_modules["inference_only"], trainable=True)
    frozen = HubLayer(toy_modules["inference_only"])
    np.testing.assert_allclose(frozen(waveform, training=True), embedding(waveform), atol=1e-6)
    with pytest.raises(HubError, match="traced for inference only"):
        frozen.trainable = True
    assert (
        message(toy_modules["fixed"], waveform)
        == "HANDLE takes [any, 8], not a batch of shape (8, 16)."
    )
    assert message(toy_modules["plain"], keras.Input((None, 1))) == (
        "HANDLE takes [any, any], not a batch of shape (None, None, 1)."
    )
    assert "no such folder" in message(tmp_path / "nothing")
    assert "is a Python function" in message("python:os:system")
    (tmp_path / "model.keras").write_bytes(b"")
    assert "load it with keras.saving.load_model" in message(tmp_path / "model.keras")
    tf.saved_model.save(tf.Module(), str(tmp_path / "empty"))
    assert "is not callable and has no signature" in message(tmp_path / "empty")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert "KERAS_BACKEND=tensorflow" in message(toy_modules["plain"])
