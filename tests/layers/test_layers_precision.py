"""Which part of a layer computes in which precision, under mixed_bfloat16 and float64."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from hares_tf import layers


def normal(*shape):
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


def bfloat16(x):
    return tf.cast(x, tf.bfloat16)


def with_weights_of(layer, other):
    layer.set_weights(other.get_weights())
    return layer


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_gradient_of_the_bias_counts_beyond_256(groups, training):
    """A bfloat16 sum of ones, taken number by number, stops at 256."""
    x = tf.zeros((4, 50, 30, 4), tf.bfloat16)
    kernel = tf.zeros((1, 1, 4 // groups, 6), tf.bfloat16)
    bias = tf.zeros(6, tf.bfloat16)
    with tf.GradientTape() as tape:
        tape.watch(bias)
        y = layers.grouped_conv2d(x, kernel, bias, training=training)
    gradient = tape.gradient(y, bias)
    np.testing.assert_allclose(tf.cast(gradient, tf.float32), 4 * 50 * 30, rtol=2**-8)


def recorded(layer, method):
    """The list of what `method` of `layer` returns from now on."""
    results, original = [], getattr(layer, method)

    def recording(*args, **kwargs):
        results.append(original(*args, **kwargs))
        return results[-1]

    setattr(layer, method, recording)
    return results


def test_kernels_are_standardized_before_they_are_rounded():
    conv = layers.ScaledWSConv2D(8, (3, 3), dtype="mixed_bfloat16")
    conv.build((None, None, None, 32))
    # In bfloat16 a kernel of mean 1 has steps of 0.008, a seventh of its deviation.
    conv.kernel.assign(1.0 + normal(3, 3, 32, 8) * 288**-0.5)
    kernels = recorded(conv, "effective_kernel")
    conv(normal(1, 5, 5, 32))
    (kernel,) = kernels
    assert kernel.dtype == "float32"
    per_filter = np.asarray(kernel, np.float64).reshape(-1, 8)
    np.testing.assert_allclose(per_filter.mean(axis=0), 0.0, atol=1e-6)
    np.testing.assert_allclose(np.square(per_filter).sum(axis=0), 1.0, rtol=1e-5)


@pytest.mark.usefixtures("exact_bfloat16_sums")
def test_gradients_of_a_convolution_are_those_of_the_float32_kernel():
    single = layers.ScaledWSConv2D(8, (3, 1), groups=2)
    x = normal(4, 20, 10, 8)
    single.build(x.shape)
    mixed = layers.ScaledWSConv2D(8, (3, 1), groups=2, dtype="mixed_bfloat16")
    mixed.build(x.shape)
    with_weights_of(mixed, single)
    gradients = []
    for conv in (single, mixed):
        with tf.GradientTape() as tape:
            y = tf.cast(conv(x, training=True), tf.float32)
            loss = tf.reduce_mean(y * np.flip(x, axis=0))
        gradients.append(tape.gradient(loss, [v.value for v in conv.trainable_variables]))
    for exact, rounded in zip(*gradients, strict=True):
        assert rounded.dtype == "float32"
        # Rounding to 8 bits a few times: up to 0.43 % was seen.
        assert np.linalg.norm(rounded - exact) < 0.01 * np.linalg.norm(exact)


def test_squeeze_excite_is_float32_throughout():
    mixed, single = layers.SqueezeExcite(dtype="mixed_bfloat16"), layers.SqueezeExcite()
    x = bfloat16(normal(2, 9, 8, 12))
    gate = mixed(x)
    assert gate.dtype == "float32"
    single.build(x.shape)
    expected = with_weights_of(single, mixed)(tf.cast(x, tf.float32))
    np.testing.assert_array_equal(gate, expected)
    assert mixed(keras.KerasTensor((2, 9, 8, 12), "bfloat16")).dtype == "float32"


def test_stochastic_depth_draws_in_float32():
    # In bfloat16, 1 - 0.002 is 1: nothing would ever be dropped.
    layer = layers.StochasticDepth(0.002, seed=1, dtype="mixed_bfloat16")
    y = layer(tf.ones((20_000, 1), tf.bfloat16), training=True)
    assert y.dtype == "bfloat16"
    dropped = 1.0 - float(tf.reduce_mean(tf.cast(y, tf.float32)))
    assert dropped == pytest.approx(0.002, abs=0.0013)  # four standard deviations


def test_residual_branch_is_scaled_by_one_rounded_number():
    """Gate, mask, skip gain and alpha are multiplied in float32 and rounded once."""
    x = bfloat16(normal(3, 8, 10, 16))
    block = layers.NFBlock(16, 3, group_size=4, drop_rate=0.25, dtype="mixed_bfloat16")
    block.build(x.shape)
    block.skip_gain.assign(1.0 + 2**-9)  # would be rounded to 1
    gates, residuals = recorded(block.squeeze_excite, "call"), recorded(block.conv2, "call")
    y = block(x, training=True, keep=np.array([1.0, 0.0, 1.0]))
    assert y.dtype == "bfloat16"
    keep = np.array([1.0, 0.0, 1.0]).reshape(3, 1, 1, 1)
    scale = np.asarray(gates[0], np.float64) * keep * (1.0 + 2**-9) * 2.0 * layers.ALPHA
    expected = residuals[0] * bfloat16(scale) + x
    np.testing.assert_array_equal(tf.cast(y, "float32"), tf.cast(expected, "float32"))


def test_pooled_shortcut_is_rounded_once():
    block = layers.NFBlock(16, 3, (1, 2), group_size=4, dtype="mixed_bfloat16")
    x = bfloat16(normal(4, 9, 11, 16))
    expected = tf.nn.avg_pool2d(tf.cast(x, tf.float32), (1, 2), (1, 2), "SAME")
    pooled = block.shortcut_pool(x)
    assert pooled.dtype == "bfloat16"
    expected = tf.cast(bfloat16(expected), tf.float32)
    np.testing.assert_array_equal(tf.cast(pooled, tf.float32), expected)
