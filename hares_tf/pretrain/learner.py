"""The trained parts of a run: encoder, head and optimizer, created under the strategy."""

from dataclasses import dataclass

import keras
import tensorflow as tf

from hares_tf.audio.pcm16 import FULL_SCALE
from hares_tf.checkpoints.variable_names import named_variables
from hares_tf.models import Encoder, create_model
from hares_tf.objectives import Objective, create_objective
from hares_tf.pretrain.optimizer import create_optimizer


@dataclass
class Learner:
    """The parts of a run that have variables.

    Attributes:
        encoder: the encoder, the result of a run.
        head: the objective's layer on the embedding.
        objective: the `Objective`, with its own state.
        optimizer: a Keras optimizer for gradients that are summed over the replicas; its iteration
            counter is the number of steps done.
        gradient_checkpointing: whether the encoder computes activations again in the backward pass.
    """

    encoder: Encoder
    head: keras.layers.Layer
    objective: Objective
    optimizer: keras.optimizers.Optimizer
    gradient_checkpointing: bool = False

    @property
    def trainable_variables(self) -> list:
        """Keras variables, encoder first."""
        return [*self.encoder.trainable_variables, *self.head.trainable_variables]

    def named_variables(self) -> dict:
        """The content of a checkpoint: variables by their names in the file."""
        return {
            **named_variables(self.encoder, "encoder"),
            **named_variables(self.head, "head"),
            **{f"objective/{name}": value for name, value in self.objective.state.items()},
            **{
                f"optimizer/{index:04d}/{variable.path}": variable
                for index, variable in enumerate(self.optimizer.variables)
            },
        }


def create_learner(config, classes: int) -> Learner:
    """Creates a learner with fresh weights; call it under the strategy's scope.

    Args:
        config: the resolved configuration of the run.
        classes: number of label names of the clips.

    Raises:
        ModelError, ObjectiveError: unknown model, objective or setting.
    """
    # Every replica and every worker begins with the same weights.
    keras.utils.set_random_seed(config.seed)
    with tf.variable_creator_scope(_averaged_over_replicas):
        objective = make_objective(config)
        # Only networks with gradient checkpointing have the option.
        checkpointing = config.model.gradient_checkpointing
        options = {"gradient_checkpointing": True} if checkpointing else {}
        encoder = create_model(config.model.name, dtype=config.precision, **options)
        head = objective.create_head(classes, dtype=config.precision)
        head.build((None, encoder.embedding_size))
        objective.create_state(encoder, head)
    optimizer = create_optimizer(config)
    learner = Learner(encoder, head, objective, optimizer, checkpointing)
    optimizer.build(learner.trainable_variables)
    return learner


def _averaged_over_replicas(next_creator, **arguments):
    """Lets variables that are not trained be assigned in a step: to the mean over the replicas.

    Without it each replica keeps a value of its own of, say, the moving statistics of batch
    normalization, and a checkpoint holds those of the first one.
    """
    unset = arguments.get("aggregation") in (None, tf.VariableAggregation.NONE)
    floating = tf.as_dtype(arguments.get("dtype") or tf.float32).is_floating
    if unset and floating and not arguments.get("trainable", True):
        arguments["aggregation"] = tf.VariableAggregation.MEAN
    return next_creator(**arguments)


def make_objective(config) -> Objective:
    """The objective that a configuration names, with its settings."""
    settings = {key: value for key, value in config.objective.items() if key != "name"}
    return create_objective(config.objective.name, **settings)


def float_waveform(audio):
    """Converts int16 samples, as prepared clips hold them, to float32 in [-1, 1)."""
    return tf.cast(audio, tf.float32) / FULL_SCALE
