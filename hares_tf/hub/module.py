"""A Keras encoder as a Reusable SavedModel: what `tf.saved_model.save` is given.

Three things go wrong when a Keras 3 model is saved naively, and are dealt with here: `tf.Module`
finds none of its variables, so the lists are explicit; `Model.export` gives an object that cannot
be called or trained; default arguments of traced functions become inputs.
"""

import json
import tempfile
from pathlib import Path

import tensorflow as tf

from hares_tf.hub.classifier import CLASS_MAP_NAME, Classifier
from hares_tf.hub.loader import CARD_NAME

_WAVEFORM = tf.TensorSpec([None, None], tf.float32, name="waveform")


class HubModule(tf.Module):
    """The reusable flavour of a module: callable, trainable, any batch size and length.

    `__call__(waveform [batch, samples] or [samples], training=False) -> embedding [batch, dim]`
    (one row for a single waveform), `variables`, `trainable_variables`, `regularization_losses`.

    With a classifier also `logits(waveform, training=False) -> [batch, classes]` and
    `head_variables`. Those are among the variables, but not among the trainable ones, all of which
    `__call__` must reach: whoever retrains the embedding does not train the head.

    Args:
        model: a built `WaveformEncoder`.
        networks: the traced network, by `training`.
        assets: folder of the model card and of the class map; both go into the assets.
        classifier: on the embedding, or None.
    """

    # tf.Module's properties of these names look for tf.Modules, which Keras layers are not.
    variables = None
    trainable_variables = None

    def __init__(self, model, networks: dict, assets: Path, classifier: Classifier | None = None):
        super().__init__()
        head = classifier.dense.variables if classifier else []
        self.variables = [variable.value for variable in (*model.variables, *head)]
        self.trainable_variables = [variable.value for variable in model.trainable_variables]
        self.regularization_losses = [
            _regularization_loss(variable)
            for variable in model.trainable_variables
            if variable.regularizer is not None
        ]
        self.model_card = tf.saved_model.Asset(str(assets / CARD_NAME))
        self.__call__ = _callable(networks, "embedding")
        if classifier:
            dense = classifier.dense
            self.head_variables = [variable.value for variable in head]
            self.class_map = tf.saved_model.Asset(str(assets / CLASS_MAP_NAME))
            self.logits = _callable(networks, "logits", lambda embedding: dense(embedding))


def save(model, card: dict, directory: Path, classifier: Classifier | None = None) -> None:
    """Writes the SavedModel of a built `WaveformEncoder` into `directory`, `card` in its assets.

    Signature `serving_default(waveform [batch, samples]) -> {"embedding" [batch, dim]}`, with a
    classifier also `"logits" [batch, classes]`; the first axis of every output is the batch, as
    servers that merge requests need it.
    """
    # Tracing is what takes time and graph size: once for each mode; everything callable wraps it.
    networks = {training: _trace(model, training) for training in (False, True)}

    @tf.function(input_signature=[_WAVEFORM])
    def serve(waveform):
        embedding = networks[False](waveform)
        outputs = {"embedding": embedding}
        return outputs | {"logits": classifier.dense(embedding)} if classifier else outputs

    with tempfile.TemporaryDirectory() as scratch:
        assets = Path(scratch)
        text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
        (assets / CARD_NAME).write_text(text, encoding="utf-8")
        if classifier:
            (assets / CLASS_MAP_NAME).write_text(classifier.class_map(), encoding="utf-8")
        module = HubModule(model, networks, assets, classifier)
        tf.saved_model.save(module, str(directory), signatures={"serving_default": serve})


def _trace(model, training: bool):
    @tf.function(input_signature=[_WAVEFORM])
    def network(waveform):
        return model(waveform, training=training)

    return network.get_concrete_function()


def _callable(networks: dict, output: str, on_embedding=lambda embedding: embedding):
    """A function of one waveform or a batch of them, traced for inference and training."""

    # A function, not a method: the Keras model stays a closure's business and never becomes part of
    # the saved object graph.
    @tf.function
    def call(waveform, training=False):
        batch = waveform if waveform.shape.rank == 2 else waveform[tf.newaxis]
        return tf.identity(on_embedding(networks[bool(training)](batch)), name=output)

    for training in (False, True):
        for shape in ([None, None], [None]):
            call.get_concrete_function(
                tf.TensorSpec(shape, tf.float32, name="waveform"), training=training
            )
    return call


def _regularization_loss(variable):
    @tf.function(input_signature=[])
    def loss():
        return variable.regularizer(variable.value)

    return loss
