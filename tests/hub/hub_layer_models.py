"""Keras models around a HubLayer of a toy module."""

import keras
import numpy as np
from hub.toy_modules import BIAS, KERNEL

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    def __init__(self, hub, **kwargs):
        super().__init__(**kwargs)
        self.hub, self.head = hub, keras.layers.Dense(2)

    def call(self, waveform, training=False):
        return self.head(self.hub(waveform))

    def get_config(self):
        return {"hub": keras.saving.serialize_keras_object(self.hub)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["hub"]))


def sequential(layer):
    return keras.Sequential([keras.Input((None,)), layer, keras.layers.Dense(2)])


def functional(layer):
    inputs = keras.Input((None,), name="waveform")
    return keras.Model(inputs, keras.layers.Dense(2)(layer(inputs)))


KINDS = {"sequential": sequential, "functional": functional, "subclassed": Subclassed}


def fitted(model, waveform, labels, optimizer="adam"):
    model.compile(optimizer, LOSS)
    model.fit(waveform, labels, batch_size=4, epochs=1, shuffle=False, verbose=0)
    return model


def changed(layer) -> list[str]:
    """Names of the module's variables that are no longer what the handle says."""
    now = layer.module
    pairs = {"kernel": (now.kernel, KERNEL), "bias": (now.bias, BIAS), "calls": (now.calls, 0)}
    return [name for name, (is_now, was) in pairs.items() if np.any(is_now.numpy() != was)]
