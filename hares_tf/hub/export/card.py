"""The model card of an exported encoder."""

from importlib import metadata

from hares_tf import __version__
from hares_tf.hub.flavors import FLOAT32, REUSABLE
from hares_tf.hub.model_card import CARD_SCHEMA, CLASS_MAP_NAME, ModelCard


def make_card(
    model,
    name: str,
    version: int,
    weights: dict,
    description: str = "",
    classifier=None,
    flavor: str = REUSABLE,
    precision: str = FLOAT32,
    deviation: float | None = None,
) -> ModelCard:
    """Returns the card of a `WaveformEncoder`.

    Args:
        model: the built encoder.
        name: the module's name, also in results.
        version: the module's version.
        weights: provenance: at least {"source": ...}.
        description: one sentence.
        classifier: the module's `Classifier`, or None.
        flavor: one of `hub.flavors.FLAVORS`.
        precision: one of `hub.flavors.PRECISIONS`.
        deviation: deviation of the serving flavor from the model (`export.folding.deviation`).
    """
    import tensorflow as tf

    trainable = sum(int(v.value.shape.num_elements()) for v in model.trainable_variables)
    fresh = weights.get("source") == "random"
    notes = []
    if fresh and model.has_silent_branches:
        note = "Freshly initialized: the skip gains are 0, so all residual branches are silent"
        if flavor == REUSABLE:
            note += (
                ", training equals inference, and the branches' weights get zero gradients at first"
            )
        notes.append(f"{note}.")
    classes = {}
    if classifier is not None:
        classes = {
            "classes": len(classifier.classes),
            "class_map": f"assets/{CLASS_MAP_NAME}",
        }
    fields = {
        "schema": CARD_SCHEMA,
        "name": name,
        "version": version,
        "description": description,
        "sample_rate": model.sample_rate,
        "embedding_size": model.embedding_size,
        **({} if model.frame_hop is None else {"frame_hop_samples": model.frame_hop}),
        "parameters": trainable,
        "frontend": model.frontend_config(),
        "weights": weights,
        "flavour": flavor,
        "precision": precision,
        **({} if deviation is None else {"deviation_from_model": float(f"{deviation:.1e}")}),
        "interface": _interface(model, classifier, flavor),
        **classes,
        "training_is_stochastic": flavor == REUSABLE and model.is_stochastic,
        "notes": notes,
        "made_with": {
            "hares_tf": __version__,
            # Installed as tensorflow or tensorflow-tpu.
            "tensorflow": tf.version.VERSION,
            "keras": metadata.version("keras"),
        },
    }
    return ModelCard(fields)


def _interface(model, classifier, flavor: str) -> dict:
    given = "embedding, logits" if classifier else "embedding"
    trains = flavor == REUSABLE
    interface = {
        "__call__": "waveform float32 [batch, samples] or [samples] in [-1, 1], training=False"
        " -> embedding float32 [batch, dim]" + ("" if trains else "; training makes no difference"),
        "serving_default": f"waveform float32 [batch, samples] -> {{{given}}}",
        "with_lengths": "waveform float32 [batch, samples], lengths int32 [batch], 1 to samples"
        f" -> {{{given}}} of the first samples of each, whatever follows them",
        "wav_bytes": f"bytes string [batch], files of 16-bit PCM WAV at {model.sample_rate} Hz, "
        f"channels are averaged -> {{{given}}}",
    }
    if model.frame_hop is not None:
        interface["frames"] = (
            f"waveform float32 [batch, samples] -> {{{given}, frames [batch, "
            f"ceil(samples / {model.frame_hop}), features]}}, features before pooling over time"
        )
    if trains:
        interface["train_fn"] = "waveform float32 [batch, samples] -> __call__ with training=True"
    if classifier is not None:
        interface |= {
            "logits": "as __call__ -> float32 [batch, classes], before the sigmoid",
            "class_map": "asset, CSV with the columns index (of the logit) and display_name",
        }
        if trains:
            interface["head_variables"] = "variables of the logits that __call__ does not reach"
    return interface
