"""What a run trains: encoder, head and optimiser, made under the strategy."""

from dataclasses import dataclass

import keras
import tensorflow as tf

from hares_tf.audio.pcm16 import FULL_SCALE
from hares_tf.checkpoints.variable_names import named_variables
from hares_tf.layers import ScaledWSConv2D
from hares_tf.models import create_model
from hares_tf.objectives import create_objective
from hares_tf.objectives.objective import Objective


class Adam(keras.optimizers.Adam):
    """Keras' Adam for gradients that are summed over the replicas already.

    The training step sums them itself, because it reports the norm of the sum; Keras would sum
    them once more.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return grads_and_vars


@dataclass
class Learner:
    """The parts of a run that have variables, and how they are used.

    Attributes:
        encoder: the `WaveformEncoder`, which is what a run is for.
        head: the objective's layer on the embedding.
        objective: the `Objective`.
        optimizer: an `Adam` whose iteration counter is the number of steps done.
        mixing: domain in which examples are mixed, see `hares_tf.objectives.mixing`.
        rematerialise: whether the encoder computes blocks again in the backward pass.
    """

    encoder: keras.Model
    head: keras.layers.Layer
    objective: Objective
    optimizer: Adam
    mixing: str
    rematerialise: bool = False

    @property
    def trainable_variables(self) -> list:
        """Keras variables, encoder first."""
        return [*self.encoder.trainable_variables, *self.head.trainable_variables]

    @property
    def drop_rates(self) -> tuple:
        """Rates of stochastic depth by row of the residual masks; () for networks without."""
        return tuple(getattr(self.encoder.network, "residual_drop_rates", ()))

    @property
    def standardised_convolutions(self) -> list:
        """Convolutions whose kernels may be standardised once for many calls.

        None of an encoder that rematerialises: what a block computes again must depend on its
        arguments and on variables alone, or its gradient would be lost.
        """
        if self.rematerialise:
            return []
        layers = self.encoder.network._flatten_layers()
        return [layer for layer in layers if isinstance(layer, ScaledWSConv2D)]

    def embeddings(self, spectrogram, residual_masks=None):
        """Standardisation and network in training: `[rows, ...]` -> `[rows, embedding_size]`."""
        if self.encoder.standardize is not None:
            spectrogram = self.encoder.standardize(spectrogram)
        masks = {} if residual_masks is None else {"residual_masks": residual_masks}
        return self.encoder.network(spectrogram, training=True, **masks)

    def named_variables(self) -> dict:
        """All that a checkpoint holds, by its name in the file."""
        return {
            **named_variables(self.encoder, "encoder"),
            **named_variables(self.head, "head"),
            **{
                f"optimizer/{index:04d}/{variable.path}": variable
                for index, variable in enumerate(self.optimizer.variables)
            },
        }


def learning_rate_schedule(config):
    """Linear warm-up from 0, then a cosine to 0 at the last step (paper, Appendix C)."""
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        warmup_target=config.learning_rate,
        warmup_steps=config.warmup_steps,
        decay_steps=config.steps - config.warmup_steps,
    )


def create_learner(config, classes: int) -> Learner:
    """Makes a learner with fresh weights; call it under the strategy's scope.

    Args:
        config: the resolved configuration of the run.
        classes: how many labels the clips have.

    Raises:
        ModelError, ObjectiveError: the configuration names what there is not.
    """
    # Every replica and every worker begins with the same weights.
    keras.utils.set_random_seed(config.seed)
    objective = make_objective(config)
    # Only networks that can rematerialise have the option.
    options = {"rematerialise": True} if config.model.rematerialise else {}
    encoder = create_model(config.model.name, dtype=config.precision, **options)
    head = objective.create_head(classes, dtype=config.precision)
    head.build((None, encoder.embedding_size))
    optimizer = Adam(
        learning_rate_schedule(config),
        beta_1=config.adam.beta_1,
        beta_2=config.adam.beta_2,
        epsilon=config.adam.epsilon,
        name="adam",  # part of its variables' names, which Keras would number
    )
    learner = Learner(
        encoder, head, objective, optimizer, config.mixing, config.model.rematerialise
    )
    optimizer.build(learner.trainable_variables)
    return learner


def make_objective(config) -> Objective:
    """The objective that a configuration names, with its settings."""
    settings = {key: value for key, value in config.objective.items() if key != "name"}
    return create_objective(config.objective.name, **settings)


def float_waveform(audio):
    """Converts int16 samples, as prepared clips hold them, to float32 in [-1, 1)."""
    return tf.cast(audio, tf.float32) / FULL_SCALE
