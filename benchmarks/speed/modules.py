"""Modules with random weights to measure, exported into a temporary folder."""

from pathlib import Path


def export_random(name: str, folder: Path, **form) -> Path:
    """Exports `name` without the conformance check, which takes longer than the measurements.

    `form` may name a `flavor` and a `precision`.
    """
    import keras

    from hares_tf.hub.export import module
    from hares_tf.hub.export.card import make_card
    from hares_tf.models import create_model

    keras.utils.set_random_seed(0)
    model = create_model(name)
    card = make_card(model, name, 1, {"source": "random", "seed": 0}, **form)
    module.save(model, card, folder / name, **form)
    return folder / name
