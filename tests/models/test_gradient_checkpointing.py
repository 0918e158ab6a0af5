"""Rematerialization: the same gradients from fewer kept activations."""

from collections import Counter

import keras
import numpy as np
import pytest
import tensorflow as tf

from hares_tf.layers import NFBlock
from hares_tf.models import ModelError, SinglePathNFNet, SlowFastNFNet, create_model
from hares_tf.utils._compat import flattened_layers

BATCH = 3


def network(make=SlowFastNFNet, **settings):
    """A network whose weights, draws and awake residual branches depend on the seed alone."""
    keras.utils.set_random_seed(4)
    made = make("tiny", **settings)
    made.build((None, None, None, 1))
    for variable in made.trainable_variables:
        if variable.name == "skip_gain":
            variable.assign(1.0)
    return made


def log_mel():
    return np.random.default_rng(7).standard_normal((BATCH, 40, 32, 1)).astype(np.float32)


def residual_masks(model, dtype=np.float32):
    generator = np.random.default_rng(8)
    return (generator.random((len(model.residual_mask_rows), BATCH)) > 0.3).astype(dtype)


class Step:
    """A traced gradient step: the function, its graph, where the backward pass begins in it."""

    def __init__(self, model, training=True):
        @tf.function
        def step(x, masks):
            with tf.GradientTape() as tape:
                embedding = model(x, training=training, residual_masks=masks)
                loss = tf.reduce_mean(tf.square(embedding))
            self.forward = set(tf.compat.v1.get_default_graph().get_operations())
            return tape.gradient(loss, [v.value for v in model.trainable_variables])

        self.inputs = tf.constant(log_mel()), tf.constant(residual_masks(model))
        self.function = step.get_concrete_function(*self.inputs)
        self.operations = self.function.graph.get_operations()

    def gradients(self):
        return self.function(*self.inputs)

    def convolutions(self):
        return Counter(op.type for op in self.operations)["Conv2D"]

    def kept_bytes(self):
        """Size of all activations that the backward pass reads from the forward pass."""
        kept = {
            tensor.ref(): tensor
            for op in self.operations
            if op not in self.forward
            for tensor in op.inputs
            if tensor.op in self.forward and tensor.shape.rank == 4 and tensor.shape[0] == BATCH
        }
        return sum(t.shape.num_elements() * t.dtype.size for t in kept.values())


def assert_same_gradients(model, ours, expected):
    for variable, one, other in zip(model.trainable_variables, ours, expected, strict=True):
        assert one is not None and np.abs(other).max() > 0, variable.path
        limit = 1e-5 * np.abs(other).max()
        np.testing.assert_allclose(one, other, rtol=0, atol=limit, err_msg=variable.path)


def block_convolutions(path):
    """Convolutions of all blocks of a path as a CPU trains them: one for each group."""
    layers = [layer for block in path.blocks for layer in flattened_layers(block)]
    return sum(layer.groups for layer in layers if hasattr(layer, "groups"))


def slow_path(again):
    return network(SinglePathNFNet, path="slow", gradient_checkpointing=again)


@pytest.fixture(scope="module")
def plain():
    return Step(slow_path(False))


def test_gradients_in_a_graph(plain):
    model = slow_path(True)
    step = Step(model)
    assert_same_gradients(model, step.gradients(), plain.gradients())
    # Every convolution of every block, and nothing else, is computed twice.
    again = block_convolutions(model.trunk)
    assert step.convolutions() - plain.convolutions() == again > 30
    # Left are the stem's activations and the blocks' inputs.
    assert step.kept_bytes() < 0.5 * plain.kept_bytes()


def test_inference_is_not_touched():
    block = NFBlock(16, 3, group_size=4, drop_rate=0.5, gradient_checkpointing=True)

    @tf.function
    def run(x, training):
        return block(x, training=training)

    def kinds(training):
        graph = run.get_concrete_function(tf.zeros((2, 4, 6, 16)), training).graph
        return {op.type for op in graph.get_operations()}

    # The operation that carries a custom gradient.
    assert "IdentityN" in kinds(True) and "IdentityN" not in kinds(False)


def test_gradients_without_a_graph():
    gradients = []
    for again in (False, True):
        model = network(gradient_checkpointing=again)
        with tf.GradientTape() as tape:
            masks = residual_masks(model)
            loss = tf.reduce_mean(model(log_mel(), training=True, residual_masks=masks) ** 2)
        gradients.append(tape.gradient(loss, [v.value for v in model.trainable_variables]))
    assert_same_gradients(model, gradients[1], gradients[0])


