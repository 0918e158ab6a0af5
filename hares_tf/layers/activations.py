"""The activation of the normalizer-free networks and its variance-preserving factor."""

import math

from keras import ops

#: Factor that gives `gelu_tanh` of a unit normal input unit variance (NFNet's "gamma" for gelu;
#: value of the official JAX code).
GELU_GAMMA = 1.7015043497085571

# tanh approximation of gelu: x * sigmoid(2 z) with z = sqrt(2 / pi) * (x + 0.044715 x^3).
_LINEAR = 2.0 * math.sqrt(2.0 / math.pi)
_CUBIC = 0.044715 * _LINEAR


def gelu_tanh(x):
    """Tanh approximation of the Gaussian error linear unit, `0.5 x (1 + tanh(z))`.

    `z = sqrt(2 / pi) * (x + 0.044715 x^3)`. Written with the identity
    `0.5 (1 + tanh(z)) = sigmoid(2 z)`: as fast as the textbook form of `keras.ops.gelu`, with half
    its rounding error in float32, because nothing cancels for negative `x`.

    Args:
        x: float tensor of any shape.

    Returns:
        Tensor of the same shape and dtype.
    """
    return x * ops.sigmoid(x * (_LINEAR + _CUBIC * ops.square(x)))


def scaled_gelu(x):
    """`gelu_tanh(x) * GELU_GAMMA`, the activation inside NFNet stems and blocks.

    The layers of this package multiply by the factor inside the convolution that follows (its
    `input_scale`), which saves a pass over the activations.

    Args:
        x: float tensor of any shape.

    Returns:
        Tensor of the same shape and dtype.
    """
    return gelu_tanh(x) * GELU_GAMMA
