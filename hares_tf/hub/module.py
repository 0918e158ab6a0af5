"""A Keras encoder as a Reusable SavedModel: what `tf.saved_model.save` is given.

Three things go wrong when a Keras 3 model is saved naively, and are dealt with here: `tf.Module`
finds none of its variables, so the lists are explicit; `Model.export` gives an object that cannot
be called or trained; default arguments of traced functions become inputs.
"""

from pathlib import Path

import tensorflow as tf


class HubModule(tf.Module):
    """The reusable flavour of a module: callable, trainable, any batch size and length.

    `__call__(waveform [batch, samples] or [samples], training=False) -> embedding [batch, dim]`
    (one row for a single waveform), `variables`, `trainable_variables`, `regularization_losses`.

    Args:
        model: a built `WaveformEncoder`.
        card: path of the model card that goes into the assets.
    """

    # tf.Module's properties of these names look for tf.Modules, which Keras layers are not.
    variables = None
    trainable_variables = None

    def __init__(self, model, card: Path):
        super().__init__()
        self.variables = [variable.value for variable in model.variables]
        self.trainable_variables = [variable.value for variable in model.trainable_variables]
        self.regularization_losses = [
            _regularization_loss(variable)
            for variable in model.trainable_variables
            if variable.regularizer is not None
        ]
        self.model_card = tf.saved_model.Asset(str(card))

        # A function of the instance, not a method: so the Keras model is a closure's business and
        # never becomes part of the saved object graph.
        @tf.function
        def call(waveform, training=False):
            batch = waveform if waveform.shape.rank == 2 else waveform[tf.newaxis]
            return tf.identity(model(batch, training=training), name="embedding")

        for training in (False, True):
            for shape in ([None, None], [None]):
                call.get_concrete_function(
                    tf.TensorSpec(shape, tf.float32, name="waveform"), training=training
                )

        self.__call__ = call


def signatures(model) -> dict:
    """The functions that servers call by name; the first axis of every output is the batch."""

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name="waveform")])
    def serve(waveform):
        return {"embedding": model(waveform, training=False)}

    return {"serving_default": serve}


def save(model, card: Path, directory: Path) -> None:
    """Writes the SavedModel of a built `WaveformEncoder` with its card into `directory`."""
    tf.saved_model.save(HubModule(model, card), str(directory), signatures=signatures(model))


def _regularization_loss(variable):
    @tf.function(input_signature=[])
    def loss():
        return variable.regularizer(variable.value)

    return loss
