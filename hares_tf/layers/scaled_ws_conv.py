"""Convolution with scaled weight standardization."""

import contextlib
import contextvars

import keras
from keras import ops

from hares_tf.layers.grouped_convolution import grouped_conv2d

#: Lower bound of `N * variance` in the standardization (official JAX code): a bound, not an
#: addition, so that it leaves ordinary kernels exactly standardized.
VARIANCE_FLOOR = 1e-4

# Per thread, since each replica of a strategy traces the same layers in a thread of its own.
_given: contextvars.ContextVar[dict] = contextvars.ContextVar("given_kernels")


@contextlib.contextmanager
def given_kernels(kernels):
    """Context manager: layers called in this thread use given kernels as they are.

    For many calls between two updates. No gradient of such a call reaches the layer's own kernel
    and gain but through the given kernel; whoever gives it carries the gradient on.

    Args:
        kernels: `[(layer, effective kernel), ...]`; other layers go on as ever.
    """
    token = _given.set({**_given.get({}), **{id(layer): kernel for layer, kernel in kernels}})
    try:
        yield
    finally:
        _given.reset(token)


@keras.saving.register_keras_serializable(package="hares_tf")
class ScaledWSConv2D(keras.layers.Layer):
    """2-D convolution whose kernel is standardized per output channel at every call.

    Effective kernel `= (kernel - mean) * gain / sqrt(max(N * variance, 1e-4))` with mean and
    (biased) variance over the `N = kernel_time * kernel_freq * channel / groups` inputs of each
    output channel; then a convolution with SAME padding and `+ bias`. Gradients flow through mean
    and variance. Scaled weight standardization is from "Characterizing signal propagation to close
    the performance gap in unnormalized ResNets" (Brock et al., 2021); details and initial values
    follow the official JAX code.

    The standardization is computed in the variable dtype (float32 under mixed_bfloat16).

    Args:
        filters: number of output channels.
        kernel_size: `(time, freq)`.
        strides: `(time, freq)`.
        groups: number of channel groups; divides input channels and filters.
        input_scale: constant by which the input is multiplied. It is applied to the gain, so the
            layer costs the same as without: activations pass their constant factors on to the
            convolution that follows this way.
        **kwargs: of `keras.layers.Layer`.

    Input `[batch, time, freq, channel]`, output
    `[batch, ceil(time / stride), ceil(freq / stride), filters]`.

    Raises:
        ValueError: in `build`, if `groups` does not divide the channels.
    """

    def __init__(self, filters, kernel_size, strides=(1, 1), groups=1, input_scale=1.0, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = tuple(kernel_size)
        self.strides = tuple(strides)
        self.groups = groups
        self.input_scale = input_scale

    def build(self, input_shape):
        channels = input_shape[-1]
        if channels % self.groups or self.filters % self.groups:
            raise ValueError(
                f"Layer {self.name}: {self.groups} groups must divide both the {channels} input "
                f"channels and the {self.filters} filters."
            )
        # autocast=False: the standardization needs the full-precision kernel, not a copy in the
        # compute dtype.
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, channels // self.groups, self.filters),
            initializer=keras.initializers.VarianceScaling(
                scale=1.0, mode="fan_in", distribution="untruncated_normal"
            ),
            autocast=False,
        )
        self.gain = self.add_weight(
            name="gain", shape=(self.filters,), initializer="ones", autocast=False
        )
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")

    def effective_kernel(self):
        """Standardized kernel, `input_scale` included, in the variable dtype."""
        kernel = ops.convert_to_tensor(self.kernel)
        centered = kernel - ops.mean(kernel, axis=(0, 1, 2))
        fan_in_variance = ops.sum(ops.square(centered), axis=(0, 1, 2))
        scale = ops.rsqrt(ops.maximum(fan_in_variance, VARIANCE_FLOOR))
        return centered * (scale * ops.convert_to_tensor(self.gain) * self.input_scale)

    def call(self, x, training=None):
        kernel = _given.get({}).get(id(self))
        if kernel is None:
            kernel = self.effective_kernel()
        kernel = ops.cast(kernel, self.compute_dtype)
        bias = ops.cast(self.bias, self.compute_dtype)
        return grouped_conv2d(x, kernel, bias, self.strides, training=bool(training))

    def compute_output_shape(self, input_shape):
        batch, *size, _ = input_shape
        size = [
            None if length is None else -(-length // stride)
            for length, stride in zip(size, self.strides, strict=True)
        ]
        return (batch, *size, self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "groups": self.groups,
            "input_scale": self.input_scale,
        }
