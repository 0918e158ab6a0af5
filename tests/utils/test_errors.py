"""The cause of an error in one line."""

import errno

import keras
import pytest
import tensorflow as tf

from hares_tf.utils.errors import reason


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("\n  bad value.\nmore"), "bad value"),
        (ValueError(), "ValueError"),
        (OSError(errno.ENOSPC, "No space left on device", "/a/path"), "No space left on device"),
        (RuntimeError("x" * 500), "x" * 200),
        (SyntaxError("invalid syntax", ("mine.py", 3, 1, "def", 3, 2)), "invalid syntax"),
    ],
)
def test_reason(error, text):
    assert reason(error) == text


@tf.function
def reshaped(waveform):
    return tf.reshape(waveform, [3, -1])


@tf.function(input_signature=[tf.TensorSpec([None])])
def sixth(waveform):
    return tf.signal.frame(waveform, 400, 160)[5]


@tf.function(input_signature=[tf.TensorSpec([None])])
def asserted(waveform):
    tf.debugging.Assert(tf.shape(waveform)[0] > 5, ["at least 5 samples, not", tf.shape(waveform)])
    return waveform


class Failing(keras.layers.Layer):
    def call(self, inputs):
        raise ValueError("The cause.")


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda: reshaped(tf.ones([4])), "Dimension size must be evenly divisible by 3 but is 4"),
        (lambda: sixth(tf.ones([100])), "slice index 5 of dimension 0 out of bounds"),
        (lambda: asserted(tf.ones([3])), "assertion failed: [at least 5 samples, not] [3]"),
        (lambda: tf.matmul(tf.ones([2, 3]), tf.ones([2, 3])), "Matrix size-incompatible: In[0]"),
        (lambda: Failing()(tf.ones([1])), "The cause"),
    ],
    ids=["trace", "graph", "assertion", "operation", "layer"],
)
def test_tensorflow_and_keras_name_the_cause_behind_other_lines(function, text):
    with pytest.raises(Exception) as raised:
        function()
    assert text in reason(raised.value) and "{{" not in reason(raised.value)
