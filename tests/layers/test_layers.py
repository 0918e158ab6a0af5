"""Behavior of the building blocks beyond the recorded numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from hares_tf import layers
from hares_tf.layers.scaled_ws_conv import given_kernels


def normal(*shape):
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


def test_effective_kernels_are_standardized():
    conv = layers.ScaledWSConv2D(6, (3, 3), groups=2, input_scale=2.0)
    conv.build((None, None, None, 8))
    conv.gain.assign(np.arange(1.0, 7.0))
    kernel = np.asarray(conv.effective_kernel()).reshape(-1, 6)
    np.testing.assert_allclose(kernel.mean(axis=0), 0.0, atol=1e-6)
    # Variance 1 / N times the square of gain and input scale.
    norms = np.sqrt(np.square(kernel).sum(axis=0))
    np.testing.assert_allclose(norms, 2.0 * np.arange(1.0, 7.0), rtol=1e-6)


def test_a_large_mean_does_not_spoil_the_variance():
    conv = layers.ScaledWSConv2D(4, (1, 3))
    conv.build((None, None, None, 64))
    kernel = normal(1, 3, 64, 4)
    conv.kernel.assign(kernel)
    expected = np.asarray(conv.effective_kernel())
    conv.kernel.assign(kernel + 1000.0)
    # Adding 1000 rounds the kernel to steps of 6e-5; a one-pass variance would lose all digits.
    np.testing.assert_allclose(conv.effective_kernel(), expected, atol=2e-5)


def test_given_kernels_replace_the_standardization_within_their_block():
    """Their gradients stop at them, and outside nothing has changed."""
    layer = layers.ScaledWSConv2D(4, (3, 3))
    other = layers.ScaledWSConv2D(4, (3, 3))
    x = normal(2, 5, 6, 3)
    usual, others = layer(x), other(x)
    kernel = tf.Variable(normal(3, 3, 3, 4))
    with tf.GradientTape() as tape, given_kernels([(layer, kernel)]):
        given, unchanged = layer(x), other(x)
    np.testing.assert_allclose(given, tf.nn.conv2d(x, kernel, 1, "SAME"), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(unchanged, others)
    np.testing.assert_array_equal(layer(x), usual)
    gradients = tape.gradient(given, [kernel, layer.kernel.value])
    assert gradients[0] is not None and gradients[1] is None


def test_standardization_stays_in_float32_under_mixed_bfloat16():
    mixed = layers.ScaledWSConv2D(8, (3, 3), dtype="mixed_bfloat16")
    mixed.build((None, None, None, 16))
    single = layers.ScaledWSConv2D(8, (3, 3))
    single.build((None, None, None, 16))
    single.set_weights(mixed.get_weights())

    @tf.function
    def kernels():
        return mixed.effective_kernel(), single.effective_kernel()

    np.testing.assert_array_equal(*kernels())
    x = normal(1, 4, 4, 16)
    assert mixed(x).dtype == "bfloat16"
    # The call must use the float32 kernel too: the result is that of rounding it once.
    kernel = tf.cast(single.effective_kernel(), tf.bfloat16)
    expected = tf.nn.conv2d(tf.cast(x, tf.bfloat16), kernel, 1, "SAME")
    np.testing.assert_array_equal(tf.cast(mixed(x), "float32"), tf.cast(expected, "float32"))


def test_initial_values():
    keras.utils.set_random_seed(0)
    conv = layers.ScaledWSConv2D(400, (3, 1), groups=2)
    conv.build((None, None, None, 200))
    kernel = np.asarray(conv.kernel)
    assert kernel.std() == pytest.approx(300**-0.5, rel=0.02)
    assert np.abs(kernel).max() > 3 * 300**-0.5  # not truncated at two deviations
    np.testing.assert_array_equal(conv.gain, 1.0)
    np.testing.assert_array_equal(conv.bias, 0.0)
    gate = layers.SqueezeExcite()
    gate.build((None, None, None, 400))
    assert gate.reduce.kernel.shape == (400, 200)
    assert np.abs(gate.reduce.kernel).max() == pytest.approx(2 * 400**-0.5, rel=0.01)
    assert np.abs(gate.expand.kernel).max() == pytest.approx(2 * 200**-0.5, rel=0.01)
    block = layers.NFBlock(16, 3, group_size=4)
    block.build((None, None, None, 16))
    assert float(block.skip_gain) == 0.0


def test_groups_must_divide_the_channels():
    with pytest.raises(ValueError, match="4 groups must divide both the 6 input channels"):
        layers.ScaledWSConv2D(8, (1, 1), groups=4).build((None, None, None, 6))


def test_stochastic_depth_drops_whole_examples_at_its_rate():
    layer = layers.StochasticDepth(0.25, seed=1)
    y = np.asarray(layer(np.ones((20_000, 2, 3), np.float32), training=True))
    per_example = y.reshape(20_000, -1)
    assert set(np.unique(per_example)) == {0.0, 1.0}  # kept examples are not rescaled
    np.testing.assert_array_equal(per_example.min(axis=1), per_example.max(axis=1))
    # Four standard deviations of a mean of 20,000 draws.
    assert per_example[:, 0].mean() == pytest.approx(0.75, abs=0.0125)


def test_stochastic_depth_draws_anew_and_repeatably():
    x = np.ones((64, 1), np.float32)
    first, second = (layers.StochasticDepth(0.5, seed=1) for _ in range(2))
    draws = [np.asarray(first(x, training=True)) for _ in range(2)]
    assert (draws[0] != draws[1]).any()
    np.testing.assert_array_equal(second(x, training=True), draws[0])


def test_stochastic_depth_in_inference_and_with_a_given_mask():
    layer = layers.StochasticDepth(0.5)
    x = normal(4, 2, 3)
    np.testing.assert_array_equal(layer(x), x)
    np.testing.assert_array_equal(layer(x, training=False), x)
    keep = np.array([1, 0, 0, 1])
    expected = x * keep[:, None, None]
    np.testing.assert_array_equal(layer(x, training=False, keep=keep), expected)
    np.testing.assert_array_equal(layer(x, training=True, keep=keep), expected)


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_stochastic_depth_refuses_other_rates(rate):
    with pytest.raises(ValueError, match="must be in"):
        layers.StochasticDepth(rate)


def test_output_shapes_agree_with_the_outputs():
    x = normal(2, 5, 7, 8)
    for layer in (
        layers.ScaledWSConv2D(6, (3, 3), (2, 2)),
        layers.SqueezeExcite(),
        layers.NFBlock(16, 3, (1, 2), group_size=4),
        layers.StochasticDepth(0.1),
    ):
        assert layer.compute_output_shape(x.shape) == tuple(layer(x).shape)
