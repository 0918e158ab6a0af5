"""Protocols: how heads are trained and chosen, and how clips are scored.

Scores of different protocols cannot be compared; `Protocol.identity` tells them apart.
"""

from hares_tf.evaluation.protocols.base import (
    AUGMENTATIONS,
    AVERAGES,
    Options,
    Outcome,
    Protocol,
    Work,
)
from hares_tf.evaluation.protocols.fast import Fast
from hares_tf.evaluation.protocols.native import NativeHead
from hares_tf.evaluation.protocols.paper import Paper
from hares_tf.evaluation.protocols.smoke import Smoke

__all__ = [
    "AUGMENTATIONS",
    "AVERAGES",
    "PROTOCOLS",
    "NativeHead",
    "Options",
    "Outcome",
    "Protocol",
    "Work",
    "make_protocol",
]

PROTOCOLS: dict[str, type[Protocol]] = {one.name: one for one in (Fast, Paper, Smoke)}


def make_protocol(name: str, options: Options) -> Protocol:
    """A protocol of `PROTOCOLS` with its options."""
    return PROTOCOLS[name](options)
