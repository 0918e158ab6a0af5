"""Any handle -> Encoder: the interface is probed once, and what was chosen is stated."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.hub import loader

# Part of every store key: raise it when the adapter may choose differently for the same module.
ADAPTER_VERSION = 1
# Long enough for every window that a usual module was built for.
_PROBE_SECONDS = 3.0


@dataclass
class Encoder:
    """What an evaluation needs of a model.

    Attributes:
        embed: `[batch, samples]` float32 in [-1, 1] -> `[batch, dim]` float32, NumPy to NumPy.
        sample_rate: of the waveforms it expects, in hertz.
        interface: what the adapter found and chose, as JSON data.
    """

    embed: Callable[[np.ndarray], np.ndarray]
    sample_rate: int
    interface: dict = field(default_factory=dict)


def sample_rate_of(module: loader.LocatedModule, override: int | None = None) -> int:
    """The sample rate a module expects: the override, else its card's.

    Raises:
        EvaluationError: neither is there; it is never guessed.
    """
    rate = override if override is not None else (module.card or {}).get("sample_rate")
    if rate is None:
        raise EvaluationError(
            f"{module.handle} does not say which sample rate it expects (it has no "
            f"assets/{loader.CARD_NAME}); give it with --sample_rate, for example 16000"
        )
    if not isinstance(rate, int) or not 1000 <= rate <= 384_000:
        raise EvaluationError(f"{module.handle}: a sample rate of {rate!r} Hz cannot be used")
    return rate


def open_encoder(module: loader.LocatedModule, sample_rate: int) -> Encoder:
    """Loads a module and finds out how to call it.

    Tries, in this order, the module itself and its signature `serving_default`, each with a batch
    of two silent waveforms. Of a dictionary the entry `embedding` is taken (or the only one); a
    time axis (`[batch, time, dim]`) is averaged.

    Raises:
        EvaluationError: no entry point takes `[batch, samples]`, or the output has no embedding.
    """
    loaded = loader.load(module)
    import tensorflow as tf

    candidates: list[tuple[str, Callable]] = []
    if callable(loaded):
        candidates.append(("__call__", loaded))
    signature = getattr(loaded, "signatures", {}).get("serving_default")
    if signature is not None:
        inputs = list(signature.structured_input_signature[1])
        if len(inputs) == 1:
            candidates.append(
                ("serving_default", lambda waveform: signature(**{inputs[0]: waveform}))
            )
    probe = tf.zeros([2, round(_PROBE_SECONDS * sample_rate)])
    complaints = []
    for name, function in candidates:
        try:
            output = function(probe)
            pick, choice = _pick_embedding(output)
        except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
            complaints.append(f"{name}: {str(error).strip().splitlines()[0]}")
            continue

        def embed(batch: np.ndarray, function=function, pick=pick) -> np.ndarray:
            return pick(function(tf.convert_to_tensor(batch, tf.float32))).numpy()

        interface = {
            "entry_point": name,
            "sample_rate": sample_rate,
            "embedding_size": int(pick(output).shape[-1]),
            **choice,
        }
        return Encoder(embed, sample_rate, interface)
    found = "; ".join(complaints) or "it is not callable and has no signature serving_default"
    raise EvaluationError(
        f"{module.handle}: no entry point takes a float32 batch [batch, samples] and gives "
        f"embeddings ({found})"
    )


def in_words(interface: dict) -> str:
    """What the adapter chose, as a sentence for people."""
    source = f"calls {interface['entry_point']}"
    if interface["output_key"]:
        source += f", takes its output {interface['output_key']!r}"
    if interface["time_pooling"]:
        source += f", {interface['time_pooling']} over time"
    return f"{source}: {interface['embedding_size']} features at {interface['sample_rate']} Hz"


def _pick_embedding(output) -> tuple[Callable, dict]:
    choice: dict = {"output_key": None, "time_pooling": None}
    if isinstance(output, dict):
        key = "embedding" if "embedding" in output else next(iter(output))
        if key != "embedding" and len(output) > 1:
            raise ValueError(f"several outputs and none called embedding: {sorted(output)}")
        choice["output_key"] = key
        output = output[key]
    if not hasattr(output, "shape") or not output.dtype.is_floating:
        raise ValueError(f"the output is no float tensor but {type(output).__name__}")
    rank = len(output.shape)
    if rank not in (2, 3) or output.shape[0] != 2:
        raise ValueError(f"an output of shape {tuple(output.shape)} for a batch of 2")
    if rank == 3:
        choice["time_pooling"] = "mean"

    def pick(value):
        import tensorflow as tf

        value = value[choice["output_key"]] if choice["output_key"] else value
        value = tf.cast(value, tf.float32)
        return tf.reduce_mean(value, axis=1) if choice["time_pooling"] else value

    return pick, choice
