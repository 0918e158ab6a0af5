"""A Keras encoder as a Reusable SavedModel: what `tf.saved_model.save` is given.

Three things go wrong when a Keras 3 model is saved naively, and are dealt with here: `tf.Module`
finds none of its variables, so the lists are explicit; `Model.export` gives an object that cannot
be called or trained; default arguments of traced functions become inputs.
"""

import json
import tempfile
from pathlib import Path

import tensorflow as tf

from hares_tf.hub.card import CLASS_MAP_NAME
from hares_tf.hub.export.folding import ServingForm
from hares_tf.hub.export.signatures import WAVEFORM, make_signatures
from hares_tf.hub.flavors import FLOAT32, REUSABLE, SERVING
from hares_tf.hub.loader import CARD_NAME
from hares_tf.models.classifier import Classifier


class HubModule(tf.Module):
    """The attributes of a module, in both flavors.

    `__call__(waveform [batch, samples] or [samples], training=False) -> embedding [batch, dim]`
    (one row for a single waveform), `variables`, `trainable_variables`, `regularization_losses`,
    `model_card`. With a classifier also `logits(waveform, training=False) -> [batch, classes]` and
    `class_map`.

    Args:
        networks: `{training: concrete function}`, waveform -> `{"embedding", ...}`.
        head: embedding -> `{"logits"}` or `{}`.
        assets: folder of the model card and of the class map; both go into the assets.
    """

    # tf.Module's properties of these names look for tf.Modules, which Keras layers are not.
    variables = None
    trainable_variables = None

    def __init__(self, networks: dict, head, assets: Path):
        super().__init__()
        self.variables = []
        self.trainable_variables = []
        self.regularization_losses = []
        self.model_card = tf.saved_model.Asset(str(assets / CARD_NAME))
        self.__call__ = _callable(networks, "embedding", lambda embedding: embedding)
        if (assets / CLASS_MAP_NAME).exists():
            self.class_map = tf.saved_model.Asset(str(assets / CLASS_MAP_NAME))
            self.logits = _callable(networks, "logits", lambda embedding: head(embedding)["logits"])


def save(
    model,
    card: dict,
    directory: Path,
    classifier: Classifier | None = None,
    flavor: str = REUSABLE,
    precision: str = FLOAT32,
) -> None:
    """Writes the SavedModel of a built `WaveformEncoder` into `directory`, `card` in its assets.

    Its signatures are those of `hub.signatures`.

    Args:
        model: the encoder.
        card: what the module says about itself.
        directory: the folder to write.
        classifier: on the embedding, or None.
        flavor: one of `hub.flavors.FLAVORS`.
        precision: of the serving flavor.
    """
    serving = flavor == SERVING
    # Tracing is what takes time and graph size: once for each mode; everything callable wraps it.
    if serving:
        folded = ServingForm(model, precision)
        network = _trace(folded)
        networks = {False: network, True: network}
        head, head_variables = _frozen_head(classifier)
    else:
        networks = {False: _trace(_in_inference(model)), True: _trace(_in_training(model))}
        head, head_variables = _trained_head(classifier)

    with tempfile.TemporaryDirectory() as scratch:
        assets = Path(scratch)
        text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
        (assets / CARD_NAME).write_text(text, encoding="utf-8")
        if classifier:
            (assets / CLASS_MAP_NAME).write_text(classifier.class_map(), encoding="utf-8")
        module = HubModule(networks, head, assets)
        if serving:
            module.variables = [*folded.variables, *head_variables]
        else:
            _make_trainable(module, model, networks, head_variables)
        signatures = make_signatures(
            networks[False],
            head,
            model.embedding_size,
            model.sample_rate,
            has_frames=model.frame_hop is not None,
        )
        tf.saved_model.save(module, str(directory), signatures=signatures)


def _make_trainable(module, model, networks: dict, head_variables: list) -> None:
    """Adds what retraining needs.

    `train_fn(waveform [batch, samples])` is `__call__` with training=True, for callers that cannot
    pass the argument (`keras.layers.TFSMLayer(..., call_training_endpoint="train_fn")`).

    The head's variables are among `variables` and are `head_variables`, but not among the
    trainable ones, all of which `__call__` must reach: whoever retrains the embedding does not
    train the head.
    """
    module.variables = [*(variable.value for variable in model.variables), *head_variables]
    module.trainable_variables = [variable.value for variable in model.trainable_variables]
    module.regularization_losses = [
        _regularization_loss(variable)
        for variable in model.trainable_variables
        if variable.regularizer is not None
    ]
    module.train_fn = tf.function(
        lambda waveform: networks[True](waveform)["embedding"], input_signature=[WAVEFORM]
    )
    if head_variables:
        module.head_variables = head_variables


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


def _callable(networks: dict, output: str, on_embedding):
    """A function of one waveform or a batch of them, traced for inference and training."""

    # A function, not a method: the Keras model stays a closure's business and never becomes part of
    # the saved object graph.
    @tf.function
    def call(waveform, training=False):
        batch = waveform if waveform.shape.rank == 2 else waveform[tf.newaxis]
        embedding = networks[bool(training)](batch)["embedding"]
        return tf.identity(on_embedding(embedding), name=output)

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
