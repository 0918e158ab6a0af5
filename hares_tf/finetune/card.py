"""The card of a fine-tuned module: its source's card, updated."""

from collections.abc import Sequence

from hares_tf import __version__
from hares_tf.hub.flavors import REUSABLE
from hares_tf.hub.model_card import CARD_SCHEMA, CLASS_MAP_NAME, ModelCard, typed

# How the source is called and how long its inputs are: the wrapper takes care of both.
_SOURCE_ONLY = (
    "entry_point", "output_key", "window_samples", "pool", "input_rank", "normalise",
)  # fmt: skip


def make_card(
    source: ModelCard,
    *,
    name: str,
    sample_rate: int,
    embedding_size: int,
    classes: Sequence[str],
    parameters: int,
    weights: dict,
    signatures: Sequence[str],
) -> ModelCard:
    """Returns the card.

    Args:
        source: the card of the module that was fine-tuned; may be empty.
        name: name of the new module.
        sample_rate: in hertz.
        embedding_size: number of features.
        classes: names, in the order of the logits.
        parameters: number of the encoder's trainable parameters.
        weights: where the weights come from.
        signatures: names of the source's signatures with an embedding, beside serving_default.
    """
    import tensorflow as tf

    kept = {k: v for k, v in source.items() if k not in _SOURCE_ONLY}
    described = typed(kept, "interface", dict)
    call = "waveform float32 [batch, samples] or [samples] in [-1, 1], training=False"
    interface = {
        "__call__": f"{call} -> embedding float32 [batch, dim]",
        "serving_default": "waveform float32 [batch, samples] -> {embedding, logits}",
        "logits": "as __call__ -> float32 [batch, classes], before the softmax",
        "head_variables": "variables of the logits that __call__ does not reach",
        "class_map": "asset, CSV with the columns index (of the logit) and display_name",
    }
    for signature in signatures:
        words = str(described.get(signature, "as in the source -> {embedding}"))
        if "logits" not in words:
            words = words.replace("{embedding", "{embedding, logits", 1)
        interface[signature] = words
    if parameters:
        interface["train_fn"] = "waveform float32 [batch, samples] -> __call__ with training=True"
    fields = {
        **kept,
        "schema": kept.get("schema", CARD_SCHEMA),
        "name": name,
        "version": 1,
        "description": f"{weights['from']['name']}, fine-tuned to tell {len(classes)} classes",
        "sample_rate": sample_rate,
        "embedding_size": embedding_size,
        "parameters": parameters,
        "weights": weights,
        "flavour": kept.get("flavour", REUSABLE),
        "interface": interface,
        "classes": len(classes),
        "class_map": f"assets/{CLASS_MAP_NAME}",
        "notes": [],
        "made_with": {"hares_tf": __version__, "tensorflow": tf.version.VERSION},
    }
    return ModelCard(fields)
