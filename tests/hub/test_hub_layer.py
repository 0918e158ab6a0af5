"""HubLayer against the closed form of small modules, and with a real exported one."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hub.toy_modules import BIAS, KERNEL, Toy, embedding, features, save

from hares_tf.hub import HubError, HubLayer

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """Folders of toy modules, by what they are like."""
    root = tmp_path_factory.mktemp("toys")

    def outputs(toy, waveform, training):
        return {
            "embedding": toy.embed(waveform, training),
            "energy": tf.reduce_mean(waveform**2, 1),
        }

    def with_table(toy, waveform, training):
        if not hasattr(toy, "table"):
            entries = tf.lookup.KeyValueTensorInitializer([0, 1], [0.0, 10.0])
            toy.table = tf.lookup.StaticHashTable(entries, -1.0)
        loud = tf.cast(tf.reduce_max(waveform, 1, keepdims=True) > 0.5, tf.int32)
        return toy.embed(waveform, training) + toy.table.lookup(loud)

    def with_rate(toy, waveform, training):
        return toy.embed(waveform)

    def embed(toy, waveform, training):
        return toy.embed(waveform, training)

    def frames(toy, waveform, training):
        """As YAMNet: scores and embeddings of each frame of one waveform."""
        framed = tf.signal.frame(waveform, 4, 2)
        return tf.reduce_mean(framed, -1), toy.embed(framed, training)

    return {
        "plain": save(root / "plain", embed),
        "dictionary": save(root / "dictionary", outputs),
        "one_waveform": save(root / "one_waveform", frames, shape=[None]),
        "fixed": save(root / "fixed", embed, shape=[None, 8]),
        "table": save(root / "table", with_table),
        "signature": save(root / "signature", signature=lambda toy, x: {"embedding": toy.embed(x)}),
        "signature_of_two": save(
            root / "signature_of_two", signature=lambda toy, x: outputs(toy, x, False)
        ),
        "classifier": save(
            root / "classifier",
            embed,
            signature=lambda toy, x: {"embedding": toy.embed(x), "logits": 2 * toy.embed(x)},
        ),
        "unlisted": save(root / "unlisted", with_rate, training=(), lists=False),
        "without_training": save(root / "without_training", with_rate, training=()),
        "inference_only": save(root / "inference_only", embed, training=(False,)),
    }


@pytest.fixture(scope="module")
def waveform():
    return np.random.default_rng(0).uniform(-1, 1, (8, 16)).astype(np.float32)


@pytest.fixture(scope="module")
def labels():
    return np.arange(8) % 2


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    def __init__(self, hub, **kwargs):
        super().__init__(**kwargs)
        self.hub, self.head = hub, keras.layers.Dense(2)

    def call(self, waveform, training=False):
        return self.head(self.hub(waveform))

    def get_config(self):
        return {"hub": keras.saving.serialize_keras_object(self.hub)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["hub"]))


def sequential(layer):
    return keras.Sequential([keras.Input((None,)), layer, keras.layers.Dense(2)])


def functional(layer):
    inputs = keras.Input((None,), name="waveform")
    return keras.Model(inputs, keras.layers.Dense(2)(layer(inputs)))


KINDS = {"sequential": sequential, "functional": functional, "subclassed": Subclassed}


def fitted(model, waveform, labels, optimizer="adam"):
    model.compile(optimizer, LOSS)
    model.fit(waveform, labels, batch_size=4, epochs=1, shuffle=False, verbose=0)
    return model


def changed(layer) -> list[str]:
    """Names of the module's variables that are no longer what the handle says."""
    now = layer._loaded
    pairs = {"kernel": (now.kernel, KERNEL), "bias": (now.bias, BIAS), "calls": (now.calls, 0)}
    return [name for name, (is_now, was) in pairs.items() if np.any(is_now.numpy() != was)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trainable", [False, True])
def test_fit_updates_what_is_trainable(modules, waveform, labels, kind, trainable):
    layer = HubLayer(modules["plain"], trainable=trainable)
    model = KINDS[kind](layer)
    np.testing.assert_allclose(layer(waveform), embedding(waveform), atol=1e-6)
    fitted(model, waveform, labels)
    assert len(model.trainable_variables) == 2 + 2 * trainable
    assert changed(layer) == (["kernel", "bias", "calls"] if trainable else [])


@pytest.mark.parametrize("name", ["SGD", "RMSprop", "AdamW", "Adagrad", "Lion", "Lamb", "Ftrl"])
def test_optimizers(modules, waveform, labels, name):
    layer = HubLayer(modules["plain"], trainable=True)
    optimizer = getattr(keras.optimizers, name)(0.01)
    model = sequential(layer)
    model.compile(optimizer, LOSS, run_eagerly=True)
    model.train_on_batch(waveform, labels)
    assert changed(layer) == ["kernel", "bias", "calls"]


def test_one_step_is_the_gradient(modules, waveform):
    """One step of plain descent on the mean of the outputs, whose gradient is known."""
    layer = HubLayer(modules["plain"], trainable=True)
    model = keras.Sequential([keras.Input((None,)), layer])
    model.compile(keras.optimizers.SGD(1.0), lambda _, output: keras.ops.mean(output, -1))
    model.train_on_batch(waveform, np.zeros(len(waveform)))
    # The regularization adds the variables themselves.
    slope = np.repeat(features(waveform).mean(0)[:, None] / 3, 3, 1)
    np.testing.assert_allclose(layer._loaded.kernel, KERNEL - slope - KERNEL, atol=1e-6)
    np.testing.assert_allclose(layer._loaded.bias, BIAS - 1 / 3 - BIAS, atol=1e-6)


def test_regularization_losses(modules, waveform):
    layer = HubLayer(modules["plain"], trainable=True)
    inputs = keras.Input((None,))
    twice = keras.Model(inputs, layer(inputs) + layer(keras.layers.Rescaling(2)(inputs)))
    twice(waveform)
    expected = 0.5 * (KERNEL**2).sum() + 0.5 * (BIAS**2).sum()
    np.testing.assert_allclose(sum(twice.losses), expected, rtol=1e-6)
    layer.trainable = False
    assert twice.losses == []
    assert HubLayer(modules["plain"]).losses == []


def test_training_flag(modules, waveform):
    layer = HubLayer(modules["plain"], trainable=True)
    inference = embedding(waveform)
    np.testing.assert_allclose(layer(waveform, training=True), inference + 1, atol=1e-6)
    np.testing.assert_allclose(layer(waveform, training=False), inference, atol=1e-6)
    layer.trainable = False
    np.testing.assert_allclose(layer(waveform, training=True), inference, atol=1e-6)
    assert layer._loaded.calls.numpy() == 1
    other = HubLayer(modules["without_training"], trainable=True)
    np.testing.assert_allclose(other(waveform, training=True), inference, atol=1e-6)


def test_trainable_can_be_toggled(modules, waveform, labels):
    layer = HubLayer(modules["plain"])
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


def test_a_frozen_layer_costs_no_gradient(modules, waveform):
    frozen, trained = (HubLayer(modules["plain"], trainable=value) for value in (False, True))
    stopped = keras.layers.Lambda(lambda x: tf.stop_gradient(trained(x)))
    tensor = tf.constant(waveform)
    of_frozen = backward_operations(frozen, tensor, wrt_input=False)
    assert of_frozen == backward_operations(stopped, tensor, wrt_input=False)
    assert of_frozen < backward_operations(trained, tensor, wrt_input=False)
    with tf.GradientTape() as tape:
        frozen(tensor)
    assert tape.watched_variables() == ()
    with tf.GradientTape() as tape:
        HubLayer(modules["unlisted"])(tensor)
    assert tape.watched_variables() == ()
    trained.trainable = False
    assert of_frozen == backward_operations(trained, tensor, wrt_input=False)


def test_gradients_pass_through_a_frozen_layer(modules, waveform):
    """A layer below it may be trained."""
    layer = HubLayer(modules["plain"])
    tensor = tf.constant(waveform)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        output = tf.reduce_sum(layer(tensor))
    expected = (KERNEL[0].sum() + 2 * waveform * KERNEL[1].sum()) / waveform.shape[1]
    np.testing.assert_allclose(tape.gradient(output, tensor), expected, atol=1e-6)


def test_variables_are_the_modules_own(modules):
    """Pins the private interfaces: the layer's variables are the module's, not copies of them."""
    layer = HubLayer(modules["plain"], trainable=True, name="hub")
    loaded = layer._loaded
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


@pytest.mark.parametrize("kind", KINDS)
def test_keras_file(modules, waveform, labels, tmp_path, kind):
    model = fitted(KINDS[kind](HubLayer(modules["plain"], trainable=True)), waveform, labels)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        again.predict(waveform, verbose=0), model.predict(waveform, verbose=0)
    )
    layer = next(one for one in again._flatten_layers() if isinstance(one, HubLayer))
    assert layer.trainable and changed(layer) == ["kernel", "bias", "calls"]
    # The state of Adam came along, too: both go on alike.
    for one in (model, again):
        one.fit(waveform, labels, batch_size=4, shuffle=False, verbose=0)
    np.testing.assert_allclose(again(waveform), model(waveform), atol=1e-6)


