"""The form of an encoder that the serving flavor computes, and its deviation from the encoder."""

import numpy as np
import tensorflow as tf

from hares_tf.hub.errors import HubError
from hares_tf.hub.flavors import FLOAT32


class ServingForm:
    """Waveform `[batch, samples]` -> `(embedding, frames)`, frames None if there are none.

    Attributes:
        variables: the weights, which are not trained.

    Args:
        model: a built `Encoder`; later changes of its weights have no effect where it is folded.
        precision: "float32", or "bfloat16" for an encoder with a folded form.

    Raises:
        HubError: the encoder has no form in this precision.
    """

    def __init__(self, model, precision: str = FLOAT32):
        self._model = model
        self._folded = model.folded(precision)
        if self._folded is None and precision != FLOAT32:
            raise HubError(f"{model.name} has no {precision} form; leave --precision out.")
        if self._folded is None:
            self.variables = [variable.value for variable in model.variables]
        else:
            self.variables = self._folded.variables

    def __call__(self, waveform):
        if self._folded is not None:
            return self._folded(waveform)
        if self._model.frame_hop is not None:
            return self._model.embedding_and_frames(waveform, training=False)
        return self._model(waveform, training=False), None


def deviation(model, precision: str, waveforms: list[np.ndarray]) -> float:
    """Compares the serving form with the encoder, with all branches awake.

    Args:
        model: the encoder; unchanged afterwards.
        precision: of the serving form.
        waveforms: `[batch, samples]` each.

    Returns:
        The largest difference of an embedding, relative to the largest value of that embedding.
    """
    worst = 0.0
    with model.awake():
        serving = ServingForm(model, precision)
        for waveform in waveforms:
            expected = np.asarray(model(waveform, training=False))
            difference = np.abs(serving(tf.constant(waveform))[0].numpy() - expected)
            scale = np.abs(expected).max(axis=-1, keepdims=True)
            worst = max(worst, float((difference / scale).max()))
    return worst
