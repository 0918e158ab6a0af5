"""HubLayer in files: Keras files, weights, configurations and exported models."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hub.hub_layer_models import KINDS, changed, fitted, sequential

from hares_tf.hub import HubError, HubLayer, locate
from hares_tf.utils._compat import flattened_layers


@pytest.mark.parametrize("kind", KINDS)
def test_keras_file(toy_modules, waveform, labels, tmp_path, kind):
    model = fitted(KINDS[kind](HubLayer(toy_modules["plain"], trainable=True)), waveform, labels)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        again.predict(waveform, verbose=0), model.predict(waveform, verbose=0)
    )
    layer = next(one for one in flattened_layers(again) if isinstance(one, HubLayer))
    assert layer.trainable and changed(layer) == ["kernel", "bias", "calls"]
    # The state of Adam came along, too: both go on alike.
    for one in (model, again):
        one.fit(waveform, labels, batch_size=4, shuffle=False, verbose=0)
    np.testing.assert_allclose(again(waveform), model(waveform), atol=1e-6)


def test_frozen_keras_file_with_unfrozen_weights(toy_modules, waveform, labels, tmp_path):
    """Weights keep their places when the layer is frozen after it was trained."""
    layer = HubLayer(toy_modules["plain"], trainable=True)
    model = fitted(sequential(layer), waveform, labels)
    layer.trainable = False
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    assert not again.layers[0].trainable
    np.testing.assert_array_equal(again(waveform), model(waveform))
    model.save_weights(tmp_path / "model.weights.h5")
    fresh = sequential(HubLayer(toy_modules["plain"]))
    fresh.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(fresh(waveform), model(waveform))


def test_config(toy_modules):
    layer = HubLayer(
        Path(toy_modules["dictionary"]), trainable=True, output_key="embedding", name="ears"
    )
    config = layer.get_config()
    assert config["handle"] == str(toy_modules["dictionary"])
    assert HubLayer.from_config(config).get_config() == config
    unlisted = HubLayer(toy_modules["unlisted"])
    unlisted.trainable = True  # as `model.trainable = True` does to every layer
    HubLayer.from_config(unlisted.get_config())


def test_a_file_fetches_nothing_unasked(toy_modules, tmp_path, monkeypatch):
    model = sequential(HubLayer(toy_modules["plain"]))
    model.layers[0].handle = "https://example.org/module"
    model.save(tmp_path / "model.keras")
    asked = []
    monkeypatch.setattr("hares_tf.hub.hub_layer._located", asked.append)
    with pytest.raises(HubError, match="would fetch and run https://example"):
        keras.saving.load_model(tmp_path / "model.keras")
    assert asked == []


@pytest.mark.parametrize("name", ["plain", "table", "signature", "unlisted", "one_waveform"])
def test_export(toy_modules, waveform, tmp_path, name):
    layer = HubLayer(toy_modules[name], output_key=1 if name == "one_waveform" else None)
    model = sequential(layer)
    model.export(tmp_path / "exported", verbose=False)
    served = tf.saved_model.load(tmp_path / "exported").signatures["serving_default"]
    (output,) = served(tf.constant(waveform)).values()
    np.testing.assert_allclose(output, model(waveform), atol=1e-6)
    # And is a module for the next layer.
    np.testing.assert_allclose(
        HubLayer(tmp_path / "exported")(waveform), model(waveform), atol=1e-6
    )


def test_a_card_for_an_exported_model(toy_modules, tmp_path):
    """Keras' export knows nothing of cards; with one, the result needs no flags."""
    layer = HubLayer(toy_modules["plain"])
    model = sequential(layer)
    model.export(tmp_path / "mine", verbose=False)
    with pytest.raises(HubError, match="no model card; give sample_rate="):
        layer.write_card(tmp_path / "mine")
    with pytest.raises(HubError, match="holds no saved_model"):
        layer.write_card(tmp_path / "absent", sample_rate=8000)
    with pytest.raises(HubError, match="JSON data only"):
        layer.write_card(tmp_path / "mine", sample_rate=8000, classes={1, 2})
    layer.write_card(tmp_path / "mine", sample_rate=8000, classes=["dog", "cat"])
    module = locate(tmp_path / "mine")
    assert dict(module.card) == {
        "name": "mine",
        "source": "plain",
        "sample_rate": 8000,
        "classes": ["dog", "cat"],
    }
    second = HubLayer(tmp_path / "mine")
    sequential(second).export(tmp_path / "second", verbose=False)
    second.write_card(tmp_path / "second")
    assert locate(tmp_path / "second").card["sample_rate"] == 8000
    assert not list(tmp_path.glob("*/.tmp-*"))
