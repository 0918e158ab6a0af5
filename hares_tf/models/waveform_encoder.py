"""The usual encoder: spectrogram frontend, standardization, network."""

import contextlib

import keras
from keras import ops

from hares_tf.audio import LogMel, Standardize
from hares_tf.models.encoder import Encoder


@keras.saving.register_keras_serializable(package="hares_tf")
class WaveformEncoder(Encoder):
    """Waveform `[batch, samples]` in [-1, 1] -> embedding `[batch, dim]`.

    The three stages are attributes: `frontend`, `standardize` (None if the network takes the
    spectrogram as it is) and `network`. Of the contract in `Encoder` the network may bring, under
    the same names: `training_draws` (each one an argument of its call), `examples_independent`,
    `has_silent_branches`, `awake()`, and `folded(precision)` (spectrogram -> embedding, frames).
    A network with features over time has `frame_stride` and `embedding_and_frames`.

    Args:
        frontend: a layer waveform -> spectrogram `[batch, time, freq, 1]` with a `sample_rate`.
        network: a layer or model spectrogram -> embedding.
        standardize: whether each spectrogram is standardized (paper, Appendix C).
    """

    mixing_domains = ("log_mel", "mel", "waveform", "none")

    def __init__(self, frontend, network, standardize: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.frontend = frontend
        self.standardize = Standardize(dtype=frontend.dtype_policy) if standardize else None
        self.network = network

    @property
    def sample_rate(self) -> int:  # type: ignore[override]
        """Hertz."""
        return self.frontend.sample_rate

    @property
    def embedding_size(self) -> int:  # type: ignore[override]
        """Number of features."""
        return self.compute_output_shape((1, self.sample_rate))[-1]

    @property
    def frame_hop(self) -> int | None:  # type: ignore[override]
        """Samples from one step of `embedding_and_frames` to the next; None if it has no frames."""
        stride = getattr(self.network, "frame_stride", None)
        return None if stride is None else stride * self.frontend.frame_step

    @property
    def training_draws(self):
        """The random numbers that the network needs in training."""
        return getattr(self.network, "training_draws", {})

    @property
    def examples_independent(self) -> bool:  # type: ignore[override]
        """Whether the network treats each example by itself, in training too."""
        return getattr(self.network, "examples_independent", True)

    @property
    def has_silent_branches(self) -> bool:  # type: ignore[override]
        """Whether fresh weights leave branches of the network without effect."""
        return getattr(self.network, "has_silent_branches", False)

    def awake(self):
        """Gives silent branches of the network an effect; yields the changed variables."""
        awake = getattr(self.network, "awake", None)
        return contextlib.nullcontext([]) if awake is None else awake()

    def build(self, input_shape):
        """Creates all variables; `input_shape` is `(batch, samples)`."""
        spectrogram = self.frontend.compute_output_shape(input_shape)
        if not self.network.built:
            self.network.build(spectrogram)
        self.built = True

    def inputs(self, waveform, mix=None, domain="none"):
        """The spectrogram that the network takes: `[batch, time, freq, 1]`.

        Two examples are mixed as waveforms, as mel spectrograms before the logarithm, or after it.
        """
        self.check_domain(domain)
        if mix is None or domain == "none":
            spectrogram = self.frontend(waveform)
        elif domain == "waveform":
            spectrogram = self.frontend(mix(waveform))
        elif domain == "mel":
            mel = mix(self.frontend.linear_mel(waveform))
            spectrogram = ops.log1p(self.frontend.log_scale * mel)
        else:
            spectrogram = mix(self.frontend(waveform))
        return spectrogram if self.standardize is None else self.standardize(spectrogram)

    def embed(self, inputs, training=None, draws=None):
        """Standardized spectrogram -> embedding."""
        return self.network(inputs, training=training, **(draws or {}))

    def embedding_and_frames(self, waveform, training=None):
        """The embedding, and the features of the network before they are pooled over time."""
        return self.network.embedding_and_frames(self.inputs(waveform), training=training)

    def folded(self, precision):
        """The inference form, if the network has one."""
        fold = getattr(self.network, "folded", None)
        network = None if fold is None else fold(precision)
        return None if network is None else _Folded(self, network)

    def frontend_config(self) -> dict:
        """Class and constants of the frontend, for the model card."""
        config = self.frontend.get_config()
        constants = {k: v for k, v in config.items() if k not in ("name", "trainable", "dtype")}
        return {
            "kind": type(self.frontend).__name__,
            **constants,
            "standardize": self.standardize is not None,
        }

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


class _Folded:
    """Frontend and standardization in front of a folded network."""

    def __init__(self, encoder: WaveformEncoder, network):
        self._encoder, self._network = encoder, network
        self.variables = network.variables

    def __call__(self, waveform):
        return self._network(self._encoder.inputs(waveform))


def log_mel_encoder(name, network, dtype=None, standardize=True, **frontend) -> WaveformEncoder:
    """Puts the log-mel frontend of the paper in front of a network, and builds the encoder.

    Args:
        name: of the encoder.
        network: a layer or model `[batch, time, freq, 1]` -> `[batch, dim]`.
        dtype: a Keras dtype or policy; default: the global policy.
        standardize: whether each spectrogram is standardized.
        **frontend: arguments of `hares_tf.audio.LogMel`.
    """
    encoder = WaveformEncoder(
        frontend=LogMel(**frontend, dtype=dtype, name="frontend"),
        network=network,
        standardize=standardize,
        dtype=dtype,
        name=name,
    )
    encoder.build((None, None))
    return encoder
