"""The inference form of a Slowfast NFNet: everything that is constant is computed beforehand.

Kernels are standardized once, with gains and activation factors multiplied into them. A 1x1
convolution is written as a matrix product, bias and activation in the textbook form: the graph
optimizer of TensorFlow recognizes the three and runs them as one operation of oneDNN, which saves
the passes over memory that an activation costs.

Weights are variables that are not trained, not constants of the graph: each signature would hold
its own copy of constants, and the first call of a large network would take many seconds.
"""

import numpy as np
import tensorflow as tf

from hares_tf.layers import gelu_tanh
from hares_tf.layers.nf_block import ALPHA
from hares_tf.models.nfnet_variants import SLOW_TIME_STRIDE
from hares_tf.models.slowfast_nfnet import SlowFastNFNet, frame_features, pooled_embedding


class FoldedSlowFastNFNet:
    """Spectrogram `[batch, time, freq, 1]` -> `(embedding, frames)` of a built `SlowFastNFNet`.

    Attributes:
        variables: the folded weights.

    Args:
        network: the network; later changes of its weights have no effect.
        precision: "float32" or "bfloat16": type of kernels and of the products with them. Gates,
            sums and pooling are float32 in both.
    """

    def __init__(self, network: SlowFastNFNet, precision: str = "float32"):
        self.variables: list[tf.Variable] = []
        self._type = tf.as_dtype(precision)
        self._slow, self._fast = (_Path(p, self._constant) for p in (network.slow, network.fast))
        self._fusions = [
            _convolution(fusion.conv, self._constant, activate=True) for fusion in network.fusions
        ]

    def __call__(self, spectrogram):
        maps = self._feature_maps(spectrogram)
        return pooled_embedding(maps, "float32"), frame_features(maps, "float32")

    def _constant(self, name: str, value, dtype=None):
        """A new variable."""
        value = tf.cast(tf.convert_to_tensor(value), dtype or self._type)
        self.variables.append(tf.Variable(value, trainable=False, name=name))
        return self.variables[-1]

    def _feature_maps(self, spectrogram):
        window = (SLOW_TIME_STRIDE, 1)
        slow = self._slow.stem(tf.nn.max_pool2d(spectrogram, window, window, "SAME"))
        fast = self._fast.stem(spectrogram)
        for stage, fusion in enumerate(self._fusions):
            slow = tf.concat([slow, fusion(fast)], axis=-1)
            fast = self._fast.stage(stage, fast)
            slow = self._slow.stage(stage, slow)
        return self._fast.head(fast), self._slow.head(slow)


class _Path:
    """Applies an `NFNetPath` with folded weights."""

    def __init__(self, path, constant):
        last = path.stem_convs[-1]
        self._stem = [_convolution(c, constant, activate=c is not last) for c in path.stem_convs]
        self._blocks = [_block(block, constant) for block in path.blocks]
        self._stages = [settings.stage for settings in path.settings]
        self.head = _convolution(path.final_conv, constant, activate=True)

    def stem(self, x):
        for convolution in self._stem:
            x = convolution(x)
        return x

    def stage(self, stage: int, x):
        for number, block in zip(self._stages, self._blocks, strict=True):
            x = block(x) if number == stage else x
        return x


def _block(block, constant):
    """Returns a function that applies an `NFBlock` with folded weights."""
    conv0, conv1, conv1b = (
        _convolution(layer, constant, activate=True)
        for layer in (block.conv0, block.conv1, block.conv1b)
    )
    conv2 = _convolution(block.conv2, constant)
    gate = _gate(block, constant)
    shortcut = block.conv_shortcut and _convolution(block.conv_shortcut, constant)

    def call(x):
        activated = gelu_tanh(x)
        residual = conv2(conv1b(conv1(conv0(activated))))
        residual = residual * gate(residual)
        if shortcut is None:
            return residual + x
        if block.strides != (1, 1):
            activated = tf.nn.avg_pool2d(activated, block.strides, block.strides, "SAME")
        return residual + shortcut(activated)

    return call


def _gate(block, constant):
    """Squeeze-and-excitation of a block, skip gain and alpha included."""
    layers = [
        [constant(f"{dense.name}_{v.name}", v.value, "float32") for v in (dense.kernel, dense.bias)]
        for dense in (block.squeeze_excite.reduce, block.squeeze_excite.expand)
    ]
    scale = float(2.0 * ALPHA * np.asarray(block.skip_gain))

    def call(x):
        pooled = tf.reduce_mean(x, axis=(1, 2))
        (kernel, bias), (kernel2, bias2) = layers
        hidden = tf.nn.relu(tf.nn.bias_add(tf.matmul(pooled, kernel), bias))
        gate = scale * tf.sigmoid(tf.nn.bias_add(tf.matmul(hidden, kernel2), bias2))
        return gate[:, tf.newaxis, tf.newaxis]

    return call


def _convolution(layer, constant, activate: bool = False):
    """Returns a function that applies a `ScaledWSConv2D`, and an activation if `activate`.

    It takes any type and gives float32, or the kernel's after a fused activation: what TensorFlow
    does element by element takes two to three times as long in bfloat16 as in float32 on a CPU.
    """
    kernel = constant(f"{layer.name}_kernel", layer.effective_kernel())
    bias = constant(f"{layer.name}_bias", layer.bias.value)
    if layer.kernel_size == layer.strides == (1, 1) and layer.groups == 1:
        return _pointwise(kernel, bias, activate)

    def call(x):
        x = tf.cast(x, kernel.dtype)
        y = tf.nn.conv2d(x, kernel, layer.strides, "SAME")
        # Groups and bias_add: see `layers.grouped_convolution`.
        y = y + bias if layer.groups > 1 else tf.nn.bias_add(y, bias)
        y = tf.cast(y, tf.float32)
        return gelu_tanh(y) if activate else y

    return call


def _pointwise(kernel, bias, activate: bool):
    """A 1x1 convolution, as a matrix product."""
    inputs, outputs = kernel.shape[2:]

    def call(x):
        y = tf.reshape(tf.cast(x, kernel.dtype), [-1, inputs])
        y = tf.nn.bias_add(tf.matmul(y, tf.reshape(kernel, [inputs, outputs])), bias)
        # The form of the activation that the graph optimizer recognizes.
        y = tf.nn.gelu(y, approximate=True) if activate else tf.cast(y, tf.float32)
        y = tf.reshape(y, tf.concat([tf.shape(x)[:3], [outputs]], axis=0))
        y.set_shape([*x.shape[:3], outputs])
        return y

    return call
