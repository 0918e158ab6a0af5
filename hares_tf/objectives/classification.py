"""Supervised classification of sounds that may have several labels."""

import keras
from keras import ops

from hares_tf.audio.precision import full_precision_policy
from hares_tf.objectives.errors import ObjectiveError
from hares_tf.objectives.mixing import MixingObjective
from hares_tf.objectives.objective import Losses


def sigmoid_cross_entropy(labels, logits):
    """Mean over the classes of the binary cross-entropies.

    Args:
        labels: `[batch, classes]` in [0, 1]; between where examples were mixed.
        logits: `[batch, classes]`.

    Returns:
        `[batch]`.
    """
    # -log(sigmoid(x)) = softplus(-x), -log(1 - sigmoid(x)) = softplus(x): exact for large |x|.
    losses = labels * ops.softplus(-logits) + (1.0 - labels) * ops.softplus(logits)
    return ops.mean(losses, axis=-1)


class ClassifierHead(keras.layers.Layer):
    """One dense layer on the embedding, in float32: `[batch, dim]` -> logits `[batch, classes]`."""

    def __init__(self, classes, *, dtype=None, **kwargs):
        super().__init__(dtype=full_precision_policy(dtype), **kwargs)
        self.dense = keras.layers.Dense(classes, name="logits", dtype=self.dtype_policy)

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, x):
        return self.dense(x)

    def compute_output_shape(self, input_shape):
        return self.dense.compute_output_shape(input_shape)


class Classification(MixingObjective):
    """Sigmoid cross-entropy on one crop, with labels mixed like the examples.

    No class balancing, no SpecAugment, no start value for the biases (paper, Section 2.2).
    """

    needs_labels = True

    def create_head(self, classes, dtype=None):
        if classes < 1:
            raise ObjectiveError(
                "Classification needs clips with labels; prepare them with hares-prepare --labels, "
                "or choose SimCLR."
            )
        return ClassifierHead(classes, dtype=dtype, name="classifier")

    def losses(self, forward, inputs, gather):
        logits = forward.head(forward.embed(inputs.examples))
        labels = ops.cast(inputs.labels, logits.dtype)
        return Losses(sigmoid_cross_entropy(labels, logits), scores=logits)
