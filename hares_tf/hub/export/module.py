"""A Keras encoder as a Reusable SavedModel.

Three things go wrong when a Keras 3 model is saved naively, and are dealt with here: `tf.Module`
finds none of its variables, so the lists are explicit; `Model.export` gives an object that cannot
be called or trained; default arguments of traced functions become inputs.
"""

from pathlib import Path
from typing import Any

import tensorflow as tf

from hares_tf.hub.export import saved_module
from hares_tf.hub.export.folding import ServingForm
from hares_tf.hub.export.signatures import WAVEFORM, make_signatures
from hares_tf.hub.flavors import FLOAT32, REUSABLE, SERVING
from hares_tf.hub.model_card import ModelCard
from hares_tf.models.classifier import Classifier


def save(
    model,
    card: ModelCard,
    directory: Path,
    classifier: Classifier | None = None,
    flavor: str = REUSABLE,
    precision: str = FLOAT32,
) -> None:
    """Writes the SavedModel of a built `WaveformEncoder` into `directory`, `card` in its assets.

    Its signatures are those of `hub.export.signatures`.

    Args:
        model: the encoder.
        card: the model card.
        directory: the folder to write.
        classifier: on the embedding, or None.
        flavor: one of `hub.flavors.FLAVORS`.
        precision: of the serving flavor.
    """
    # Tracing is what takes time and graph size: once for each mode; everything callable wraps it.
    if flavor == SERVING:
        folded = ServingForm(model, precision)
        network = _trace(folded)
        networks = {False: network, True: network}
        head, head_variables = _frozen_head(classifier)
        lists: dict[str, Any] = {"variables": [*folded.variables, *head_variables]}
    else:
        networks = {False: _trace(_in_inference(model)), True: _trace(_in_training(model))}
        head, head_variables = _trained_head(classifier)
        lists = _trainable_lists(model, head_variables)
    signatures = make_signatures(
        networks[False],
        head,
        model.embedding_size,
        model.sample_rate,
        has_frames=model.frame_hop is not None,
    )
    contents = saved_module.Contents(
        networks,
        signatures,
        card,
        head=head,
        class_map=classifier.class_map() if classifier else "",
        **lists,
    )
    saved_module.write(contents, directory)


def _trainable_lists(model, head_variables: list) -> dict[str, Any]:
    """The fields of `saved_module.Contents` that retraining needs."""
    return {
        "variables": [*(variable.value for variable in model.variables), *head_variables],
        "trainable_variables": [variable.value for variable in model.trainable_variables],
        "regularization_losses": [
            _regularization_loss(variable)
            for variable in model.trainable_variables
            if variable.regularizer is not None
        ],
        "head_variables": head_variables,
        "has_train_fn": True,
    }


def _in_inference(model):
    if model.frame_hop is None:
        return lambda waveform: (model(waveform, training=False), None)
    return lambda waveform: model.embedding_and_frames(waveform, training=False)


def _in_training(model):
    return lambda waveform: (model(waveform, training=True), None)


def _trace(encoder):
    """A graph of waveform -> `(embedding, frames or None)`, its outputs by name."""

    @tf.function(input_signature=[WAVEFORM])
    def network(waveform):
        embedding, frames = encoder(waveform)
        return {"embedding": embedding} | ({} if frames is None else {"frames": frames})

    return network.get_concrete_function()


def _trained_head(classifier: Classifier | None):
    """Embedding -> `{"logits"}`, and the variables of it."""
    if classifier is None:
        return lambda embedding: {}, []
    dense = classifier.dense
    return lambda embedding: {"logits": dense(embedding)}, [v.value for v in dense.variables]


def _frozen_head(classifier: Classifier | None):
    if classifier is None:
        return lambda embedding: {}, []
    kernel, bias = (
        tf.Variable(tf.convert_to_tensor(v), trainable=False, name=f"head_{v.name}")
        for v in (classifier.dense.kernel, classifier.dense.bias)
    )
    return lambda embedding: {"logits": tf.matmul(embedding, kernel) + bias}, [kernel, bias]


def _regularization_loss(variable):
    @tf.function(input_signature=[])
    def loss():
        return variable.regularizer(variable.value)

    return loss
