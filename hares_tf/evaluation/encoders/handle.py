"""Opens any handle as an `Encoder`; its interface is stated or probed."""

import os
from collections.abc import Callable
from dataclasses import asdict

import numpy as np

from hares_tf.audio.normalization import normalized
from hares_tf.evaluation.encoders.encoder import Encoder, tiles
from hares_tf.evaluation.encoders.interface import Interface, from_card, preset_for
from hares_tf.evaluation.encoders.runtime import DEFAULT, OPENVINO, Runtime, in_openvino
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.hub import loader
from hares_tf.hub.model_card import CARD_NAME
from hares_tf.runtimes.errors import ConversionError
from hares_tf.utils.errors import reason

# Part of every store key: raise it when the adapter may choose differently for the same module.
ADAPTER_VERSION = 2


def stated_interface(
    module: loader.LocatedModule, flags: Interface = Interface()
) -> tuple[Interface, str]:
    """Returns the interface of a module as flags, its card or a preset state it.

    Args:
        module: the module, not loaded yet.
        flags: stated by the user; they override the card, which overrides the preset.

    Returns:
        The interface, and a description of its sources.

    Raises:
        EvaluationError: the sample rate is unknown; it is never guessed.
    """
    preset_name, preset = preset_for(module.handle)
    sources = ["flags"] if flags != Interface() else []
    stated = flags.filled_from(from_card(module.card, module.handle))
    sources += ["card"] if module.card else []
    if stated.filled_from(preset) != stated:
        stated = stated.filled_from(preset)
        sources.append(f"preset {preset_name!r}")
    if stated.sample_rate is None:
        cause = (
            "its function has no attribute sample_rate"
            if module.kind == "python"
            else f"it has no {CARD_NAME} and no preset is known"
        )
        raise EvaluationError(
            f"{module.handle} does not state its sample rate ({cause}). Give it with "
            "--sample_rate, for example 16000."
        )
    return stated, ", ".join(sources)


def open_encoder(
    handle: str | os.PathLike | Callable | loader.LocatedModule,
    interface: Interface = Interface(),
    runtime: Runtime = DEFAULT,
    *,
    on_fallback: Callable[[str], None] | None = None,
) -> Encoder:
    """Loads a module and probes how to call it.

    Args:
        handle: a module by its name, an encoder as a Python object (see `hub.locate`), or a module
            that is located already.
        interface: how the module is called. Its card or a preset fills the open fields; what they
            leave open is probed.
        runtime: what computes the embeddings. A Python function always runs as it is.
        on_fallback: called with a sentence when the runtime does not take the module; TensorFlow
            then computes the embeddings. None: the `ConversionError` is raised instead.

    Raises:
        HubError: the handle names no module, or it cannot be read.
        EvaluationError: the sample rate is unknown; or no way of calling the module gives one
            embedding per waveform, or there are several and nothing says which (the message lists
            the options).
        ConversionError: the runtime does not take the module; TensorFlow may.
    """
    module = handle if isinstance(handle, loader.LocatedModule) else loader.locate(handle)
    stated, _ = stated_interface(module, interface)
    loaded = loader.load(module)
    if module.kind == "python":
        return _function_encoder(module, loaded, stated)
    from hares_tf.evaluation.encoders.probe import probe

    try:
        encoder = Encoder(*probe(module.handle, loaded, stated))
    except EvaluationError as error:
        hint = _preset_hint(module, stated)
        raise EvaluationError(f"{error} {hint}" if hint else str(error)) from error
    if runtime.name != OPENVINO:
        return encoder
    try:
        return in_openvino(encoder, runtime.precision)
    except ConversionError as error:
        if on_fallback is None:
            raise
        on_fallback(f"{reason(error, 500)}; TensorFlow computes instead.")
        return encoder


def _preset_hint(module: loader.LocatedModule, stated: Interface) -> str:
    """Returns a sentence about the preset that a module's name matched, or ""."""
    name, preset = preset_for(module.handle)
    values = [
        f"--{field}={value}"
        for field, value in asdict(preset).items()
        if value is not None and field != "sample_rate" and getattr(stated, field) == value
    ]
    if not values:
        return ""
    return (
        f"The name of the module matches the preset {name!r}, which states {', '.join(values)}; if "
        "that does not fit this module, give other values."
    )


def _function_encoder(
    module: loader.LocatedModule, function: Callable, stated: Interface
) -> Encoder:
    """Returns an encoder of any framework: `[batch, samples]` NumPy -> anything like an array."""
    for name in ("entry_point", "output_key", "pool", "input_rank"):
        if getattr(stated, name) is not None:
            raise EvaluationError(
                f"--{name} says how a module is called, but {module.handle} is a function. Write "
                "it so that it takes [batch, samples] and returns [batch, dim]."
            )

    def call(batch: np.ndarray) -> np.ndarray:
        try:
            output = function(batch)
            # A copy, because the output may be a view of the batch, whose memory is used again.
            return np.array(output, np.float32)
        except Exception as error:  # a foreign function may raise anything
            raise EvaluationError(
                f"{module.handle} fails on a batch of shape {batch.shape} "
                f"({type(error).__name__}: {reason(error)})."
            ) from error

    def embed(batch: np.ndarray) -> np.ndarray:
        windows = normalized(tiles(batch, stated.window_samples), stated.normalize)
        embeddings = call(windows)
        if embeddings.ndim != 2 or len(embeddings) != len(windows) or not embeddings.size:
            raise EvaluationError(
                f"{module.handle} returned shape {embeddings.shape} for a batch of {len(windows)} "
                "waveforms; it must return [batch, dim]."
            )
        return embeddings.reshape(len(batch), -1, embeddings.shape[1]).mean(axis=1)

    assert stated.sample_rate is not None  # see `stated_interface`
    samples = stated.window_samples or 3 * stated.sample_rate
    size = embed(np.zeros((2, samples), np.float32)).shape[1]
    stated_size = getattr(function, "embedding_size", size)
    if stated_size != size:
        raise EvaluationError(
            f"{module.handle} states embedding_size {stated_size}, but returns {size} features."
        )
    interface = {
        **stated.as_data(),
        "entry_point": module.handle.rsplit(":", 1)[-1],
        "embedding_size": size,
    }
    return Encoder(embed, stated.sample_rate, interface)