def test_frozen_keras_file_with_unfrozen_weights(modules, waveform, labels, tmp_path):
    """Weights keep their places when the layer is frozen after it was trained."""
    layer = HubLayer(modules["plain"], trainable=True)
    model = fitted(sequential(layer), waveform, labels)
    layer.trainable = False
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    assert not again.layers[0].trainable
    np.testing.assert_array_equal(again(waveform), model(waveform))
    model.save_weights(tmp_path / "model.weights.h5")
    fresh = sequential(HubLayer(modules["plain"]))
    fresh.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(fresh(waveform), model(waveform))


def test_config(modules):
    layer = HubLayer(
        Path(modules["dictionary"]), trainable=True, output_key="embedding", name="ears"
    )
    config = layer.get_config()
    assert config["handle"] == str(modules["dictionary"])
    assert HubLayer.from_config(config).get_config() == config
    unlisted = HubLayer(modules["unlisted"])
    unlisted.trainable = True  # as `model.trainable = True` does to every layer
    HubLayer.from_config(unlisted.get_config())


def test_a_file_fetches_nothing_unasked(modules, tmp_path, monkeypatch):
    model = sequential(HubLayer(modules["plain"]))
    model.layers[0].handle = "https://example.org/module"
    model.save(tmp_path / "model.keras")
    asked = []
    monkeypatch.setattr("hares_tf.hub.hub_layer._located", asked.append)
    with pytest.raises(HubError, match="would fetch and run https://example"):
        keras.saving.load_model(tmp_path / "model.keras")
    assert asked == []


