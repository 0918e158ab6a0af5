"""The whole encoder: frontend, standardisation, network."""

import keras

from hares_tf.audio import Standardize


@keras.saving.register_keras_serializable(package="hares_tf")
class WaveformEncoder(keras.Model):
    """Waveform `[batch, samples]` in [-1, 1] -> embedding `[batch, dim]`.

    The three stages are attributes of their own, so that training can mix examples between the
    frontend and the standardisation: `frontend`, `standardize` (None where the network takes the
    spectrogram as it is) and `network`.

    Args:
        frontend: a layer waveform -> spectrogram `[batch, time, freq, 1]` with a `sample_rate`.
        network: a layer or model spectrogram -> embedding.
        standardize: whether each spectrogram is standardised (paper, Appendix C).
    """

    def __init__(self, frontend, network, standardize: bool = True, **kwargs):
        # Keras casts what a layer of a mixed policy is called with, here the waveform, whose quiet
        # parts and small differences bfloat16 would erase. The stages cast for themselves.
        super().__init__(autocast=False, **kwargs)
        self.frontend = frontend
        self.standardize = Standardize(dtype=frontend.dtype_policy) if standardize else None
        self.network = network

    @property
    def sample_rate(self) -> int:
        """Hertz."""
        return self.frontend.sample_rate

    @property
    def embedding_size(self) -> int:
        """Number of features."""
        return self.compute_output_shape((1, self.sample_rate))[-1]

    @property
    def frame_hop(self) -> int | None:
        """Samples from one step of `embedding_and_frames` to the next; None if it has no frames."""
        stride = getattr(self.network, "frame_stride", None)
        return None if stride is None else stride * self.frontend.frame_step

    def build(self, input_shape):
        """Creates all variables; `input_shape` is `(batch, samples)`."""
        spectrogram = self.frontend.compute_output_shape(input_shape)
        if not self.network.built:
            self.network.build(spectrogram)
        self.built = True

    def call(self, waveform, training=None, residual_masks=None):
        spectrogram = self.spectrogram(waveform)
        masks = {} if residual_masks is None else {"residual_masks": residual_masks}
        return self.network(spectrogram, training=training, **masks)

    def spectrogram(self, waveform):
        """What the network is given: `[batch, time, freq, 1]`."""
        spectrogram = self.frontend(waveform)
        return spectrogram if self.standardize is None else self.standardize(spectrogram)

    def embedding_and_frames(self, waveform, training=None):
        """The embedding, and the network's features before they are pooled over time.

        Only where `frame_hop` is not None.

        Args:
            waveform: `[batch, samples]` in [-1, 1].
            training: as in the call.

        Returns:
            `[batch, dim]` and `[batch, ceil(samples / frame_hop), features]`, at least one step.
        """
        return self.network.embedding_and_frames(self.spectrogram(waveform), training=training)

    def compute_output_shape(self, input_shape, **_):
        return self.network.compute_output_shape(self.frontend.compute_output_shape(input_shape))

    def compute_output_spec(self, waveform, **_):
        shape = self.compute_output_shape(waveform.shape)
        return keras.KerasTensor(shape, self.network.variable_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "frontend": keras.saving.serialize_keras_object(self.frontend),
            "network": keras.saving.serialize_keras_object(self.network),
            "standardize": self.standardize is not None,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        for stage in ("frontend", "network"):
            config[stage] = keras.saving.deserialize_keras_object(config[stage])
        return cls(**config)
