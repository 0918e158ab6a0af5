"""The optimizer and the learning-rate schedule of a run, chosen by its configuration."""

import difflib
import inspect

import keras

from hares_tf.pretrain.errors import PretrainError
from hares_tf.utils._compat import optimizer_of_summed_gradients
from hares_tf.utils.schedules import warmup_schedule

# Set by other keys of the configuration, or meaningless for gradients that are summed already.
_NOT_SETTINGS = ("self", "learning_rate", "name", "kwargs", "gradient_accumulation_steps")


def learning_rate_schedule(config) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear warm-up from 0, then the decay that `config.decay` names, until the last step."""
    return warmup_schedule(config.learning_rate, config.warmup_steps, config.steps, config.decay)


def create_optimizer(config) -> keras.optimizers.Optimizer:
    """Creates the Keras optimizer that `config.optimizer` describes.

    Args:
        config: `optimizer.name` is the name of a Keras optimizer in lower case, the other values
            of `optimizer` are its arguments.

    Raises:
        PretrainError: there is no such optimizer, or it has no such argument.
    """
    name = config.optimizer.name
    classes = _optimizers()
    if name not in classes:
        near = difflib.get_close_matches(name, classes, n=1) or sorted(classes)
        raise PretrainError(
            f"--config.optimizer.name={name}: there is no such optimizer; did you mean "
            f"{', '.join(near)}?"
        )
    settings = {key: value for key, value in config.optimizer.items() if key != "name"}
    known = [k for k in inspect.signature(classes[name]).parameters if k not in _NOT_SETTINGS]
    for key in settings:
        if key not in known:
            raise PretrainError(
                f"--config.optimizer.{key}: {name} has no such argument; it has {', '.join(known)}."
            )
    # The name is part of the names of its variables, which Keras would number otherwise.
    return optimizer_of_summed_gradients(
        classes[name], learning_rate_schedule(config), name=name, **settings
    )


def _optimizers() -> dict[str, type]:
    """Optimizers of Keras by their names in lower case."""
    base = keras.optimizers.Optimizer
    members = inspect.getmembers(keras.optimizers, inspect.isclass)
    return {
        name.lower(): member
        for name, member in members
        if issubclass(member, base) and member is not base and name != "LossScaleOptimizer"
    }
