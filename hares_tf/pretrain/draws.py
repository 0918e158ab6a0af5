"""The random numbers of a step: a pure function of (seed, step, replica).

Nothing random is state, so a resumed run draws what an uninterrupted one would have drawn, and
gradient caching can run the network twice on the same draws. They are the same on all kinds of
devices, compiled by XLA or not: the algorithm is Philox everywhere (the default one depends on the
device), and uniform numbers are made from its integers (XLA makes floats from them in another way
than TensorFlow's own kernels).
"""

from typing import NamedTuple

import tensorflow as tf

from hares_tf.layers import keep_mask
from hares_tf.objectives.mixing import UNIFORMS, beta_5_2

_ALGORITHM = "philox"
_PARTNERS, _RATIOS, _MASKS = range(3)


class Draws(NamedTuple):
    """What chance decides in one step of one replica.

    Attributes:
        partners: `[views, batch]` int32, with which example of the replica each is mixed.
        ratios: `[views, batch]` float32, the example's own share.
        residual_masks: `[rows, views * batch]` float32 of 0 and 1, which residual branches are
            kept, examples of the first view first; None for networks without.
    """

    partners: tf.Tensor
    ratios: tf.Tensor
    residual_masks: tf.Tensor | None


def draw(seed, step, replica, *, views: int, batch: int, drop_rates=()) -> Draws:
    """Draws for one step of one replica.

    Partners are a random order of the replica's examples, another one for each view: with common
    partners the distractor itself would tell which views belong together. They come from sorting
    uniform numbers, because a shuffle does not compile for a TPU.

    Args:
        seed: of the run.
        step: number of the step.
        replica: number of the replica among all.
        views: how many crops of each clip.
        batch: clips of this replica.
        drop_rates: for each row of the residual masks its rate of stochastic depth.
    """

    def uniform(purpose, shape):
        key = tf.stack([tf.cast(seed, tf.int32), tf.constant(purpose, tf.int32)])
        for number in (step, replica):
            key = tf.random.experimental.stateless_fold_in(
                key, tf.cast(number, tf.int32), alg=_ALGORITHM
            )
        return uniform_float(key, shape)

    partners = tf.argsort(uniform(_PARTNERS, [views, batch]), axis=-1)
    ratios = beta_5_2(uniform(_RATIOS, [views, batch, UNIFORMS]))
    masks = None
    if drop_rates:
        rates = tf.constant(drop_rates, tf.float32)[:, tf.newaxis]
        masks = keep_mask(uniform(_MASKS, [len(drop_rates), views * batch]), rates)
    return Draws(partners, ratios, masks)


def uniform_float(key, shape):
    """Uniform float32 numbers in [0, 1), multiples of 2^-24.

    Args:
        key: `[2]` int32.
        shape: of the result.
    """
    bits = tf.random.stateless_uniform(
        shape, key, minval=None, maxval=None, dtype=tf.int32, alg=_ALGORITHM
    )
    # As many bits as float32 holds exactly; rounding more of them could give 1.
    return tf.cast(tf.bitwise.right_shift(tf.bitcast(bits, tf.uint32), 8), tf.float32) * 2.0**-24
