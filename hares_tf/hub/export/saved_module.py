"""A Hub module as a SavedModel: what exported and fine-tuned modules have in common."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tensorflow as tf

from hares_tf.hub.export.signatures import WAVEFORM
from hares_tf.hub.model_card import CARD_NAME, CLASS_MAP_NAME, ModelCard


@dataclass(frozen=True)
class Contents:
    """The parts of a module.

    Attributes:
        networks: `{training: concrete function}` for inference and training, each
            waveform `[batch, samples]` -> `{"embedding", ...}`.
        signatures: traced functions by the signature's name.
        card: the model card.
        variables: all variables.
        trainable_variables: those of the embedding that may be trained.
        regularization_losses: functions of no argument, traced.
        head: embedding -> the outputs that a classifier adds, `{"logits"}` or `{}`.
        head_variables: variables of the logits that may be trained.
        class_map: names of the logits as CSV, see `models.classifier`; "" without a classifier.
        has_train_fn: whether the module offers `train_fn`.
        resources: tables, assets and further variables that the functions need.
    """

    networks: Mapping
    signatures: Mapping[str, Callable]
    card: ModelCard
    variables: Sequence[tf.Variable]
    trainable_variables: Sequence[tf.Variable] = ()
    regularization_losses: Sequence[Callable] = ()
    head: Callable = lambda embedding: {}
    head_variables: Sequence[tf.Variable] = ()
    class_map: str = ""
    has_train_fn: bool = False
    resources: Sequence = field(default=())


class HubModule(tf.Module):
    """The object that is saved.

    `__call__(waveform [batch, samples] or [samples], training=False) -> embedding [batch, dim]`
    (one row for a single waveform), `variables`, `trainable_variables`, `regularization_losses`,
    `model_card`. With a classifier also `logits(waveform, training=False) -> [batch, classes]`
    (before the sigmoid or softmax) and `class_map`.

    `train_fn(waveform [batch, samples])` is `__call__` with training=True, for callers that cannot
    pass the argument (`keras.layers.TFSMLayer(..., call_training_endpoint="train_fn")`).

    The head's variables are among `variables` and are `head_variables`, but not among the
    trainable ones, all of which `__call__` must reach: whoever retrains the embedding does not
    train the head.

    Args:
        contents: see `Contents`.
        assets: folder of the model card and of the class map; both go into the assets.
    """

    # tf.Module's properties of these names look for tf.Modules, which Keras layers are not, and
    # would also find what a fine-tuned source keeps for itself.
    variables = None
    trainable_variables = None

    def __init__(self, contents: Contents, assets: Path):
        super().__init__()
        networks, head = contents.networks, contents.head
        self.variables = list(contents.variables)
        self.trainable_variables = list(contents.trainable_variables)
        self.regularization_losses = list(contents.regularization_losses)
        self.model_card = tf.saved_model.Asset(str(assets / CARD_NAME))
        self.__call__ = _callable(networks, "embedding", lambda embedding: embedding)
        if contents.class_map:
            self.class_map = tf.saved_model.Asset(str(assets / CLASS_MAP_NAME))
            self.logits = _callable(networks, "logits", lambda embedding: head(embedding)["logits"])
        if contents.has_train_fn:
            self.train_fn = tf.function(
                lambda waveform: networks[True](waveform)["embedding"], input_signature=[WAVEFORM]
            )
        if contents.head_variables:
            self.head_variables = list(contents.head_variables)
        self._resources = list(contents.resources)


def write(contents: Contents, directory: Path) -> None:
    """Writes the SavedModel into a folder, with card and class map in its assets.

    Raises:
        Exception: whatever TensorFlow raises; it wraps a full disk in its own error types.
    """
    with tempfile.TemporaryDirectory() as scratch:
        assets = Path(scratch)
        contents.card.write(assets / CARD_NAME)
        if contents.class_map:
            (assets / CLASS_MAP_NAME).write_text(contents.class_map, encoding="utf-8")
        module = HubModule(contents, assets)
        tf.saved_model.save(module, str(directory), signatures=dict(contents.signatures))


def _callable(networks: Mapping, output: str, on_embedding: Callable):
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
