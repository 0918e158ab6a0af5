"""The encoders by name. Listing them imports neither Keras nor TensorFlow."""

import difflib
import importlib
from dataclasses import dataclass, field

from hares_tf.models.errors import ModelError


@dataclass(frozen=True)
class EncoderSpec:
    """One encoder: a row of the registry.

    Attributes:
        name: what `create_model` takes.
        network: "module:class" of the network behind the frontend.
        description: one sentence.
        arguments: for the network's class.
        frontend: for `hares_tf.audio.LogMel`, where it differs from the defaults.
        standardize: whether each log-mel example is standardised before the network.
    """

    name: str
    network: str
    description: str
    arguments: dict = field(default_factory=dict)
    frontend: dict = field(default_factory=dict)
    standardize: bool = True


_SPECS = (
    EncoderSpec(
        name="slowfast_nfnet_f0",
        network="hares_tf.models.slowfast_nfnet:SlowFastNFNet",
        arguments={"variant": "f0"},
        description="Slowfast NFNet-F0, the paper's own encoder (3456 features, 63M parameters).",
    ),
    EncoderSpec(
        name="slowfast_nfnet_tiny",
        network="hares_tf.models.slowfast_nfnet:SlowFastNFNet",
        arguments={"variant": "tiny"},
        description="The same network scaled down, for tests and demonstrations.",
    ),
    EncoderSpec(
        name="log_mel_statistics",
        network="hares_tf.models.log_mel_statistics:LogMelStatistics",
        standardize=False,
        description="Mean and standard deviation of log-mel bins over time: the floor to beat "
        "(160 features, no parameters).",
    ),
)

_BY_NAME = {spec.name: spec for spec in _SPECS}


def list_models() -> list[str]:
    """Names of all encoders."""
    return sorted(_BY_NAME)


def get_spec(name: str) -> EncoderSpec:
    """The registry's row for `name`.

    Raises:
        ModelError: there is none; the message names the nearest ones.
    """
    if name not in _BY_NAME:
        near = difflib.get_close_matches(name, _BY_NAME, n=3, cutoff=0.4) or list_models()
        raise ModelError(f"there is no model {name!r}; did you mean {' or '.join(near)}?")
    return _BY_NAME[name]


def create_model(name: str, dtype=None):
    """Builds an encoder with fresh weights.

    Args:
        name: one of `list_models()`.
        dtype: a Keras dtype or policy; default: the global policy.

    Returns:
        A built `WaveformEncoder`: waveform `[batch, samples]` in [-1, 1] at
        `model.sample_rate` -> embedding `[batch, dim]`.

    Raises:
        ModelError: no such model.
    """
    from hares_tf.audio import LogMel
    from hares_tf.models.waveform_encoder import WaveformEncoder

    spec = get_spec(name)
    module, class_name = spec.network.split(":")
    network_class = getattr(importlib.import_module(module), class_name)
    model = WaveformEncoder(
        frontend=LogMel(**spec.frontend, dtype=dtype, name="frontend"),
        network=network_class(**spec.arguments, dtype=dtype, name="network"),
        standardize=spec.standardize,
        dtype=dtype,
        name=name,
    )
    model.build((None, None))
    return model
