"""Random numbers that an encoder or an objective needs in a training step, as declarations.

A declaration says the shape and the distribution; `hares_tf.pretrain.draws` evaluates it as a pure
function of the seed, the step and the replica. So nothing random is state: a resumed run draws the
same numbers, and gradient caching can run a network twice on the same ones.

Shapes are given for `examples`, the number of rows that the encoder is called with, or (for an
objective) the number of clips of the replica.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class KeepMask:
    """Stochastic depth or layer drop: `[len(rates), examples]` float32 of 0 and 1.

    Attributes:
        rates: for each row the probability of 0.
    """

    rates: tuple[float, ...]


@dataclass(frozen=True)
class Uniform:
    """Uniform numbers in [0, 1): `[*leading, examples, *trailing]` float32.

    Attributes:
        leading: axes before the examples, for example the crops of a clip.
        trailing: axes after the examples.
    """

    leading: tuple[int, ...] = ()
    trailing: tuple[int, ...] = ()


@dataclass(frozen=True)
class Permutation:
    """Random orders of the examples: `[*leading, examples]` int32.

    Attributes:
        leading: axes before the examples; each entry is an order of its own.
    """

    leading: tuple[int, ...] = ()


@dataclass(frozen=True)
class Key:
    """A seed for stateless random operations such as dropout: `[2]` int32."""


Draw = KeepMask | Uniform | Permutation | Key