@pytest.mark.parametrize("name", ["plain", "table", "signature", "unlisted", "one_waveform"])
def test_export(modules, waveform, tmp_path, name):
    layer = HubLayer(modules[name], output_key=1 if name == "one_waveform" else None)
    model = sequential(layer)
    model.export(tmp_path / "exported", verbose=False)
    served = tf.saved_model.load(tmp_path / "exported").signatures["serving_default"]
    (output,) = served(tf.constant(waveform)).values()
    np.testing.assert_allclose(output, model(waveform), atol=1e-6)
    # And is a module for the next layer.
    np.testing.assert_allclose(
        HubLayer(tmp_path / "exported")(waveform), model(waveform), atol=1e-6
    )


def test_mixed_precision(modules, labels):
    """Waveforms reach the module in float32: a bfloat16 has 8 bits, and would lose these."""
    waveform = np.float32(1 + 1e-4 * np.arange(8)[:, None] * np.ones(16))
    layer = HubLayer(modules["plain"], trainable=True, dtype="mixed_bfloat16")
    output = layer(waveform)
    assert output.dtype == tf.bfloat16
    np.testing.assert_array_equal(output, tf.cast(embedding(waveform), tf.bfloat16))
    fine = keras.Sequential([keras.Input((None,)), HubLayer(modules["table"], dtype="float64")])
    loud = waveform[:, :1] > 0
    assert fine(waveform).dtype == tf.float64
    np.testing.assert_allclose(fine(waveform), embedding(waveform) + 10 * loud, atol=1e-5)
    model = fitted(sequential(layer), waveform, labels)
    assert changed(layer) == ["kernel", "bias", "calls"]
    assert {v.dtype for v in layer.trainable_variables} == {"float32"}
    assert model.output_shape == (None, 2)


