"""Squeeze-and-excitation: one gate per channel and example."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="hares_tf")
class SqueezeExcite(keras.layers.Layer):
    """Channel gates from the mean over time and frequency.

    Mean over time and frequency, dense to half the channels, relu, dense to the channels, sigmoid
    (ratio and initial values: official JAX code; idea: Hu et al., "Squeeze-and-excitation
    networks", 2018). Returns the gate itself; the caller multiplies by it (NFNet blocks by twice
    the gate).

    Input `[batch, time, freq, channel]`, output `[batch, 1, 1, channel]` with values in (0, 1).
    Everything is computed in the variable dtype, which the output keeps (float32 under
    mixed_bfloat16): a gate is a few numbers per example and scales a whole map.
    """

    def build(self, input_shape):
        channels = input_shape[-1]
        hidden = channels // 2
        self.reduce = self._dense("reduce", channels, hidden, "relu")
        self.expand = self._dense("expand", hidden, channels, "sigmoid")

    def _dense(self, name, inputs, outputs, activation):
        # Normal with this deviation, cut at two deviations, without the usual correction.
        initializer = keras.initializers.TruncatedNormal(stddev=inputs**-0.5)
        layer = keras.layers.Dense(
            outputs,
            activation=activation,
            kernel_initializer=initializer,
            name=name,
            dtype=self.variable_dtype,
        )
        layer.build((None, inputs))
        return layer

    def call(self, x):
        # A mean over thousands of positions loses digits in half precision.
        pooled = ops.mean(ops.cast(x, self.variable_dtype), axis=(1, 2))
        gate = self.expand(self.reduce(pooled))
        return ops.expand_dims(gate, axis=(1, 2))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 1, 1, input_shape[-1])

    def compute_output_spec(self, x):
        return keras.KerasTensor(self.compute_output_shape(x.shape), self.variable_dtype)
