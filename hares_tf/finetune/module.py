"""A fine-tuned encoder and its head as a Reusable SavedModel, laid out as `hub.module` lays it out.

The source may be anybody's SavedModel: its functions are wrapped, its variables, tables and assets
are kept.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from hares_tf.finetune.encoder import TrainableEncoder
from hares_tf.finetune.errors import FinetuneError
from hares_tf.hub.card import CLASS_MAP_NAME
from hares_tf.hub.loader import CARD_NAME
from hares_tf.models.classifier import Classifier

EMBEDDING = "embedding"
_WAVEFORM = tf.TensorSpec([None, None], tf.float32, name="waveform")
# Written and read again, the graph is the same: what differs is the order of sums.
_TOLERANCE = 1e-5
_CASES = ((1, 0.6), (3, 1.37))


class FinetunedModule(tf.Module):
    """`__call__(waveform [batch, samples] or [samples], training=False) -> embedding [batch, dim]`.

    Also `logits(waveform, training=False) -> [batch, classes]` (before the softmax), `variables`,
    `trainable_variables` (those of the embedding), `head_variables`, `regularization_losses`,
    `class_map` and `model_card`; for a source that can be trained also
    `train_fn(waveform [batch, samples])`, the call with training=True.

    Args:
        encoder: as fine-tuned.
        kernel, bias: of the dense layer, `[dim, classes]` and `[classes]`.
        assets: folder of the card and of the class map.
    """

    # tf.Module's properties of these names would also find what the source keeps for itself.
    variables = None
    trainable_variables = None

    def __init__(
        self, encoder: TrainableEncoder, kernel: np.ndarray, bias: np.ndarray, assets: Path
    ):
        super().__init__()
        kernel = tf.Variable(kernel, name="head_kernel")
        bias = tf.Variable(bias, name="head_bias")
        self.head_variables = [kernel, bias]
        old_head = {id(v) for v in getattr(encoder.loaded, "head_variables", None) or []}
        self.variables = [
            *(v for v in encoder.variables if id(v) not in old_head),
            kernel,
            bias,
        ]
        self.trainable_variables = list(encoder.trainable_variables)
        self.regularization_losses = [_again(loss) for loss in encoder.regularization_losses]
        self.model_card = tf.saved_model.Asset(str(assets / CARD_NAME))
        self.class_map = tf.saved_model.Asset(str(assets / CLASS_MAP_NAME))

        def head(embedding):
            return tf.matmul(embedding, kernel) + bias

        networks = {mode: _network(encoder, mode) for mode in (False, True)}
        self.__call__ = _callable(networks, EMBEDDING, lambda embedding: embedding)
        self.logits = _callable(networks, "logits", head)
        if self.trainable_variables:
            self.train_fn = tf.function(
                lambda waveform: networks[True](waveform), input_signature=[_WAVEFORM]
            )
        self._signatures = _signatures(encoder, networks[False], head)
        traced = [*networks.values(), *self._signatures.values()]
        traced += [loss.get_concrete_function() for loss in self.regularization_losses]
        self._kept = _resources(encoder.loaded, traced)

    def signatures(self) -> dict:
        """What is given to `tf.saved_model.save`, by name."""
        return dict(self._signatures)


def wrapped_signatures(encoder: TrainableEncoder) -> list[str]:
    """Names of the source's signatures that give the embedding, beside serving_default."""
    names = []
    for name, source in dict(getattr(encoder.loaded, "signatures", None) or {}).items():
        outputs = source.structured_outputs
        embedding = outputs.get(EMBEDDING) if isinstance(outputs, dict) else None
        if name == "serving_default" or embedding is None or embedding.shape.rank != 2:
            continue
        if embedding.shape[1] in (None, encoder.size):
            names.append(name)
    return names


