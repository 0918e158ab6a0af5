"""The call of a module that returns one embedding per waveform, found by trying.

Modules take `[batch, samples]`, one waveform only, or `[batch, samples, 1]`; any or a single length
or batch size; some need a `sample_rate`. They return a tensor, a tuple or a dictionary, with or
without a time axis.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf

from hares_tf.audio.normalization import normalized
from hares_tf.hub.calling import (
    argument_sets,
    call_function,
    functions_of,
    is_signature,
    output_keys,
    traces_of,
    usual_names,
)
from hares_tf.hub.errors import HubError
from hares_tf.utils.errors import reason

# Length of the waveforms that a module is tried with if it takes any length.
_PROBE_SECONDS = 3.0


@dataclass(frozen=True)
class EmbeddingCall:
    """A module as a function from waveforms to embeddings.

    Attributes:
        loaded: the module. Its functions hold its variables weakly, so it must stay alive.
        function: its function.
        arguments: further arguments of the function.
        one_by_one: whether it takes single waveforms, or batches of exactly one.
        interface: how it is called, as JSON data: the sample rate, the entry point, and the fields
            `output_key`, `window_samples`, `pool`, `input_rank`, `normalise` of a model card (see
            `evaluation.encoders.interface.Interface`), with `embedding_size`.
    """

    loaded: Any
    function: Callable
    arguments: dict
    one_by_one: bool
    interface: dict

    def graph(self) -> Callable:
        """Returns the call as a `tf.function` of float32 `[batch, samples]` to `[batch, dim]`."""

        @tf.function
        def embed(waveforms):
            return tiled_embeddings(waveforms, self.interface, self._embeddings)

        if _waveform_shapes(self.function):
            # One graph for all lengths: optimizing one takes about a second. A Keras model, whose
            # shapes are not known, may need static sizes.
            with contextlib.suppress(TypeError, ValueError):  # then it is traced for each shape
                embed.get_concrete_function(tf.TensorSpec([None, None], tf.float32))
        return embed

    def _embeddings(self, waveforms):
        pool = self.interface["pool"]
        if not self.one_by_one:
            return pooled(self._output(waveforms), pool)
        return tf.map_fn(
            lambda waveform: pooled(self._output(waveform)[tf.newaxis], pool)[0],
            waveforms,
            fn_output_signature=tf.float32,
        )

    def _output(self, waveforms):
        outputs, key = self.outputs(waveforms), self.interface["output_key"]
        return tf.cast(outputs if key is None else outputs[key], tf.float32)

    def outputs(self, waveforms):
        """Returns the module's outputs for `[batch, samples]`, or `[samples]` if `one_by_one`."""
        rank = self.interface["input_rank"]
        if self.one_by_one and rank > 1:
            waveforms = waveforms[tf.newaxis]
        if rank == 3:
            waveforms = waveforms[..., tf.newaxis]
        return call_function(self.function, waveforms, self.arguments)


def tiled_embeddings(waveforms, interface: Mapping, embed: Callable):
    """Returns the embeddings `[batch, dim]` of waveforms `[batch, samples]` of any length.

    Args:
        waveforms: float32.
        interface: its `window_samples` is the only length that the module takes, or None: longer
            waveforms are cut into tiles, the last one padded with zeros, and their embeddings
            averaged. Its `normalise` is applied to each tile.
        embed: tiles `[n, samples]` -> `[n, dim]`.
    """
    tiles = _tiles(waveforms, interface["window_samples"])
    embeddings = embed(normalized(tiles, interface["normalise"], tf.experimental.numpy))
    size = tf.shape(embeddings)[-1]
    return tf.reduce_mean(tf.reshape(embeddings, [tf.shape(waveforms)[0], -1, size]), axis=1)


