"""The objectives by name."""

import importlib
import inspect

from hares_tf.objectives.errors import ObjectiveError

_HOMES = {
    "simclr": "hares_tf.objectives.simclr:SimCLR",
    "classification": "hares_tf.objectives.classification:Classification",
}


def list_objectives() -> list[str]:
    """Names of all objectives."""
    return sorted(_HOMES)


def create_objective(name: str, **settings):
    """Makes an objective.

    Raises:
        ObjectiveError: there is no such objective, or it has no such setting.
    """
    if name not in _HOMES:
        raise ObjectiveError(
            f"There is no objective {name!r}; choose one of {', '.join(list_objectives())}."
        )
    module, class_name = _HOMES[name].split(":")
    objective = getattr(importlib.import_module(module), class_name)
    known = set(inspect.signature(objective).parameters)
    if unknown := sorted(set(settings) - known):
        raise ObjectiveError(
            f"{name} has no setting {unknown[0]!r}; it has {', '.join(sorted(known)) or 'none'}."
        )
    return objective(**settings)
