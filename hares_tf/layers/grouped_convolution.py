"""The one convolution primitive of the package: grouped, channels last, SAME padding."""

import contextlib
import contextvars

import keras
from keras import ops

_for_accelerator = contextvars.ContextVar("for_accelerator", default=False)


def grouped_conv2d(x, kernel, bias, strides=(1, 1), training=False):
    """Two-dimensional convolution with SAME padding plus bias.

    The number of groups is `channels / kernel.shape[2]`. On TensorFlow a grouped convolution runs
    natively, except where its gradient is missing (training on a CPU without oneDNN) or float64 is
    used: there each group is convolved on its own and the results are joined. `keras.ops.conv` is
    never used for groups on TensorFlow, because it wraps them in a function that must be compiled
    by XLA, which an exported module could not do without.

    Args:
        x: `[batch, time, freq, channel]`, float; the channel count must be static.
        kernel: `[kernel_time, kernel_freq, channel / groups, filters]`, same dtype.
        bias: `[filters]`, same dtype.
        strides: steps along `(time, freq)`.
        training: whether a gradient is going to be taken; only chooses how a grouped convolution
            is computed, never what it computes.

    Returns:
        `[batch, ceil(time / stride), ceil(freq / stride), filters]`, dtype of `x`.
    """
    if keras.backend.backend() == "tensorflow":
        return _tensorflow_conv2d(x, kernel, bias, strides, training)
    strides = tuple(strides)
    y = ops.conv(x, kernel, strides=strides, padding="same", data_format="channels_last")
    return ops.add(y, bias)


def _tensorflow_conv2d(x, kernel, bias, strides, training):
    import tensorflow as tf

    groups = x.shape[-1] // kernel.shape[2]
    native = groups == 1 or (x.dtype != tf.float64 and (not training or accelerator_present()))
    if native:
        y = tf.nn.conv2d(x, kernel, strides, "SAME")
    else:
        parts = zip(tf.split(x, groups, axis=-1), tf.split(kernel, groups, axis=-1), strict=True)
        y = tf.concat([tf.nn.conv2d(part, k, strides, "SAME") for part, k in parts], axis=-1)
    # Without oneDNN (TensorFlow's choice on some processors) a native grouped convolution and a
    # bias_add are fused into an operation that has no groups. In half precision the gradient of
    # bias_add adds number by number on a CPU, and a bfloat16 sum stops growing at 256: the gradient
    # of `+` is a sum that does not.
    plain_add = (native and groups > 1) or y.dtype.size < 4
    return y + bias if plain_add else tf.nn.bias_add(y, bias)


@contextlib.contextmanager
def for_an_accelerator():
    """Context manager: functions are traced as on an accelerator, whatever devices are present."""
    token = _for_accelerator.set(True)
    try:
        yield
    finally:
        _for_accelerator.reset(token)


def accelerator_present():
    """Returns whether TensorFlow sees a device other than CPUs, on which models would be trained.

    On accelerators the native grouped convolution has a gradient, and TPU programs with the split
    form take many times longer to compile.
    """
    import tensorflow as tf

    if _for_accelerator.get():
        return True
    return any(device.device_type != "CPU" for device in tf.config.list_logical_devices())