def _tiles(waveforms, length: int | None):
    if length is None:
        return waveforms
    samples = tf.shape(waveforms)[1]
    padding = tf.maximum(1, -(-samples // length)) * length - samples
    return tf.reshape(tf.pad(waveforms, [[0, 0], [0, padding]]), [-1, length])


def pooled(output, pool: str | None):
    """Pools all axes between batch and features, "mean" or "max"; None: there are none."""
    if pool is None:
        return output
    reduce = tf.reduce_mean if pool == "mean" else tf.reduce_max
    return reduce(tf.reshape(output, [tf.shape(output)[0], -1, tf.shape(output)[-1]]), axis=1)


def find_embedding(handle: str, loaded: Any, stated: Mapping) -> EmbeddingCall:
    """Finds the call of a module that returns one embedding per waveform.

    Args:
        handle: names the module in error messages.
        loaded: from `hub.loader.load`.
        stated: what is known of the interface (see `EmbeddingCall`), at least its sample rate; None
            where a field must be found.

    Raises:
        HubError: no call returns embeddings, or several do (the message lists the options).
    """
    name, function = _entry_point(handle, loaded, stated["entry_point"], stated["output_key"])
    shapes = _waveform_shapes(function)
    complaints = []
    for rank in [stated["input_rank"]] if stated["input_rank"] else _ranks_to_try(shapes):
        shape = next((s for s in shapes if len(s) == rank), [None] * rank)
        length = stated["window_samples"] or (shape[0] if rank == 1 else shape[1])
        one_by_one = rank == 1 or shape[0] == 1
        samples = length or round(_PROBE_SECONDS * stated["sample_rate"])
        silence = tf.zeros([samples] if one_by_one else [2, samples])
        interface = {
            **stated,
            "entry_point": name,
            "window_samples": length,
            "input_rank": rank,
            "normalise": stated["normalise"] or "none",
        }
        for arguments in _arguments_to_try(function, stated["sample_rate"]):
            call = EmbeddingCall(loaded, function, arguments, one_by_one, interface)
            try:
                outputs = call.outputs(silence)
            except Exception as error:  # a module may raise anything; every try is reported
                complaints.append(f"rank {rank}: {type(error).__name__}: {reason(error)}")
                continue
            key, output = _choose_output(handle, outputs, stated["output_key"])
            has_time_axis = _has_time_axis(handle, output, one_by_one)
            interface |= {
                "output_key": key,
                "pool": (stated["pool"] or "mean") if has_time_axis else None,
                "embedding_size": int(output.shape[-1]),
            }
            return replace(call, interface=interface)
    raise HubError(
        f"{handle}: {name} takes neither [batch, samples] nor [samples] nor "
        f"[batch, samples, 1] ({'; '.join(dict.fromkeys(complaints))}); try --entry_point, "
        "--window_samples or --input_rank."
    )


def _entry_point(
    handle: str, loaded: Any, wanted: str | None, output_key: str | int | None
) -> tuple[str, Callable]:
    """Returns (name, function): one of the usual entry points, if possible with the output."""
    known, signatures = functions_of(loaded)
    listing = ", ".join(known)
    if wanted is not None:
        if wanted not in known:
            raise HubError(f"{handle} has no entry point {wanted!r}; it has: {listing or 'none'}.")
        return wanted, known[wanted]
    if usual := usual_names(known, signatures):
        # A classifier's call may return the embedding alone, and its signature also the logits.
        name = next((n for n in usual if output_key in output_keys(known[n])), usual[0])
        return name, known[name]
    if len(known) == 1:
        return next(iter(known.items()))
    raise HubError(
        f"{handle} is not callable and has no signature serving_default; choose with "
        f"--entry_point one of: {listing or 'none (it holds no function at all)'}."
    )


def _waveform_shapes(function: Any) -> list[list]:
    """Returns the shapes of the waveform input, None for free sizes; [] if nothing is known."""
    shapes = []
    for trace in traces_of(function):
        positional, keywords = trace.structured_input_signature
        for spec in tf.nest.flatten([positional, list(keywords.values())]):
            is_waveform = isinstance(spec, tf.TensorSpec) and spec.dtype.is_floating
            if is_waveform and spec.shape.rank in (1, 2, 3):
                shapes.append(spec.shape.as_list())
                break
    return shapes


def _ranks_to_try(shapes: list[list]) -> list[int]:
    """Batches first; if no shape is known, every rank that modules take."""
    known = {len(shape) for shape in shapes}
    return [rank for rank in (2, 3, 1) if rank in known] or [2, 1, 3]


def _arguments_to_try(function: Any, sample_rate: int) -> list[dict]:
    if not is_signature(function):
        return argument_sets(sample_rate)
    # All inputs of a signature are required.
    required = "sample_rate" in function.structured_input_signature[1]
    return [{"sample_rate": sample_rate} if required else {}]


def _choose_output(handle: str, outputs: Any, key: str | int | None) -> tuple[Any, Any]:
    """Returns (key, tensor) of the embedding among a module's outputs."""
    if isinstance(outputs, (list, tuple)):
        named: Mapping = dict(enumerate(outputs))
    elif isinstance(outputs, dict):
        named = outputs
    else:
        if key is not None:
            raise HubError(f"{handle} gives a single tensor, so it has no output {key!r}.")
        return None, _checked(handle, "its output", outputs)
    if isinstance(key, str) and key.isdigit() and key not in named:
        key = int(key)
    if key is None:
        key = "embedding" if "embedding" in named else next(iter(named))
        if key != "embedding" and len(named) > 1:
            listed = ", ".join(f"{k}: {tuple(v.shape)}" for k, v in named.items())
            raise HubError(f"{handle} gives several outputs ({listed}); choose with --output_key.")
    if key not in named:
        raise HubError(f"{handle} has no output {key!r}; it has: {', '.join(map(str, named))}.")
    return key, _checked(handle, f"its output {key!r}", named[key])


def _checked(handle: str, name: str, value: Any) -> Any:
    if not tf.is_tensor(value) or not value.dtype.is_floating:
        raise HubError(f"{handle}: {name} is no tensor of floats.")
    if value.shape.rank and value.shape[-1] == 0:
        raise HubError(f"{handle}: {name} has no features (its shape is {tuple(value.shape)}).")
    return value


def _has_time_axis(handle: str, output: Any, one_by_one: bool) -> bool:
    """Returns whether there are axes between the batch and the features.

    One waveform gives `[dim]`, `[1, dim]` or `[time, dim]`: every axis but the last is time.
    """
    rank = output.shape.rank
    if one_by_one:
        if rank == 0:
            raise HubError(f"{handle} gives a single number for a waveform.")
        return rank > 1
    if rank < 2 or output.shape[0] != 2:
        raise HubError(
            f"{handle} gives shape {tuple(output.shape)} for a batch of 2 waveforms; the first "
            "axis must be the batch."
        )
    return rank > 2
