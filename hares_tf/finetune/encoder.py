"""A Hub module as a Keras layer that gives one embedding for each waveform."""

import os

import keras
import numpy as np
import tensorflow as tf

from hares_tf.finetune.errors import FinetuneError
from hares_tf.hub.calling import argument_sets
from hares_tf.hub.embedding_call import pooled, tiled_embeddings
from hares_tf.hub.hub_layer import HubLayer
from hares_tf.hub.loader import LocatedModule
from hares_tf.utils.errors import reason

# Largest deviation between two ways to the same embedding, relative to the largest value.
_TOLERANCE = 1e-4
_WAVEFORM = tf.TensorSpec([None, None], tf.float32, name="waveform")


class WaveformEmbedder(keras.layers.Layer):
    """Waveform `[batch, samples]` float32 -> embedding `[batch, dim]` float32.

    Waveforms are tiled to the one length that the module takes, if there is only one, normalized,
    and given to a `HubLayer`; time axes of its output and tiles are pooled, as the interface says.

    Args:
        hub: the module.
        interface: how the module is called, see `hub.embedding_call.EmbeddingCall`.

    Attributes:
        hub: the module.
        size: number of features.
    """

    def __init__(self, hub: HubLayer, interface: dict):
        super().__init__(name="encoder", dtype="float32", autocast=False)
        self.hub = hub
        self.size = int(interface["embedding_size"])
        self._interface = interface
        self._embed = tf.function(
            lambda waveform: self(waveform, training=False), input_signature=[_WAVEFORM]
        )

    def build(self, input_shape):
        """Does nothing: the module's variables exist already."""

    def call(self, waveform, training=False):
        def embed(tiles):
            tiles = tiles[..., tf.newaxis] if self._interface["input_rank"] == 3 else tiles
            output = tf.cast(self.hub(tiles, training=training), tf.float32)
            return pooled(output, self._interface["pool"])

        embeddings = tiled_embeddings(waveform, self._interface, embed)
        return tf.ensure_shape(embeddings, [None, self.size])

    def embed(self, waveforms: np.ndarray) -> np.ndarray:
        """Embeddings `[batch, dim]` of waveforms `[batch, samples]`, in inference mode."""
        return self._embed(tf.convert_to_tensor(waveforms, tf.float32)).numpy()

    def check_against(self, embed, waveforms: np.ndarray) -> None:
        """Raises FinetuneError unless the embeddings equal those of another function."""
        embeddings, expected = self.embed(waveforms), embed(waveforms)
        scale = max(1.0, float(np.max(np.abs(expected))))
        deviation = float(np.max(np.abs(embeddings - expected))) / scale
        if not deviation <= _TOLERANCE:
            raise FinetuneError(
                f"The module gives embeddings that differ by {deviation:.1e} between two calls on "
                "the same sound, so it cannot be fine-tuned. Look at it with hares-check-handle."
            )


def open_module(module: LocatedModule, interface: dict, trainable: bool) -> WaveformEmbedder:
    """Opens a module for training, without changing its variables.

    Args:
        module: a SavedModel.
        interface: how it is called, see `hub.embedding_call.EmbeddingCall`.
        trainable: whether it lists trainable variables.

    Raises:
        FinetuneError: the module cannot be called in a graph, in inference and training mode.
    """
    assert module.path is not None  # a SavedModel has a folder
    rate, cause = interface["sample_rate"], ""
    # A module that was traced for inference alone is trained as it is called in inference.
    modes: list[dict] = [{}, {"training": False}]
    for arguments in (rated | mode for mode in modes for rated in argument_sets(rate)):
        try:
            hub = HubLayer(
                os.fspath(module.path),
                trainable=trainable,
                output_key=interface["output_key"],
                arguments=arguments,
                entry_point=interface["entry_point"],
            )
            encoder = WaveformEmbedder(hub, interface)
            encoder.embed(np.zeros((2, interface["window_samples"] or rate), np.float32))
            # Traced only: a call would update moving averages and other state of training.
            trace(encoder, training=True)
        except Exception as error:  # a foreign module may raise anything
            cause = cause or reason(error)
        else:
            return encoder
    raise FinetuneError(f"{module.handle} cannot be called in a graph: {cause}.")


def trace(encoder: WaveformEmbedder, training: bool):
    """The concrete function waveform `[batch, samples]` -> {"embedding"} of one mode."""

    @tf.function(input_signature=[_WAVEFORM])
    def network(waveform):
        return {"embedding": encoder(waveform, training=training)}

    return network.get_concrete_function()