def save(
    encoder: TrainableEncoder,
    dense: tuple[np.ndarray, np.ndarray],
    classes: Sequence[str],
    card: dict,
    directory: Path,
) -> None:
    """Writes the module into a folder, and compares what is read from there with what is in memory.

    Args:
        encoder: as fine-tuned.
        dense: kernel and bias.
        classes: names, in the order of the logits.
        card: what the module says about itself.
        directory: the folder, empty.

    Raises:
        FinetuneError: the module cannot be written, or differs when it is read again.
    """
    with tempfile.TemporaryDirectory() as scratch:
        assets = Path(scratch)
        text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
        (assets / CARD_NAME).write_text(text, encoding="utf-8")
        class_map = Classifier(None, tuple(classes)).class_map()
        (assets / CLASS_MAP_NAME).write_text(class_map, encoding="utf-8")
        try:
            module = FinetunedModule(encoder, *dense, assets)
            tf.saved_model.save(module, str(directory), signatures=module.signatures())
        except Exception as error:  # TensorFlow wraps a full disk in its own error types
            reason = (str(error).strip() or repr(error)).splitlines()[0]
            raise FinetuneError(f"the fine-tuned module cannot be written: {reason}") from error
    check_written(encoder, dense, card["sample_rate"], directory)


def check_written(
    encoder: TrainableEncoder,
    dense: tuple[np.ndarray, np.ndarray],
    sample_rate: int,
    directory: Path,
) -> None:
    """Raises FinetuneError unless the module in a folder equals the one in memory."""
    written = tf.saved_model.load(str(directory))
    random = np.random.default_rng(0)
    for batch, seconds in _CASES:
        shape = (batch, max(1, round(seconds * sample_rate)))
        waveform = tf.constant(random.uniform(-0.5, 0.5, shape), tf.float32)
        embedding = encoder(waveform, training=False).numpy()
        logits = embedding @ dense[0] + dense[1]
        served = written.signatures["serving_default"](waveform=waveform)
        for name, found, wanted in (
            ("the embedding", written(waveform), embedding),
            ("the logits", written.logits(waveform), logits),
            ("the signature's embedding", served[EMBEDDING], embedding),
            ("the signature's logits", served["logits"], logits),
        ):
            scale = max(1.0, float(np.max(np.abs(wanted))))
            deviation = float(np.max(np.abs(found.numpy() - wanted))) / scale
            if not deviation <= _TOLERANCE:
                raise FinetuneError(
                    f"{name} of the written module differs by {deviation:.1e} from the one in "
                    f"memory for a waveform of shape {shape}; nothing was kept"
                )


def _network(encoder: TrainableEncoder, training: bool):
    """Traced once for each mode; everything callable wraps it."""

    @tf.function(input_signature=[_WAVEFORM])
    def network(waveform):
        return tf.ensure_shape(encoder(waveform, training), [None, encoder.size])

    return network.get_concrete_function()


def _callable(networks: dict, output: str, on_embedding):
    """A function of one waveform or a batch of them, traced for inference and training."""

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


def _again(loss):
    """A loss of the source as a function of this module."""
    return tf.function(lambda: loss(), input_signature=[])


def _signatures(encoder: TrainableEncoder, infer, head) -> dict:
    """serving_default, and those of the source that give the embedding, with the new logits."""

    @tf.function(input_signature=[_WAVEFORM])
    def serving_default(waveform):
        embedding = infer(waveform)
        return {EMBEDDING: embedding, "logits": head(embedding)}

    made = {"serving_default": serving_default.get_concrete_function()}
    for name in wrapped_signatures(encoder):
        source = encoder.loaded.signatures[name]
        specs = dict(source.structured_input_signature[1])
        made[name] = _with_logits(source, head, encoder.size).get_concrete_function(**specs)
    return made


def _with_logits(source, head, size: int):
    @tf.function
    def signature(**inputs):
        outputs = dict(source(**inputs))
        embedding = tf.ensure_shape(outputs[EMBEDDING], [None, size])
        return {**outputs, EMBEDDING: embedding, "logits": head(embedding)}

    return signature


def _resources(loaded, functions: list) -> list:
    """What the source's functions need: captured variables, tables, and assets of its own.

    Not the source's card and class map: this module brings others of the same names.
    """
    captured = {id(tensor) for function in functions for tensor in function.captured_inputs}
    kept = []
    for part in tf.train.TrackableView(loaded).descendants():
        if isinstance(part, tf.Variable):
            needed = id(part.handle) in captured
        elif isinstance(part, tf.saved_model.Asset):
            name = Path(part.asset_path.numpy().decode()).name
            needed = name not in (CARD_NAME, CLASS_MAP_NAME)
        else:
            needed = hasattr(part, "resource_handle")
        if needed:
            kept.append(part)
    return kept
