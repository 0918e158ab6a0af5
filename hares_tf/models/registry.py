"""The registry of encoders. Listing them imports neither Keras nor TensorFlow."""

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field

from hares_tf.models.errors import ModelError
from hares_tf.utils.lazy import load


@dataclass(frozen=True)
class EncoderSpec:
    """The declaration of an encoder.

    Attributes:
        name: the argument of `create_model`.
        factory: a function `factory(name, dtype=None, **arguments)` that returns a built
            `hares_tf.models.encoder.Encoder`, or "module:function", which is imported when the
            encoder is created.
        description: one sentence.
        arguments: fixed arguments of the factory; the others are options of `create_model`.
        parameters: the number of trainable parameters, which the tests check; None if it is not
            known.
        full_size: whether the encoder takes seconds to run on a CPU: its tests are slow ones.
    """

    name: str
    factory: str | Callable
    description: str
    arguments: dict = field(default_factory=dict)
    parameters: int | None = None
    full_size: bool = False


_SPECS: dict[str, EncoderSpec] = {}


def register(spec: EncoderSpec) -> EncoderSpec:
    """Adds an encoder to the registry, under a name that is not taken.

    The encoder then works in `create_model`, `hares-pretrain`, `hares-export` and the tests of all
    encoders. Commands find encoders of other packages by `--plugin`.

    Raises:
        ModelError: another encoder has this name.
    """
    if _SPECS.setdefault(spec.name, spec) != spec:
        raise ModelError(f"There is another encoder {spec.name!r} already; choose another name.")
    return spec


def list_models() -> list[str]:
    """Names of all encoders."""
    return sorted(_SPECS)


def get_spec(name: str) -> EncoderSpec:
    """The registry's row for `name`.

    Raises:
        ModelError: there is none; the message names the nearest ones.
    """
    if name not in _SPECS:
        near = difflib.get_close_matches(name, _SPECS, n=3, cutoff=0.4) or list_models()
        raise ModelError(f"There is no model {name!r}; did you mean {' or '.join(near)}?")
    return _SPECS[name]


def create_model(name: str, dtype=None, **options):
    """Builds an encoder with fresh weights.

    Args:
        name: one of `list_models()`.
        dtype: a Keras dtype or policy; default: the global policy. Under `"mixed_bfloat16"`
            weights, frontend, weight standardization, gates and pooling are float32, convolutions
            and activations bfloat16.
        **options: arguments of the encoder that its row leaves open, such as
            `gradient_checkpointing=True` for the Slowfast NFNets.

    Returns:
        A built `hares_tf.models.encoder.Encoder`: waveform `[batch, samples]` in [-1, 1] at
        `model.sample_rate` -> embedding `[batch, dim]`.

    Raises:
        ModelError: there is no such model, or it has no such option.
    """
    spec = get_spec(name)
    factory = spec.factory
    if isinstance(factory, str):
        factory = load(factory)
    _check_options(spec, factory, options)
    return factory(name, dtype=dtype, **spec.arguments, **options)


def _check_options(spec: EncoderSpec, factory: Callable, options: dict) -> None:
    known = [
        parameter.name
        for parameter in inspect.signature(factory).parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        and parameter.name not in ("name", "dtype", *spec.arguments)
    ]
    for option in options:
        if option not in known:
            listing = f"its options are {', '.join(known)}" if known else "it has none"
            raise ModelError(f"The model {spec.name!r} has no option {option!r}; {listing}.")


for _spec in (
    EncoderSpec(
        name="slowfast_nfnet_f0",
        factory="hares_tf.models.slowfast_nfnet:create",
        arguments={"variant": "f0"},
        description="Slowfast NFNet-F0, the paper's own encoder (3456 features, 63M parameters).",
        parameters=62_970_654,
        full_size=True,
    ),
    EncoderSpec(
        name="slowfast_nfnet_small",
        factory="hares_tf.models.slowfast_nfnet:create",
        arguments={"variant": "small"},
        description="The same network for a few CPU cores (896 features, 1.8M parameters).",
    ),
    EncoderSpec(
        name="slowfast_nfnet_tiny",
        factory="hares_tf.models.slowfast_nfnet:create",
        arguments={"variant": "tiny"},
        description="The same network scaled down, for tests and demonstrations.",
    ),
    EncoderSpec(
        name="log_mel_statistics",
        factory="hares_tf.models.log_mel_statistics:create",
        description="Mean and standard deviation of log-mel bins over time: the floor to beat "
        "(160 features, no parameters).",
        parameters=0,
    ),
):
    register(_spec)
