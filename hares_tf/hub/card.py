"""The model card: what a module says about itself, as JSON in its assets."""

from importlib import metadata

from hares_tf import __version__
from hares_tf.hub.classifier import CLASS_MAP_NAME

CARD_SCHEMA = 1


def make_card(
    model, name: str, version: int, weights: dict, description: str = "", classifier=None
) -> dict:
    """Describes a `WaveformEncoder`.

    Args:
        model: the built encoder.
        name: the module's name, also in results.
        version: of the module.
        weights: provenance: at least {"source": ...}.
        description: one sentence.
        classifier: a `Classifier` that the module brings with it, or None.
    """
    import tensorflow as tf

    trainable = sum(int(v.value.shape.num_elements()) for v in model.trainable_variables)
    fresh = weights.get("source") == "random"
    notes = []
    if fresh and _has_skip_gains(model):
        notes.append(
            "Freshly initialised: the skip gains are 0, so all residual branches are silent, "
            "training equals inference, and the branches' weights get zero gradients at first."
        )
    interface = {
        "__call__": "waveform float32 [batch, samples] or [samples] in [-1, 1], training=False"
        " -> embedding float32 [batch, dim]",
        "serving_default": "waveform float32 [batch, samples] -> {embedding}",
    }
    classes = {}
    if classifier is not None:
        interface |= {
            "serving_default": "waveform float32 [batch, samples] -> {embedding, logits}",
            "logits": "as __call__ -> float32 [batch, classes], before the sigmoid",
            "head_variables": "variables of the logits that __call__ does not reach",
            "class_map": "asset, CSV with the columns index (of the logit) and display_name",
        }
        classes = {
            "classes": len(classifier.classes),
            "class_map": f"assets/{CLASS_MAP_NAME}",
        }
    return {
        "schema": CARD_SCHEMA,
        "name": name,
        "version": version,
        "description": description,
        "sample_rate": model.sample_rate,
        "embedding_size": model.embedding_size,
        "parameters": trainable,
        "frontend": _frontend(model),
        "weights": weights,
        "flavour": "reusable",
        "interface": interface,
        **classes,
        "training_is_stochastic": _has_skip_gains(model),
        "notes": notes,
        "made_with": {
            "hares_tf": __version__,
            # Installed as tensorflow or tensorflow-tpu.
            "tensorflow": tf.version.VERSION,
            "keras": metadata.version("keras"),
        },
    }


def _has_skip_gains(model) -> bool:
    return any(variable.name == "skip_gain" for variable in model.trainable_variables)


def _frontend(model) -> dict:
    config = model.frontend.get_config()
    keras_own = {"name", "trainable", "dtype"}
    constants = {key: value for key, value in config.items() if key not in keras_own}
    return {
        "kind": type(model.frontend).__name__,
        **constants,
        "standardize": model.standardize is not None,
    }
