"""Stochastic depth: drop a residual branch for some examples while training."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="hares_tf")
class StochasticDepth(keras.layers.Layer):
    """Multiplies each example by 0 or 1 while training; identity in inference.

    An example is kept when `floor((1 - rate) + u) = 1` with `u` uniform in [0, 1). Kept examples
    are *not* divided by `1 - rate` (official JAX code, unlike most other implementations).

    Args:
        rate: probability of dropping an example, in [0, 1).
        seed: integer seed of the draws; None takes one from Keras' global seed.
        **kwargs: of `keras.layers.Layer`.

    Call arguments: `x` `[batch, ...]`; `training`; `keep`: `[batch]` of 0 and 1, decides instead
    of a draw, whatever `training` says.

    Raises:
        ValueError: if the rate is not in [0, 1).
    """

    def __init__(self, rate, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"The drop rate of stochastic depth is {rate}; it must be in [0, 1).")
        self.rate = rate
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed) if rate > 0.0 else None

    def build(self, input_shape):
        pass

    def call(self, x, training=None, keep=None):
        if keep is None:
            keep = self.draw(ops.shape(x)[0], training)
        if keep is None:
            return x
        keep = ops.reshape(ops.cast(keep, x.dtype), (-1,) + (1,) * (len(x.shape) - 1))
        return x * keep

    def draw(self, batch, training):
        """Draws which examples to keep: `[batch]` of 0 and 1, or None if all of them are kept.

        A call draws by itself; gradient checkpointing, which computes it twice, draws beforehand.
        """
        if not training or self.rate == 0.0:
            return None
        # In the variable dtype: bfloat16 has 256 numbers to draw, too few for rates below 0.01.
        uniform = keras.random.uniform(
            (batch,), dtype=self.variable_dtype, seed=self.seed_generator
        )
        return keep_mask(uniform, self.rate)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


def keep_mask(uniform, rate):
    """Returns which examples keep their residual branch.

    Args:
        uniform: float tensor of numbers uniform in [0, 1).
        rate: drop rate, a number or a tensor that broadcasts against `uniform`.

    Returns:
        Tensor like `uniform`: 1 where it is at least `rate`, else 0.
    """
    return ops.floor((1.0 - rate) + uniform)