def test_unknown_batch_and_length(modules):
    inputs = keras.Input((None,))
    assert HubLayer(modules["plain"])(inputs).shape == (None, 3)
    outputs = HubLayer(modules["dictionary"])(inputs)
    assert {name: one.shape for name, one in outputs.items()} == {
        "embedding": (None, 3),
        "energy": (None,),
    }
    scores, embeddings = HubLayer(modules["one_waveform"])(inputs)
    assert scores.shape == (None, None) and embeddings.shape == (None, None, 3)
    assert HubLayer(modules["fixed"])(inputs).shape == (None, 3)


def test_outputs(modules, waveform):
    expected = embedding(waveform)
    by_name = HubLayer(modules["dictionary"], output_key="embedding")
    np.testing.assert_allclose(by_name(waveform), expected, atol=1e-6)
    everything = HubLayer(modules["dictionary"])(waveform)
    np.testing.assert_allclose(everything["energy"], (waveform**2).mean(1), atol=1e-6)
    only = HubLayer(modules["signature"])
    np.testing.assert_allclose(only(waveform), expected, atol=1e-6)
    assert set(HubLayer(modules["signature_of_two"])(waveform)) == {"embedding", "energy"}
    logits = HubLayer(modules["classifier"], output_key="logits")
    np.testing.assert_allclose(logits(waveform), 2 * expected, atol=1e-6)
    np.testing.assert_allclose(HubLayer(modules["classifier"])(waveform), expected, atol=1e-6)
    double = HubLayer(modules["plain"])(waveform.astype(np.float64))
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


def test_signature_can_be_trained(modules, waveform, labels):
    layer = HubLayer(modules["signature"], trainable=True)
    fitted(sequential(layer), waveform, labels)
    assert changed(layer) == ["kernel", "bias"]


def test_one_waveform_at_a_time(modules, waveform, labels):
    layer = HubLayer(modules["one_waveform"], trainable=True, output_key=1)
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


def test_mistakes(modules, tmp_path, waveform, monkeypatch):
    def message(handle, inputs=None, **arguments):
        with pytest.raises(HubError) as caught:
            layer = HubLayer(handle, **arguments)
            layer(inputs)
        return str(caught.value).replace(str(handle), "HANDLE")

    assert message(modules["dictionary"], output_key="logits") == (
        "HANDLE has no output 'logits'; it has: 'embedding', 'energy'"
    )
    assert message(modules["one_waveform"], output_key=2) == (
        "HANDLE has no output 2; it has: 0, 1"
    )
    assert message(modules["plain"], output_key="embedding") == (
        "HANDLE has no output 'embedding'; it gives a single tensor: leave output_key out"
    )
    assert "lists no trainable_variables" in message(modules["unlisted"], trainable=True)
    assert "traced for inference only" in message(modules["inference_only"], trainable=True)
    frozen = HubLayer(modules["inference_only"])
    np.testing.assert_allclose(frozen(waveform, training=True), embedding(waveform), atol=1e-6)
    with pytest.raises(HubError, match="traced for inference only"):
        frozen.trainable = True
    assert (
        message(modules["fixed"], waveform)
        == "HANDLE takes [any, 8], not a batch of shape (8, 16)."
    )
    assert message(modules["plain"], keras.Input((None, 1))) == (
        "HANDLE takes [any, any], not a batch of shape (None, None, 1)."
    )
    assert "no such folder" in message(tmp_path / "nothing")
    assert "is a Python function" in message("python:os:system")
    (tmp_path / "model.keras").write_bytes(b"")
    assert "load it with keras.saving.load_model" in message(tmp_path / "model.keras")
    tf.saved_model.save(tf.Module(), str(tmp_path / "empty"))
    assert "is not callable and has no signature" in message(tmp_path / "empty")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert "KERAS_BACKEND=tensorflow" in message(modules["plain"])


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).uniform(-0.5, 0.5, (2, 4000)).astype(np.float32)


@pytest.mark.slow
def test_slowfast(micro_module, noise):
    """The exported encoder as a layer: all its variables under names of their own."""
    layer = HubLayer(micro_module, trainable=True)
    loaded = layer._loaded
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
    assert layer._loaded.calls.numpy() == 4, layer._loaded.calls
kernel = layer._loaded.kernel
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
def test_mirrored_strategy(modules):
    """Two replicas learn what one does, and hold the same; in a process, for its two devices."""
    done = subprocess.run(
        [sys.executable, "-c", MIRRORED, str(modules["plain"])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.endswith("done\n"), done.stderr[-2000:]
