"""Small modules with a known closed form, saved in the shapes that modules have in the wild."""

import numpy as np
import tensorflow as tf

KERNEL = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
BIAS = np.array([0.1, 0.2, 0.3], np.float32)


def features(waveform: np.ndarray) -> np.ndarray:
    """`[batch, samples]` -> `[batch, 2]`: mean and mean square."""
    return np.stack([waveform.mean(1), (waveform**2).mean(1)], 1)


def embedding(waveform: np.ndarray) -> np.ndarray:
    """What every toy module makes of `[batch, samples]` in inference: `[batch, 3]`."""
    return features(waveform) @ KERNEL + BIAS


class Toy(tf.Module):
    """`[batch, samples] -> [batch, 3]`; in training it adds 1 and counts its calls."""

    variables = None
    trainable_variables = None

    def __init__(self):
        super().__init__()
        # Two variables of one name, as a network with two layers of a kind has them.
        self.kernel = tf.Variable(KERNEL, name="dense/weight")
        self.bias = tf.Variable(BIAS, name="dense/weight")
        self.calls = tf.Variable(
            0,
            dtype=tf.int64,
            trainable=False,
            name="calls",
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def embed(self, waveform, training=False):
        if training:
            self.calls.assign_add(1)
        axis = -1
        mean = tf.reduce_mean(waveform, axis)
        square = tf.reduce_mean(waveform**2, axis)
        output = tf.linalg.matvec(self.kernel, tf.stack([mean, square], -1), transpose_a=True)
        return output + self.bias + (1.0 if training else 0.0)

    def list_variables(self):
        self.variables = [self.kernel, self.bias, self.calls]
        self.trainable_variables = [self.kernel, self.bias]

        @tf.function(input_signature=[])
        def kernel_loss():
            return 0.5 * tf.reduce_sum(self.kernel**2)

        @tf.function(input_signature=[])
        def bias_loss():
            return 0.5 * tf.reduce_sum(self.bias**2)

        self.regularization_losses = [kernel_loss, bias_loss]


def save(
    path, call=None, *, signature=None, shape=(None, None), training=(False, True), lists=True
):
    """Saves a toy.

    Args:
        path: the folder.
        call: what `__call__` does, `(toy, waveform, training) -> outputs`; None: there is none.
        signature: what `serving_default` does, `(toy, waveform) -> dict`; None: there is none.
        shape: of the waveform.
        training: values of `training` that are traced; empty: the call has no such argument.
        lists: whether the variables are listed.
    """
    toy = Toy()
    if lists:
        toy.list_variables()
    spec = tf.TensorSpec(shape, tf.float32, name="waveform")
    if call and training:

        @tf.function
        def traced(waveform, training=False):
            return call(toy, waveform, training)

        for value in training:
            traced.get_concrete_function(spec, training=value)
        toy.__call__ = traced
    elif call:
        toy.__call__ = tf.function(
            lambda waveform: call(toy, waveform, False), input_signature=[spec]
        )
    signatures = None
    if signature:
        signatures = tf.function(lambda waveform: signature(toy, waveform), input_signature=[spec])
    tf.saved_model.save(toy, str(path), signatures=signatures)
    return path
