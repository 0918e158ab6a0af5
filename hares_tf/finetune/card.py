"""The card of a fine-tuned module: its source's, with what is new."""

from collections.abc import Sequence

from hares_tf import __version__
from hares_tf.hub.card import CARD_SCHEMA, CLASS_MAP_NAME
from hares_tf.hub.flavors import REUSABLE

# How the source wanted to be called, and how long its inputs are: the wrapper sees to both.
_OF_THE_SOURCE = (
    "entry_point", "output_key", "window_samples", "pool", "input_rank", "normalise",
)  # fmt: skip


def make_card(
    source: dict | None,
    *,
    name: str,
    sample_rate: int,
    embedding_size: int,
    classes: Sequence[str],
    parameters: int,
    weights: dict,
    signatures: Sequence[str],
) -> dict:
    """What a fine-tuned module says about itself.

    Args:
        source: the card of the module that was fine-tuned, or None.
        name: of the new one.
        sample_rate: hertz.
        embedding_size: features.
        classes: names, in the order of the logits.
        parameters: trainable ones of the encoder.
        weights: where they come from.
        signatures: names of those that the source's embedding comes from, beside serving_default.
    """
    import tensorflow as tf

    kept = {k: v for k, v in (source or {}).items() if k not in _OF_THE_SOURCE}
    told = kept.get("interface")
    told = told if isinstance(told, dict) else {}
    call = "waveform float32 [batch, samples] or [samples] in [-1, 1], training=False"
    interface = {
        "__call__": f"{call} -> embedding float32 [batch, dim]",
        "serving_default": "waveform float32 [batch, samples] -> {embedding, logits}",
        "logits": "as __call__ -> float32 [batch, classes], before the softmax",
        "head_variables": "variables of the logits that __call__ does not reach",
        "class_map": "asset, CSV with the columns index (of the logit) and display_name",
    }
    for signature in signatures:
        words = str(told.get(signature, "as in the source -> {embedding}"))
        if "logits" not in words:
            words = words.replace("{embedding", "{embedding, logits", 1)
        interface[signature] = words
    if parameters:
        interface["train_fn"] = "waveform float32 [batch, samples] -> __call__ with training=True"
    return {
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
