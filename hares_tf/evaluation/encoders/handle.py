"""Any handle -> Encoder: the interface is probed once, and what was chosen is stated."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from hares_tf.audio.normalization import normalized
from hares_tf.evaluation.encoders.interface import Interface, from_card, preset_for
from hares_tf.evaluation.encoders.runtime import DEFAULT, OPENVINO, Runtime, in_openvino
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.hub import loader
from hares_tf.runtimes.errors import ConversionError

# Part of every store key: raise it when the adapter may choose differently for the same module.
ADAPTER_VERSION = 2


@dataclass
class Encoder:
    """What an evaluation needs of a model.

    Attributes:
        embed: `[batch, samples]` float32 in [-1, 1] -> `[batch, dim]` float32, NumPy to NumPy.
        sample_rate: of the waveforms it expects, in hertz.
        interface: what the adapter found and chose, as JSON data.
        graph: of a TensorFlow module, `embed` as a `tf.function`, tensor to tensor.
    """

    embed: Callable[[np.ndarray], np.ndarray]
    sample_rate: int
    interface: dict = field(default_factory=dict)
    graph: Callable | None = None


def stated_interface(module: loader.LocatedModule, flags: Interface) -> tuple[Interface, str]:
    """What is known of a module before it is loaded: flags, else its card, else a preset.

    Returns:
        The interface and, in words, where it comes from.

    Raises:
        EvaluationError: nobody says which sample rate the module expects; it is never guessed.
    """
    preset_name, preset = preset_for(module.handle)
    sources = ["flags"] if flags != Interface() else []
    stated = flags.filled_from(from_card(module.card, module.handle))
    sources += ["card"] if module.card else []
    if stated.filled_from(preset) != stated:
        stated = stated.filled_from(preset)
        sources.append(f"preset {preset_name!r}")
    if stated.sample_rate is None:
        where = (
            "its function has no attribute sample_rate"
            if module.kind == "python"
            else f"it brings no {loader.CARD_NAME} and is no module with a preset"
        )
        raise EvaluationError(
            f"{module.handle} does not say which sample rate it expects ({where}); give it with "
            "--sample_rate, for example 16000"
        )
    return stated, ", ".join(sources)


def open_encoder(
    module: loader.LocatedModule, stated: Interface, runtime: Runtime = DEFAULT
) -> Encoder:
    """Loads a module and finds out how to call it, as far as `stated` leaves that open.

    Raises:
        EvaluationError: no way of calling it gives one embedding per waveform, or there are several
            and nothing says which; the message lists the options.
        ConversionError: the runtime does not take the module; TensorFlow may.
    """
    loaded = loader.load(module)
    if module.kind == "python":
        return _function_encoder(module, loaded, stated)
    from hares_tf.evaluation.encoders.probe import probe

    encoder = Encoder(*probe(module.handle, loaded, stated))
    if runtime.name != OPENVINO:
        return encoder
    return in_openvino(encoder, runtime.precision)


def encoder_of(
    handle,
    *,
    interface: Interface | None = None,
    runtime: Runtime = DEFAULT,
    say: Callable[[str], None] = lambda message: None,
) -> Encoder:
    """Any handle as a function from waveforms to embeddings, for programs of one's own.

    Args:
        handle: whatever `evaluate` takes.
        interface: what is known of the module, where neither its card nor a preset says it.
        runtime: what computes; TensorFlow where it does not take the module.
        say: is told when the runtime does not take the module.

    Raises:
        HaresError: there is no such module, its sample rate is unknown, or no way of calling it
            gives one embedding per waveform.
    """
    module = loader.locate(handle)
    stated, _ = stated_interface(module, interface or Interface())
    encoder = open_encoder(module, stated)
    if runtime.of(module).name != OPENVINO:
        return encoder
    try:
        return in_openvino(encoder, runtime.precision)
    except ConversionError as error:
        say(f"{error}; TensorFlow computes instead")
        return encoder


def _function_encoder(module, function: Callable, stated: Interface) -> Encoder:
    """An encoder of any framework: `[batch, samples]` NumPy in, anything like an array out."""
    for name in ("entry_point", "output_key", "pool", "input_rank"):
        if getattr(stated, name) is not None:
            raise EvaluationError(
                f"--{name} says how a module is called; {module.handle} is a function: write it so "
                "that it takes [batch, samples] and gives [batch, dim]"
            )

    def call(batch: np.ndarray) -> np.ndarray:
        try:
            output = function(batch)
            # A copy: what it gave may be a view of the batch, which is used again.
            return np.array(output, np.float32)
        except Exception as error:  # a foreign function may raise anything
            reason = (str(error).strip() or repr(error)).splitlines()[0]
            raise EvaluationError(
                f"{module.handle} fails on a batch of shape {batch.shape} "
                f"({type(error).__name__}: {reason[:200]})"
            ) from error

    def embed(batch: np.ndarray) -> np.ndarray:
        pieces = normalized(fitted(batch, stated.window_samples), stated.normalise)
        embeddings = call(pieces)
        if embeddings.ndim != 2 or len(embeddings) != len(pieces):
            raise EvaluationError(
                f"{module.handle} gave shape {embeddings.shape} for a batch of {len(pieces)} "
                "waveforms; it must give [batch, dim]"
            )
        return embeddings.reshape(len(batch), -1, embeddings.shape[1]).mean(axis=1)

    samples = stated.window_samples or 3 * stated.sample_rate
    size = embed(np.zeros((2, samples), np.float32)).shape[1]
    promised = getattr(function, "embedding_size", size)
    if promised != size:
        raise EvaluationError(f"{module.handle} states embedding_size {promised} and gives {size}")
    interface = {
        **stated.as_data(),
        "entry_point": module.handle.rsplit(":", 1)[-1],
        "embedding_size": size,
    }
    return Encoder(embed, stated.sample_rate, interface)


def fitted(batch: np.ndarray, length: int | None) -> np.ndarray:
    """`[batch, samples]` -> `[batch * tiles, length]`, zero-padded at the end."""
    if length is None:
        return batch
    tiles = max(1, -(-batch.shape[1] // length))
    return np.pad(batch, [(0, 0), (0, tiles * length - batch.shape[1])]).reshape(-1, length)


def in_words(interface: dict) -> str:
    """What the adapter chose, as a sentence for people."""
    parts = [f"calls {interface['entry_point']}"]
    if interface.get("input_rank") in (1, 3):
        parts.append(
            {1: "one waveform at a time", 3: "on [batch, samples, 1]"}[interface["input_rank"]]
        )
    if interface.get("window_samples"):
        parts.append(f"in windows of {interface['window_samples']} samples")
    if interface.get("output_key") is not None:
        parts.append(f"takes its output {interface['output_key']!r}")
    if interface.get("pool"):
        parts.append(f"{interface['pool']} over time")
    if "openvino" in interface:
        parts.append(
            f"in OpenVINO {interface['openvino']} ("
            f"{interface['deviation_from_tensorflow']} standard deviations from TensorFlow)"
        )
    size, rate = interface["embedding_size"], interface["sample_rate"]
    return f"{', '.join(parts)}: {size} features at {rate} Hz"