@pytest.mark.parametrize("policy,keep", [("float32", [False, True]), ("mixed_bfloat16", [0, 1])])
def test_masks_of_any_type(policy, keep):
    x = np.random.default_rng(1).standard_normal((2, 4, 6, 16)).astype(np.float32)
    block = NFBlock(16, 3, group_size=4, drop_rate=0.5, gradient_checkpointing=True, dtype=policy)
    block.build(x.shape)
    block.skip_gain.assign(1.0)

    @tf.function
    def step(x, keep):
        with tf.GradientTape() as tape:
            y = block(x, training=True, keep=keep)
            loss = tf.reduce_sum(tf.cast(y, tf.float32) ** 2)
        return y, tape.gradient(loss, block.conv1.kernel.value)

    y, gradient = step(tf.constant(x), tf.constant(keep))
    assert np.abs(gradient).max() > 0
    np.testing.assert_array_equal(np.asarray(y == tf.cast(x, y.dtype)).all(axis=(1, 2, 3)), [1, 0])


@pytest.mark.parametrize("graph", [False, True])
def test_drawn_masks_are_not_drawn_again(graph):
    """Output and gradient belong to the same draw, and a call draws once."""
    x = np.random.default_rng(1).standard_normal((64, 4, 6, 16)).astype(np.float32)
    results = []
    for again in (False, True):
        keras.utils.set_random_seed(2)
        block = NFBlock(16, 3, group_size=4, drop_rate=0.5, gradient_checkpointing=again)
        block.build(x.shape)
        block.skip_gain.assign(1.0)

        def step(x, block=block):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = block(x, training=True)
                total = tf.reduce_sum(y)
            return y, tape.gradient(total, x)

        y, gradient = (tf.function(step) if graph else step)(tf.constant(x))
        results.append((y, gradient, np.asarray(block.stochastic_depth.seed_generator.state)))
    (y, gradient, state), (y_again, gradient_again, state_again) = results
    dropped = np.all(np.asarray(y) == x, axis=(1, 2, 3))
    assert 10 < dropped.sum() < 54
    # A dropped example is its own shortcut, so its gradient is exactly 1.
    for one in (gradient, gradient_again):
        np.testing.assert_array_equal(np.all(np.asarray(one) == 1.0, axis=(1, 2, 3)), dropped)
    np.testing.assert_array_equal(y_again, y)
    np.testing.assert_allclose(gradient_again, gradient, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(state_again, state)


@pytest.mark.slow
def test_compiled_by_xla():
    """XLA neither changes the gradients nor merges both computations into one."""
    x = tf.constant(np.random.default_rng(1).standard_normal((4, 8, 6, 16)), tf.float32)

    def step(again):
        keras.utils.set_random_seed(2)
        block = NFBlock(16, 3, group_size=8, gradient_checkpointing=again)
        block.build(x.shape)
        block.skip_gain.assign(1.0)

        def gradients(x):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.square(block(x, training=True)))
            return tape.gradient(loss, [v.value for v in block.trainable_variables])

        return block, gradients, tf.function(gradients, jit_compile=True)

    def convolutions(compiled):
        return compiled.experimental_get_compiler_ir(x)("optimized_hlo").count(" convolution(")

    _, expected, plain = step(False)
    block, _, checkpointed = step(True)
    assert_same_gradients(block, checkpointed(x), expected(x))
    # conv1 and conv1b; XLA turns those over a single point into matrix products.
    assert convolutions(checkpointed) == convolutions(plain) + 2


def test_option_reaches_every_block_and_files():
    model = create_model("slowfast_nfnet_tiny", gradient_checkpointing=True)
    blocks = model.network.slow.blocks + model.network.fast.blocks
    assert all(block.gradient_checkpointing for block in blocks)
    restored = SlowFastNFNet.from_config(model.network.get_config())
    assert all(block.gradient_checkpointing for block in restored.slow.blocks)
    single = SinglePathNFNet.from_config(
        SinglePathNFNet("tiny", "fast", gradient_checkpointing=True).get_config()
    )
    assert all(block.gradient_checkpointing for block in single.trunk.blocks)
    assert not create_model("slowfast_nfnet_tiny").network.slow.blocks[0].gradient_checkpointing


def test_unknown_options_are_refused():
    with pytest.raises(ModelError, match="no option 'gradient_checkpointing'; it has none"):
        create_model("log_mel_statistics", gradient_checkpointing=True)
    with pytest.raises(
        ModelError, match="no option 'variant'; its options are gradient_checkpointing"
    ):
        create_model("slowfast_nfnet_tiny", variant="f0")
