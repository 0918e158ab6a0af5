"""The random numbers of a step: a pure function of (seed, step, replica).

Nothing random is state, so a resumed run draws the same numbers as an uninterrupted one, and
gradient caching can run the network twice on the same draws. They are the same on all kinds of
devices, compiled by XLA or not: the algorithm is Philox everywhere (the default one depends on the
device), and uniform numbers are made from its integers (XLA makes floats from them in another way
than the kernels of TensorFlow).
"""

import zlib
from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

from hares_tf.layers import keep_mask
from hares_tf.models.draws import Draw, KeepMask, Key, Permutation, Uniform

_ALGORITHM = "philox"
#: Numbers that keep differently named draws independent. These three are fixed, so that old runs
#: go on as they began; other names get theirs from a checksum.
_PURPOSES = {"partners": 0, "ratios": 1, "residual_masks": 2}


class StepDraws(NamedTuple):
    """The random numbers of one step on one replica.

    Attributes:
        objective: tensors by the names of `Objective.draws`.
        encoder: tensors by the names of `Encoder.training_draws`, for each call of the encoder.
    """

    objective: dict
    encoder: tuple[dict, ...]


def draw_step(objective, encoder, seed, step, replica, *, clips: int) -> StepDraws:
    """Draws all numbers of one step on one replica.

    Args:
        objective: the `Objective`.
        encoder: the `Encoder`.
        seed: of the run.
        step: number of the step.
        replica: number of the replica among all.
        clips: number of clips on this replica.
    """
    key = (seed, step, replica)
    calls = enumerate(objective.encoder_rows(clips))
    return StepDraws(
        draw(objective.draws(), *key, examples=clips),
        tuple(
            draw(encoder.training_draws, *key, examples=rows, call=number) for number, rows in calls
        ),
    )


def draw(
    declarations: Mapping[str, Draw], seed, step, replica, *, examples: int, call: int = 0
) -> dict:
    """Evaluates declarations of random numbers, see `hares_tf.models.draws`.

    Args:
        declarations: by name.
        seed: of the run.
        step: number of the step.
        replica: number of the replica among all.
        examples: number of examples that they are for.
        call: which of several uses in one step they are for.

    Returns:
        Tensors by name.
    """
    return {
        name: _evaluate(declaration, _key(name, seed, step, replica, call), examples)
        for name, declaration in declarations.items()
    }


def _key(name: str, seed, step, replica, call: int):
    if call:
        name = f"{name}/{call}"
    purpose = _PURPOSES.get(name, zlib.crc32(name.encode()) & 0x7FFF_FFFF)
    key = tf.stack([tf.cast(seed, tf.int32), tf.constant(purpose, tf.int32)])
    for number in (step, replica):
        key = tf.random.experimental.stateless_fold_in(
            key, tf.cast(number, tf.int32), alg=_ALGORITHM
        )
    return key


def _evaluate(declaration: Draw, key, examples: int):
    match declaration:
        case KeepMask(rates):
            rows = tf.constant(rates, tf.float32)[:, tf.newaxis]
            return keep_mask(uniform_float(key, [len(rates), examples]), rows)
        case Uniform(leading, trailing):
            return uniform_float(key, [*leading, examples, *trailing])
        case Permutation(leading):
            # A shuffle does not compile for a TPU; sorting uniform numbers does.
            return tf.argsort(uniform_float(key, [*leading, examples]), axis=-1)
        case Key():
            return key
    raise TypeError(f"{declaration!r} is not a declaration of hares_tf.models.draws")


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
