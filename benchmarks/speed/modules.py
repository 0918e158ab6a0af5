"""Modules with random weights to measure, exported into a temporary folder."""

from pathlib import Path


def export_random(name: str, folder: Path) -> Path:
    """Exports `name` without the conformance check, which takes longer than the measurements."""
    import keras

    from hares_tf.hub import module
    from hares_tf.hub.card import make_card, write_card
    from hares_tf.models import create_model

    keras.utils.set_random_seed(0)
    model = create_model(name)
    folder.mkdir(parents=True)
    write_card(make_card(model, name, 1, {"source": "random", "seed": 0}), folder / "card.json")
    module.save(model, folder / "card.json", folder / name)
    return folder / name
