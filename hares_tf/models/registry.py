"""The encoders by name. Listing them imports neither Keras nor TensorFlow."""

import difflib
import importlib
import inspect
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
        name="slowfast_nfnet_small",
        network="hares_tf.models.slowfast_nfnet:SlowFastNFNet",
        arguments={"variant": "small"},
        description="The same network for a few CPU cores (896 features, 1.8M parameters).",
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


def create_model(name: str, dtype=None, **options):
    """Builds an encoder with fresh weights.

    Args:
        name: one of `list_models()`.
        dtype: a Keras dtype or policy; default: the global policy. Under `"mixed_bfloat16"`
            weights, frontend, weight standardisation, gates and pooling are float32, convolutions
            and activations bfloat16.
        **options: arguments of the network's class that the registry leaves open, such as
            `rematerialise=True` for the Slowfast NFNets.

    Returns:
        A built `WaveformEncoder`: waveform `[batch, samples]` in [-1, 1] at
        `model.sample_rate` -> embedding `[batch, dim]`.

    Raises:
        ModelError: no such model, or its network has no such option.
    """
    from hares_tf.audio import LogMel
    from hares_tf.models.waveform_encoder import WaveformEncoder

    spec = get_spec(name)
    module, class_name = spec.network.split(":")
    network_class = getattr(importlib.import_module(module), class_name)
    _check_options(spec, network_class, options)
    model = WaveformEncoder(
        frontend=LogMel(**spec.frontend, dtype=dtype, name="frontend"),
        network=network_class(**spec.arguments, **options, dtype=dtype, name="network"),
        standardize=spec.standardize,
        dtype=dtype,
        name=name,
    )
    model.build((None, None))
    return model


def _check_options(spec: EncoderSpec, network_class: type, options: dict) -> None:
    known = [
        parameter.name
        for parameter in inspect.signature(network_class.__init__).parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        and parameter.name not in ("self", "dtype", *spec.arguments)
    ]
    for option in options:
        if option not in known:
            listing = f"its options are {', '.join(known)}" if known else "it has none"
            raise ModelError(f"the model {spec.name!r} has no option {option!r}; {listing}.")
