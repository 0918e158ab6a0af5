"""The registry of objectives. Listing them imports no Keras."""

import difflib
import inspect
from collections.abc import Callable

from hares_tf.objectives.errors import ObjectiveError
from hares_tf.utils.lazy import load

_FACTORIES: dict[str, str | Callable] = {
    "simclr": "hares_tf.objectives.simclr:SimCLR",
    "classification": "hares_tf.objectives.classification:Classification",
}


def register(name: str, factory: str | Callable) -> None:
    """Adds an objective to the registry, under a name that is not taken.

    Args:
        name: the value of `config.objective.name`.
        factory: a subclass of `hares_tf.objectives.Objective`, or "module:class"; its arguments are
            the other values of `config.objective`.

    Raises:
        ObjectiveError: another objective has this name.
    """
    if _FACTORIES.setdefault(name, factory) != factory:
        raise ObjectiveError(f"There is another objective {name!r} already; choose another name.")


def list_objectives() -> list[str]:
    """Names of all objectives."""
    return sorted(_FACTORIES)


def check_name(name: str) -> None:
    """Raises ObjectiveError if there is no such objective; the message names the nearest one."""
    if name not in _FACTORIES:
        near = difflib.get_close_matches(name, _FACTORIES, n=1) or list_objectives()
        raise ObjectiveError(f"There is no objective {name!r}; did you mean {' or '.join(near)}?")


def create_objective(name: str, **settings):
    """Creates an objective.

    Raises:
        ObjectiveError: there is no such objective, or it has no such setting.
    """
    check_name(name)
    factory = _FACTORIES[name]
    if isinstance(factory, str):
        factory = load(factory)
    known = set(inspect.signature(factory).parameters)
    if unknown := sorted(set(settings) - known):
        raise ObjectiveError(
            f"{name} has no setting {unknown[0]!r}; it has {', '.join(sorted(known)) or 'none'}."
        )
    return factory(**settings)
