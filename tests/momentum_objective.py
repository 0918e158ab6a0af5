"""A small objective with a momentum target, for tests of the contract of objectives.

The embedding of the first crop predicts that of the second one by the target, an exponential moving
average of the encoder. Besides it counts its updates.
"""

import keras
from keras import ops

from hares_tf.checkpoints.variable_names import named_variables
from hares_tf.objectives import Inputs, Losses, Objective, register

NAME = "momentum"
MOMENTUM = 0.9


class Momentum(Objective):
    """Mean squared error to the embedding of a momentum target."""

    crops = 2
    chunkable = False
    metric_names = ("error",)

    def create_head(self, classes, dtype=None):
        return keras.layers.Dense(24, dtype="float32", name="predictor")

    def create_state(self, encoder, head):
        self.target = type(encoder).from_config({**encoder.get_config(), "name": "target"})
        self.target.build((None, None))
        self.target.set_weights(encoder.get_weights())
        self.target.trainable = False
        self.updates = keras.Variable(0.0, trainable=False, name="updates")
        self.state = {**named_variables(self.target, "target"), "updates": self.updates}

    def encoder_rows(self, clips):
        return (clips,)

    def inputs(self, encoder, waveforms, labels, draws):
        crops = [encoder.inputs(waveforms[:, crop]) for crop in range(self.crops)]
        return Inputs(ops.concatenate(crops, axis=0))

    def losses(self, forward, inputs, gather):
        first, second = ops.split(inputs.examples, 2)
        predicted = forward.head(forward.embed(first))
        target = ops.stop_gradient(self.target.embed(second, training=False))
        error = ops.mean(ops.square(predicted - target), axis=-1)
        return Losses(error, {"error": error})

    def after_update(self, encoder, head):
        for target, online in zip(self.target.weights, encoder.weights, strict=True):
            if target.dtype == "float32":
                target.assign(MOMENTUM * target + (1 - MOMENTUM) * online)
        self.updates.assign(self.updates + 1.0)


register(NAME, Momentum)


def get_config():
    """The momentum target on the micro network."""
    import micro
    from ml_collections import ConfigDict

    config = micro.get_config()
    config.objective = ConfigDict({"name": NAME})
    config.learning_rate = 1e-3
    config.explosion = 1e6
    return config
