"""A fine-tuned encoder and its head as a Reusable SavedModel.

The source may be anybody's SavedModel: its functions are wrapped, its variables, tables and assets
are kept.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from hares_tf.finetune.encoder import WaveformEmbedder, trace
from hares_tf.finetune.errors import FinetuneError
from hares_tf.hub.export import conformance, saved_module
from hares_tf.hub.export.signatures import WAVEFORM
from hares_tf.hub.model_card import CARD_NAME, CLASS_MAP_NAME, ModelCard
from hares_tf.models.classifier import Classifier
from hares_tf.utils.errors import reason
from hares_tf.utils.tensorflow import literal_path

EMBEDDING = "embedding"
# Waveforms that a written module is checked with: (batch, seconds).
_CASES = ((1, 0.6), (3, 1.37))


def save(
    encoder: WaveformEmbedder,
    dense: tuple[np.ndarray, np.ndarray],
    classes: Sequence[str],
    card: ModelCard,
    directory: Path,
) -> None:
    """Writes the module into a folder, and checks what was written.

    Args:
        encoder: the fine-tuned encoder.
        dense: kernel `[dim, classes]` and bias `[classes]` of the head.
        classes: names, in the order of the logits.
        card: the model card.
        directory: the folder, empty.

    Raises:
        FinetuneError: the module cannot be written, or differs when it is read again.
    """
    try:
        saved_module.write(_contents(encoder, dense, classes, card), directory)
    except Exception as error:  # TensorFlow wraps a full disk in its own error types
        raise FinetuneError(f"The fine-tuned module cannot be written: {reason(error)}.") from error
    check_written(encoder, dense, classes, card["sample_rate"], directory)


def wrapped_signatures(encoder: WaveformEmbedder) -> list[str]:
    """Names of the source's signatures that give the embedding, beside serving_default."""
    names = []
    for name, source in dict(getattr(encoder.hub.module, "signatures", None) or {}).items():
        outputs = source.structured_outputs
        embedding = outputs.get(EMBEDDING) if isinstance(outputs, dict) else None
        if name == "serving_default" or embedding is None or embedding.shape.rank != 2:
            continue
        if embedding.shape[1] in (None, encoder.size):
            names.append(name)
    return names


def check_written(
    encoder: WaveformEmbedder,
    dense: tuple[np.ndarray, np.ndarray],
    classes: Sequence[str],
    sample_rate: int,
    directory: Path,
) -> None:
    """Raises FinetuneError unless the module in a folder equals the one in memory."""
    variables = [*_encoder_variables(encoder), *dense]
    cases = {
        "classes": np.array(classes),
        "variables/shapes": _shapes(variables),
        "trainable_variables/shapes": _shapes(encoder.hub.trainable_variables),
    }
    random = np.random.default_rng(0)
    for batch, seconds in _CASES:
        shape = (batch, max(1, round(seconds * sample_rate)))
        waveform = random.uniform(-0.5, 0.5, shape).astype(np.float32)
        embedding = encoder.embed(waveform)
        cases |= {
            f"waveform/{batch}": waveform,
            f"fresh/{batch}": embedding,
            f"fresh_logits/{batch}": embedding @ dense[0] + dense[1],
        }
    try:
        conformance.check_classifier(Path(literal_path(directory)), cases)
    except conformance.ConformanceError as error:
        raise FinetuneError(
            f"The written module fails its conformance check: {error}. Nothing was kept."
        ) from error


def _contents(
    encoder: WaveformEmbedder, dense: tuple, classes: Sequence[str], card: ModelCard
) -> saved_module.Contents:
    kernel = tf.Variable(dense[0], name="head_kernel")
    bias = tf.Variable(dense[1], name="head_bias")

    def head(embedding):
        return {"logits": tf.matmul(embedding, kernel) + bias}

    networks = {training: trace(encoder, training) for training in (False, True)}
    source = encoder.hub.module
    losses = [_wrapped(loss) for loss in getattr(source, "regularization_losses", None) or []]
    signatures = _signatures(encoder, networks[False], head)
    functions = [
        *networks.values(),
        *signatures.values(),
        *(loss.get_concrete_function() for loss in losses),
    ]
    trainable = [variable.value for variable in encoder.hub.trainable_variables]
    return saved_module.Contents(
        networks,
        signatures,
        card,
        variables=[*_encoder_variables(encoder), kernel, bias],
        trainable_variables=trainable,
        regularization_losses=losses,
        head=head,
        head_variables=[kernel, bias],
        class_map=Classifier(None, tuple(classes)).class_map(),
        has_train_fn=bool(trainable),
        resources=_resources(source, functions),
    )


def _encoder_variables(encoder: WaveformEmbedder) -> list[tf.Variable]:
    """The source's variables without those of a head of its own."""
    old_head = {id(v) for v in getattr(encoder.hub.module, "head_variables", None) or []}
    variables = (variable.value for variable in encoder.hub.variables)
    return [variable for variable in variables if id(variable) not in old_head]


def _shapes(variables: Sequence) -> np.ndarray:
    return np.array(["x".join(map(str, v.shape)) for v in variables], np.str_)


def _wrapped(loss: Callable):
    """A loss of the source as a function of this module."""
    return tf.function(lambda: loss(), input_signature=[])


def _signatures(encoder: WaveformEmbedder, infer: Callable, head: Callable) -> dict:
    """serving_default, and those of the source that give the embedding, with the new logits."""

    @tf.function(input_signature=[WAVEFORM])
    def serving_default(waveform):
        embedding = infer(waveform)[EMBEDDING]
        return {EMBEDDING: embedding, **head(embedding)}

    signatures = {"serving_default": serving_default.get_concrete_function()}
    for name in wrapped_signatures(encoder):
        source = encoder.hub.module.signatures[name]
        specs = dict(source.structured_input_signature[1])
        with_logits = _with_logits(source, head, encoder.size)
        signatures[name] = with_logits.get_concrete_function(**specs)
    return signatures


def _with_logits(source: Callable, head: Callable, size: int):
    @tf.function
    def signature(**inputs):
        outputs = dict(source(**inputs))
        embedding = tf.ensure_shape(outputs[EMBEDDING], [None, size])
        return {**outputs, EMBEDDING: embedding, **head(embedding)}

    return signature


def _resources(loaded, functions: list) -> list:
    """Returns what the source's functions capture: variables, tables, and assets.

    Not the source's card and class map: this module brings others of the same names.
    """
    captured = {id(tensor) for function in functions for tensor in function.captured_inputs}
    resources = []
    for part in tf.train.TrackableView(loaded).descendants():
        if isinstance(part, tf.Variable):
            needed = id(part.handle) in captured
        elif isinstance(part, tf.saved_model.Asset):
            name = Path(part.asset_path.numpy().decode()).name
            needed = name not in (CARD_NAME, CLASS_MAP_NAME)
        else:
            needed = hasattr(part, "resource_handle")
        if needed:
            resources.append(part)
    return resources
