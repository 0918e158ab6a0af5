"""Configurations: Python functions that give a `ConfigDict`, found by name or by path."""

import ast
import difflib
import importlib
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from hares_tf.models.registry import get_spec
from hares_tf.objectives.domains import DOMAINS
from hares_tf.objectives.registry import check_name
from hares_tf.pretrain import defaults
from hares_tf.pretrain.config_names import list_configs
from hares_tf.pretrain.errors import PretrainError
from hares_tf.utils.errors import reason
from hares_tf.utils.user_code import import_user_code

#: What the learning rate does after the warm-up, see `hares_tf.utils.schedules`.
DECAYS = ("cosine", "constant")
#: Keys that may differ when a run is resumed: none of them changes what is computed.
HARMLESS = (
    "steps_per_call",
    "log_every",
    "checkpoint_every",
    "keep",
    "probe",
    "explosion",
)


def load_config(source: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """A configuration with the user's changes, checked.

    Args:
        source: one of `list_configs()`, or the path of a Python file with a `get_config()`; the
            file is run, like any program that is started by name.
        overrides: "key=value" with dots between section and key, for example "crops.seconds=1.5".
            A value is read as what it replaces: a number, true or false, text, or a list.

    Raises:
        PretrainError: there is no such configuration or key, or a value makes no sense.
    """
    config = _config_of(source)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise PretrainError(f"--config.{override}: write --config.{key}=VALUE.")
        _set(config, key, text)
    check(config)
    return config


def _config_of(source: str) -> ConfigDict:
    module = _module(source)
    try:
        config = module.get_config()
    except Exception as error:  # a user's file may raise anything
        raise PretrainError(
            f"get_config() of {source} fails ({type(error).__name__}: {reason(error)})."
        ) from error
    if not isinstance(config, ConfigDict):
        raise PretrainError(f"get_config() of {source} gives no ConfigDict.")
    wanted = {*defaults.classification()}
    if missing := sorted(wanted - {*config}):
        raise PretrainError(
            f"The configuration {source} has no {missing[0]}; begin with "
            "hares_tf.pretrain.defaults.simclr() or .classification() and change that."
        )
    return config


def _module(source: str):
    path = Path(source)
    if source in list_configs():
        return importlib.import_module(f"hares_tf.pretrain.configs.{source}")
    if path.suffix != ".py":
        near = difflib.get_close_matches(source, list_configs(), n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(list_configs())}"
        raise PretrainError(
            f"There is no configuration {source!r}; {hint} A file's name ends in .py."
        )
    if not path.is_file():
        if path.stem in list_configs():  # as the file lies in the repository
            return importlib.import_module(f"hares_tf.pretrain.configs.{path.stem}")
        raise PretrainError(f"--config={source}: there is no such file.")
    module = import_user_code(source, f"--config={source}")
    if not callable(getattr(module, "get_config", None)):
        raise PretrainError(f"{source} has no function get_config().")
    return module


def _set(config: ConfigDict, key: str, text: str) -> None:
    *sections, name = key.split(".")
    place = config
    for section in sections:
        place = place.get(section, None)
        if not isinstance(place, ConfigDict):
            raise PretrainError(f"--config.{key}: the configuration has no section {section!r}.")
    if name not in place or isinstance(place[name], ConfigDict):
        near = difflib.get_close_matches(name, list(place), n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(sorted(place))}."
        raise PretrainError(f"--config.{key}: the configuration has no key {name!r}{hint}")
    place[name] = _parsed(key, text, place[name])


def _parsed(key: str, text: str, old):
    """The value that `text` stands for, of the type of the old one."""
    if isinstance(old, str):
        return text
    if isinstance(old, tuple):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if isinstance(old, bool):
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise PretrainError(f"--config.{key} is true or false, not {text!r}.")
    try:
        value = ast.literal_eval(text)
        if type(value) not in (int, float):
            raise ValueError
        if isinstance(old, int) and value != int(value):
            raise ValueError
        return type(old)(value)
    except (ValueError, SyntaxError, OverflowError):
        kind = "a whole number" if isinstance(old, int) else "a number"
        raise PretrainError(f"--config.{key} is {kind}, not {text!r}.") from None


def check(config: ConfigDict) -> None:
    """Raises PretrainError where a configuration cannot be meant."""
    get_spec(config.model.name)
    check_name(config.objective.name)
    mixing = config.objective.get("mixing", DOMAINS[0])
    if mixing not in DOMAINS:
        raise PretrainError(f"objective.mixing is one of {', '.join(DOMAINS)}, not {mixing!r}.")
    if config.decay not in DECAYS:
        raise PretrainError(f"--config.decay is one of {', '.join(DECAYS)}, not {config.decay!r}.")
    if config.crops.pad not in ("zeros", "repeat"):
        raise PretrainError(f"crops.pad is zeros or repeat, not {config.crops.pad!r}.")
    for key in ("batch", "steps", "steps_per_call", "log_every", "checkpoint_every", "keep"):
        if config[key] < 1:
            raise PretrainError(f"{key} must be at least 1, not {config[key]}.")
    for key in ("warmup_steps", "chunk", "seed"):
        if config[key] < 0:
            raise PretrainError(f"{key} must not be negative, but is {config[key]}.")
    if config.warmup_steps >= config.steps:
        raise PretrainError(
            f"A warm-up of {config.warmup_steps} steps does not fit into {config.steps} steps: "
            "lower warmup_steps."
        )
    if config.precision not in ("float32", "mixed_bfloat16"):
        raise PretrainError(
            f"--config.precision is float32 or mixed_bfloat16, not {config.precision!r}."
        )
    if config.seed >= 2**31:
        raise PretrainError(f"--config.seed must be below 2^31, but is {config.seed}.")
    if config.probe.every < 0 or config.block_clips < 1:
        raise PretrainError("probe.every must not be negative, and block_clips at least 1.")
    if config.probe.tasks and not config.probe.every:
        raise PretrainError("probe.tasks are never scored: set probe.every to a number of steps.")
    for name, value, low, high in (
        ("learning_rate", config.learning_rate, 0.0, float("inf")),
        ("crops.seconds", config.crops.seconds, 0.0, float("inf")),
        ("crops.fraction", config.crops.fraction, 0.0, 1.0),
        ("explosion", config.explosion, 1.0, float("inf")),
    ):
        if not low < value <= high or value == float("inf"):
            raise PretrainError(f"{name} must be above {low:g} and at most {high:g}, not {value}.")
