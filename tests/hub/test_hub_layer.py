"""HubLayer against the closed form of small modules: what is trained, and what is not."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from hub.hub_layer_models import KINDS, LOSS, changed, fitted, sequential
from hub.toy_modules import BIAS, KERNEL, embedding, features

from hares_tf.hub import HubLayer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trainable", [False, True])
def test_fit_updates_what_is_trainable(toy_modules, waveform, labels, kind, trainable):
    layer = HubLayer(toy_modules["plain"], trainable=trainable)
    model = KINDS[kind](layer)
    np.testing.assert_allclose(layer(waveform), embedding(waveform), atol=1e-6)
    fitted(model, waveform, labels)
    assert len(model.trainable_variables) == 2 + 2 * trainable
    assert changed(layer) == (["kernel", "bias", "calls"] if trainable else [])


@pytest.mark.parametrize("name", ["SGD", "RMSprop", "AdamW", "Adagrad", "Lion", "Lamb", "Ftrl"])
def test_optimizers(toy_modules, waveform, labels, name):
    layer = HubLayer(toy_modules["plain"], trainable=True)
    optimizer = getattr(keras.optimizers, name)(0.01)
    model = sequential(layer)
    model.compile(optimizer, LOSS, run_eagerly=True)
    model.train_on_batch(waveform, labels)
    assert changed(layer) == ["kernel", "bias", "calls"]


def test_one_step_is_the_gradient(toy_modules, waveform):
    """One step of plain descent on the mean of the outputs, whose gradient is known."""
    layer = HubLayer(toy_modules["plain"], trainable=True)
    model = keras.Sequential([keras.Input((None,)), layer])
    model.compile(keras.optimizers.SGD(1.0), lambda _, output: keras.ops.mean(output, -1))
    model.train_on_batch(waveform, np.zeros(len(waveform)))
    # The regularization adds the variables themselves.
    slope = np.repeat(features(waveform).mean(0)[:, None] / 3, 3, 1)
    np.testing.assert_allclose(layer.module.kernel, KERNEL - slope - KERNEL, atol=1e-6)
    np.testing.assert_allclose(layer.module.bias, BIAS - 1 / 3 - BIAS, atol=1e-6)


def test_regularization_losses(toy_modules, waveform):
    layer = HubLayer(toy_modules["plain"], trainable=True)
    inputs = keras.Input((None,))
    twice = keras.Model(inputs, layer(inputs) + layer(keras.layers.Rescaling(2)(inputs)))
    twice(waveform)
    expected = 0.5 * (KERNEL**2).sum() + 0.5 * (BIAS**2).sum()
    np.testing.assert_allclose(sum(twice.losses), expected, rtol=1e-6)
    layer.trainable = False
    assert twice.losses == []
    assert HubLayer(toy_modules["plain"]).losses == []


def test_training_flag(toy_modules, waveform):
    layer = HubLayer(toy_modules["plain"], trainable=True)
    inference = embedding(waveform)
    np.testing.assert_allclose(layer(waveform, training=True), inference + 1, atol=1e-6)
    np.testing.assert_allclose(layer(waveform, training=False), inference, atol=1e-6)
    layer.trainable = False
    np.testing.assert_allclose(layer(waveform, training=True), inference, atol=1e-6)
    assert layer.module.calls.numpy() == 1
    other = HubLayer(toy_modules["without_training"], trainable=True)
    np.testing.assert_allclose(other(waveform, training=True), inference, atol=1e-6)


def test_trainable_can_be_toggled(toy_modules, waveform, labels):
    layer = HubLayer(toy_modules["plain"])
    model = fitted(sequential(layer), waveform, labels)
    assert changed(layer) == []
    layer.trainable = True
    fitted(model, waveform, labels)
    assert changed(layer) == ["kernel", "bias", "calls"]
    layer.trainable = False
    before = [value.copy() for value in layer.get_weights()]
    fitted(model, waveform, labels)
    assert all(map(np.array_equal, before, layer.get_weights()))
    model.trainable = False
    model.trainable = True
    fitted(model, waveform, labels)
    assert not any(map(np.array_equal, before, layer.get_weights()))


def backward_operations(layer, waveform, wrt_input: bool) -> int:
    """How many operations differentiation adds to the graph of one step."""

    def step(differentiate: bool):
        def run(waveform):
            scale = tf.constant(1.0)
            with tf.GradientTape() as tape:
                tape.watch([scale] if wrt_input else [])
                loss = tf.reduce_sum(head(layer(waveform * scale)))
            if not differentiate:
                return loss
            return tape.gradient(loss, [scale] if wrt_input else head.trainable_variables)

        traced = tf.function(run).get_concrete_function(waveform)
        graph = traced.graph.as_graph_def()
        return sum(len(f.node_def) for f in graph.library.function) + len(graph.node)

    head = keras.layers.Dense(2)
    head(layer(waveform))
    return step(True) - step(False)


def test_a_frozen_layer_costs_no_gradient(toy_modules, waveform):
    frozen, trained = (HubLayer(toy_modules["plain"], trainable=value) for value in (False, True))
    stopped = keras.layers.Lambda(lambda x: tf.stop_gradient(trained(x)))
    tensor = tf.constant(waveform)
    of_frozen = backward_operations(frozen, tensor, wrt_input=False)
    assert of_frozen == backward_operations(stopped, tensor, wrt_input=False)
    assert of_frozen < backward_operations(trained, tensor, wrt_input=False)
    with tf.GradientTape() as tape:
        frozen(tensor)
    assert tape.watched_variables() == ()
    with tf.GradientTape() as tape:
        HubLayer(toy_modules["unlisted"])(tensor)
    assert tape.watched_variables() == ()
    trained.trainable = False
    assert of_frozen == backward_operations(trained, tensor, wrt_input=False)


def test_gradients_pass_through_a_frozen_layer(toy_modules, waveform):
    """A layer below it may be trained."""
    layer = HubLayer(toy_modules["plain"])
    tensor = tf.constant(waveform)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        output = tf.reduce_sum(layer(tensor))
    expected = (KERNEL[0].sum() + 2 * waveform * KERNEL[1].sum()) / waveform.shape[1]
    np.testing.assert_allclose(tape.gradient(output, tensor), expected, atol=1e-6)


def test_variables_are_the_modules_own(toy_modules):
    """Pins the private interfaces: the layer's variables are the module's, not copies of them."""
    layer = HubLayer(toy_modules["plain"], trainable=True, name="hub")
    loaded = layer.module
    for own, of_module in zip(
        layer.weights, (loaded.kernel, loaded.bias, loaded.calls), strict=True
    ):
        assert isinstance(own, keras.Variable) and own.value is of_module
        assert own.shape == of_module.shape and own.dtype == of_module.dtype.name
    assert [v.path for v in layer.trainable_variables] == ["hub/dense_weight", "hub/dense_weight_1"]
    assert [v.path for v in layer.non_trainable_variables] == ["hub/calls"]
    layer.weights[0].assign(2 * KERNEL)
    np.testing.assert_array_equal(loaded.kernel, 2 * KERNEL)
    assert loaded.kernel.trainable
    layer.trainable = False
    assert not loaded.kernel.trainable and len(layer.non_trainable_variables) == 3


def test_signature_can_be_trained(toy_modules, waveform, labels):
    layer = HubLayer(toy_modules["signature"], trainable=True)
    fitted(sequential(layer), waveform, labels)
    assert changed(layer) == ["kernel", "bias"]


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).uniform(-0.5, 0.5, (2, 4000)).astype(np.float32)


@pytest.mark.slow
def test_slowfast(micro_module, noise):
    """The exported encoder as a layer: all its variables under names of their own."""
    layer = HubLayer(micro_module, trainable=True)
    loaded = layer.module
    assert len(layer.trainable_variables) == len(loaded.trainable_variables) > 100
    assert len(layer.variables) == len(loaded.variables)
    paths = [variable.path for variable in layer.variables]
    assert len(set(paths)) == len(paths) and not any(":" in path for path in paths)
    expected = loaded.signatures["serving_default"](waveform=tf.constant(noise))["embedding"]
    np.testing.assert_allclose(layer(noise), expected, atol=1e-6)


@pytest.mark.slow
def test_slowfast_is_trained_and_saved(tiny_module, noise, tmp_path):
    layer = HubLayer(tiny_module, trainable=True)
    model = keras.Sequential([keras.Input((None,)), layer, keras.layers.Dense(2)])
    for variable in layer.trainable_variables:  # at 0 they silence the gradients of all branches
        if "skip_gain" in variable.name:
            variable.assign(np.ones(variable.shape))
    before = layer.get_weights()
    model.compile("adam", LOSS)
    model.train_on_batch(noise, np.array([0, 1]))
    moved = [np.any(a != b) for a, b in zip(before, layer.get_weights(), strict=True)]
    assert all(moved[: len(layer.trainable_variables)])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert [v.path for v in again.layers[0].variables] == [v.path for v in layer.variables]
    np.testing.assert_allclose(again(noise), model(noise), atol=1e-6)


MIRRORED = """
import sys
import keras, numpy as np, tensorflow as tf
from hares_tf.hub import HubLayer

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
waveform = np.random.default_rng(0).uniform(-1, 1, (16, 16)).astype(np.float32)
results = {}
for name in ("one", "two"):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]) if name == "two" else None
    with strategy.scope() if strategy else tf.init_scope():
        layer = HubLayer(sys.argv[1], trainable=True)
        head = keras.layers.Dense(2, kernel_initializer="ones")
        model = keras.Sequential([keras.Input((None,)), layer, head])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.01), loss, jit_compile=False)
    model.fit(waveform, np.arange(16) % 2, batch_size=8, epochs=2, shuffle=False, verbose=0)
    results[name] = [value.numpy() for value in layer.trainable_variables]
    assert layer.module.calls.numpy() == 4, layer.module.calls
kernel = layer.module.kernel
assert len(layer.weights) == 3, layer.weights
assert type(kernel).__name__ == "MirroredVariable", type(kernel)
np.testing.assert_array_equal(*[part.numpy() for part in kernel.values])
for one, two in zip(results["one"], results["two"]):
    np.testing.assert_allclose(one, two, atol=1e-5)
layer.trainable = False
assert not any(part.trainable for part in kernel.values)
before = kernel.numpy()
with strategy.scope():
    model.compile("adam", loss, jit_compile=False)
model.fit(waveform, np.arange(16) % 2, batch_size=8, verbose=0)
np.testing.assert_array_equal(kernel.numpy(), before)
print("done")
"""


@pytest.mark.slow
def test_mirrored_strategy(toy_modules):
    """Two replicas learn what one does, and hold the same; in a process, for its two devices."""
    done = subprocess.run(
        [sys.executable, "-c", MIRRORED, str(toy_modules["plain"])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.endswith("done\n"), done.stderr[-2000:]
