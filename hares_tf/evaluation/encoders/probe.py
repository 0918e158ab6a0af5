"""Probing of a loaded module: the call that returns one embedding per waveform."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from hares_tf.evaluation.encoders.interface import Interface
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.hub.embedding_call import find_embedding
from hares_tf.hub.errors import HubError


def probe(handle: str, loaded: Any, stated: Interface) -> tuple[Callable, int, dict, Callable]:
    """Finds the call of a module.

    Args:
        handle: names the module in error messages.
        loaded: from `hub.loader.load`.
        stated: what is known already, at least the sample rate.

    Returns:
        The fields of an `Encoder`: embed, sample rate, interface, graph.

    Raises:
        EvaluationError: see `handle.open_encoder`.
    """
    try:
        call = find_embedding(handle, loaded, stated.as_data())
    except HubError as error:
        raise EvaluationError(str(error)) from error
    graph = call.graph()

    def embed(batch):
        return graph(tf.convert_to_tensor(batch, tf.float32)).numpy()

    return embed, call.interface["sample_rate"], call.interface, graph
