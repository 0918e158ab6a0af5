"""Building blocks of the encoders, written with `keras.ops` for every Keras backend."""

from hares_tf.layers.activations import GELU_GAMMA, gelu_tanh, scaled_gelu
from hares_tf.layers.fast_to_slow_fusion import FastToSlowFusion
from hares_tf.layers.grouped_convolution import grouped_conv2d
from hares_tf.layers.nf_block import ALPHA, NFBlock
from hares_tf.layers.scaled_ws_conv import ScaledWSConv2D
from hares_tf.layers.squeeze_excite import SqueezeExcite
from hares_tf.layers.stochastic_depth import StochasticDepth, keep_mask

__all__ = [
    "ALPHA",
    "GELU_GAMMA",
    "FastToSlowFusion",
    "NFBlock",
    "ScaledWSConv2D",
    "SqueezeExcite",
    "StochasticDepth",
    "gelu_tanh",
    "grouped_conv2d",
    "keep_mask",
    "scaled_gelu",
]
