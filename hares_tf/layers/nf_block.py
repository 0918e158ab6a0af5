"""Residual block of the normalizer-free networks."""

import keras
from keras import ops

from hares_tf.layers.activations import GELU_GAMMA, gelu_tanh
from hares_tf.layers.gradient_checkpointing import checkpointed
from hares_tf.layers.scaled_ws_conv import ScaledWSConv2D
from hares_tf.layers.squeeze_excite import SqueezeExcite
from hares_tf.layers.stochastic_depth import StochasticDepth

#: Weight of the residual branch (NFNet's alpha; section on model settings of the paper, official
#: JAX code).
ALPHA = 0.2


@keras.saving.register_keras_serializable(package="hares_tf")
class NFBlock(keras.layers.Layer):
    """Pre-activation bottleneck block without normalization (Brock et al., 2021, "NFNet").

    With `a = gamma * gelu(x) * beta`:

    * residual: `conv0` 1x1 to half the filters, `conv1` over time (strided, grouped), `conv1b` over
      three frequency bins (grouped), `conv2` 1x1 to `filters`, with `gamma * gelu` between them;
      times twice a squeeze-excite gate, stochastic depth, a learned scalar `skip_gain`, and 0.2;
    * shortcut: `x` itself, or, where the channels change, a 1x1 `conv_shortcut` of `a`, average
      pooled first if the block has a stride.

    The factors gamma and beta are applied inside the convolutions (`input_scale`), and everything
    that multiplies a whole residual map is multiplied into its small gate first: both save passes
    over the activations and change values by rounding only.

    `skip_gain` starts at 0: a new block is its shortcut and its branch has zero gradient.

    Args:
        filters: output channels.
        kernel_time: length of `conv1` along time.
        strides: `(time, freq)` of `conv1` and of the shortcut's pooling.
        group_size: channels per group of `conv1` and `conv1b`; divides `filters / 2`.
        beta: reciprocal of the standard deviation that the input is expected to have.
        drop_rate: rate of stochastic depth.
        gradient_checkpointing: whether training keeps only the input of the block for the gradient
            and computes everything else again: less memory, one more forward pass.
        **kwargs: of `keras.layers.Layer`.

    Call arguments: `x` `[batch, time, freq, channel]`; `training`; `keep`: `[batch]` of 0 and 1,
    which examples keep their residual branch (instead of a draw).
    Output `[batch, ceil(time / stride), ceil(freq / stride), filters]`.
    """

    def __init__(
        self,
        filters,
        kernel_time,
        strides=(1, 1),
        group_size=128,
        beta=1.0,
        drop_rate=0.0,
        gradient_checkpointing=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_time = kernel_time
        self.strides = tuple(strides)
        self.group_size = group_size
        self.beta = beta
        self.drop_rate = drop_rate
        self.gradient_checkpointing = gradient_checkpointing

        width = filters // 2
        groups = width // group_size

        self.conv0 = self._conv("conv0", width, (1, 1), beta)
        self.conv1 = self._conv("conv1", width, (kernel_time, 1), strides=strides, groups=groups)
        self.conv1b = self._conv("conv1b", width, (1, 3), groups=groups)
        self.conv2 = self._conv("conv2", filters, (1, 1))
        self.conv_shortcut = None  # whether there is one depends on the input channels: see build
        self.squeeze_excite = SqueezeExcite(name="squeeze_excite", dtype=self.dtype_policy)
        # It multiplies the gate, which is in the variable dtype.
        self.stochastic_depth = StochasticDepth(
            drop_rate, name="stochastic_depth", dtype=self.variable_dtype
        )
        # A mean of two neighbors, which is rounded once in half precision, too.
        self.shortcut_pool = keras.layers.AveragePooling2D(
            self.strides, self.strides, "same", "channels_last", dtype=self.dtype_policy
        )

    def _conv(self, name, filters, kernel_size, beta=1.0, **settings):
        """A convolution that follows an activation, whose gamma (and beta) it applies."""
        return ScaledWSConv2D(
            filters,
            kernel_size,
            input_scale=GELU_GAMMA * beta,
            name=name,
            dtype=self.dtype_policy,
            **settings,
        )

    def build(self, input_shape):
        if self.strides != (1, 1) or input_shape[-1] != self.filters:
            self.conv_shortcut = self._conv("conv_shortcut", self.filters, (1, 1), self.beta)
            self.conv_shortcut.build(input_shape)
        shape = input_shape
        for layer in (self.conv0, self.conv1, self.conv1b, self.conv2):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self.squeeze_excite.build(shape)
        self.skip_gain = self.add_weight(
            name="skip_gain", shape=(), initializer="zeros", autocast=False
        )

    def call(self, x, training=None, keep=None):
        if not (training and self.gradient_checkpointing):
            return self._compute(x, keep, training)
        if keep is None:
            # Drawn here: a computation that is repeated must not draw anew.
            keep = self.stochastic_depth.draw(ops.shape(x)[0], training)
        if keep is None:
            return checkpointed(lambda x: self._compute(x, None, training))(x)
        keep = ops.cast(keep, self.variable_dtype)  # what is differentiated must be float
        return checkpointed(lambda x, keep: self._compute(x, keep, training))(x, keep)

    def _compute(self, x, keep, training):
        activated = gelu_tanh(x)
        residual = self.conv0(activated, training=training)
        residual = self.conv1(gelu_tanh(residual), training=training)
        residual = self.conv1b(gelu_tanh(residual), training=training)
        residual = self.conv2(gelu_tanh(residual), training=training)
        gate = self.squeeze_excite(residual)
        gate = self.stochastic_depth(gate, training=training, keep=keep)
        gate = gate * (2.0 * ALPHA * self.skip_gain)
        return residual * ops.cast(gate, residual.dtype) + self._shortcut(x, activated, training)

    def _shortcut(self, x, activated, training):
        if self.conv_shortcut is None:
            return x
        if self.strides != (1, 1):
            activated = self.shortcut_pool(activated)
        return self.conv_shortcut(activated, training=training)

    def compute_output_shape(self, input_shape):
        return self.conv2.compute_output_shape(self.conv1.compute_output_shape(input_shape))

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_time": self.kernel_time,
            "strides": self.strides,
            "group_size": self.group_size,
            "beta": self.beta,
            "drop_rate": self.drop_rate,
            "gradient_checkpointing": self.gradient_checkpointing,
        }
