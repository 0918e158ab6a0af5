"""Lateral connection of a Slowfast network: fast features become slow channels."""

import keras
from keras import ops

from hares_tf.layers.activations import gelu_tanh
from hares_tf.layers.scaled_ws_conv import ScaledWSConv2D


@keras.saving.register_keras_serializable(package="hares_tf")
class FastToSlowFusion(keras.layers.Layer):
    """Brings fast features to the slow frame rate and appends them to the slow channels.

    A weight-standardized convolution over `(7, 1)` with stride `(4, 1)`, plain gelu, then
    `[slow, fused]` side by side (kernel, stride and activation: official JAX code). The fast
    features themselves stay as they are.

    Args:
        filters: channels to append.
        **kwargs: of `keras.layers.Layer`.

    Call arguments: `slow` `[batch, slow_time, freq, slow_channel]` and `fast`
    `[batch, fast_time, freq, fast_channel]` with `slow_time = ceil(fast_time / 4)`.
    Returns `[batch, slow_time, freq, slow_channel + filters]`.
    """

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.conv = ScaledWSConv2D(
            filters, (7, 1), (4, 1), name="conv_f2s", dtype=self.dtype_policy
        )

    def build(self, slow_shape, fast_shape):
        self.conv.build(fast_shape)

    def call(self, slow, fast, training=None):
        fused = gelu_tanh(self.conv(fast, training=training))
        return ops.concatenate([slow, fused], axis=-1)

    def compute_output_shape(self, slow_shape, fast_shape):
        return (*slow_shape[:-1], slow_shape[-1] + self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}
