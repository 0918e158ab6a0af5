"""How a loaded TensorFlow module wants to be called: found out once, by its signatures and trials.

What modules in the wild look like: callable with `[batch, samples]` or with one waveform only; with
a required `sample_rate`; on `[batch, samples, 1]`; of one fixed length or batch size; a named
function or nothing but a signature; a tensor, a tuple or a dictionary as output; a time axis to
pool.
"""

import contextlib
from collections.abc import Callable

import tensorflow as tf

from hares_tf.audio.normalization import normalized
from hares_tf.evaluation.encoders.interface import Interface
from hares_tf.evaluation.errors import EvaluationError

# Waveforms of this length are tried where a module takes any length.
_PROBE_SECONDS = 3.0
_USUAL_SIGNATURES = ("serving_default", "default")


def probe(handle: str, loaded, stated: Interface) -> tuple[Callable, int, dict, Callable]:
    """Finds the way to call a module.

    Args:
        handle: for messages.
        loaded: what `hub.loader.load` gave.
        stated: what is known already.

    Returns:
        The fields of an `Encoder`: embed, sample rate, interface, graph.

    Raises:
        EvaluationError: see `handle.open_encoder`.
    """
    entry_point, function = _entry_point(handle, loaded, stated.entry_point, stated.output_key)
    shapes = _input_shapes(function)
    ranks = [stated.input_rank] if stated.input_rank else _ranks_to_try(shapes)
    complaints = []
    for rank in ranks:
        shape = next((s for s in shapes if len(s) == rank), [None] * rank)
        length = stated.window_samples or (shape[0] if rank == 1 else shape[1])
        one_by_one = rank == 1 or shape[0] == 1
        for arguments in _argument_sets(function, stated.sample_rate):
            call = _caller(function, rank, one_by_one, arguments)
            try:
                outputs = call(
                    _silence(2, length or round(_PROBE_SECONDS * stated.sample_rate), one_by_one)
                )
            except Exception as error:  # a module may raise anything; every try is reported
                complaints.append(f"rank {rank}: {_last_line(error)}")
                continue
            output_key, output = _choose_output(handle, outputs, stated.output_key, one_by_one)
            pooled = _has_time_axis(handle, output, one_by_one)
            interface = Interface(
                sample_rate=stated.sample_rate,
                entry_point=entry_point,
                output_key=output_key,
                window_samples=length,
                pool=(stated.pool or "mean") if pooled else None,
                input_rank=rank,
                normalize=stated.normalize or "none",
            )
            embed, graph = _embedder(loaded, call, interface, one_by_one)
            if shapes:
                # One graph for all lengths: optimizing one takes about a second. A Keras model, of
                # which no shapes are known, may need to be told its sizes.
                with contextlib.suppress(TypeError, ValueError):  # then traced for each shape
                    graph.get_concrete_function(tf.TensorSpec([None, None], tf.float32))
            found = {**interface.as_data(), "embedding_size": int(output.shape[-1])}
            return embed, stated.sample_rate, found, graph
    raise EvaluationError(
        f"{handle}: {entry_point} takes neither [batch, samples] nor [samples] nor "
        f"[batch, samples, 1] ({'; '.join(dict.fromkeys(complaints))}); try --entry_point, "
        "--window_samples or --input_rank."
    )


def _entry_point(
    handle: str, loaded, wanted: str | None, output_key: str | int | None
) -> tuple[str, Callable]:
    """(name, function) of what is called: the usual ones first, of them one with that output."""
    signatures = dict(getattr(loaded, "signatures", None) or {})
    functions = {
        name: getattr(loaded, name)
        for name in dir(loaded)
        if not name.startswith("_") and hasattr(getattr(loaded, name, None), "concrete_functions")
    }
    known = {**signatures, **functions}
    if callable(loaded):
        # Of a loaded module this attribute is the traced function, which tells its input shapes.
        known = {"__call__": loaded.__call__, **known}
    if wanted is not None:
        if wanted not in known:
            raise EvaluationError(
                f"{handle} has no entry point {wanted!r}; it has: {', '.join(known) or 'none'}."
            )
        return wanted, known[wanted]
    usual = ["__call__"] if "__call__" in known else []
    usual += [name for name in _USUAL_SIGNATURES if name in signatures]
    if usual:
        # A classifier's call may give nothing but the embedding, and its signature also the logits.
        name = next((n for n in usual if output_key in _output_names(known[n])), usual[0])
        return name, known[name]
    if len(known) == 1:
        return next(iter(known.items()))
    raise EvaluationError(
        f"{handle} is not callable and has no signature serving_default; choose with "
        f"--entry_point one of: {', '.join(known) or 'none (it holds no function at all)'}."
    )


def _structured_inputs(function) -> list[tuple[list, dict]]:
    """(positional, keyword) input specifications of every traced form of a function."""
    concrete = getattr(function, "concrete_functions", None)
    traced = concrete if concrete is not None else [function]
    found = []
    for one in traced:
        signature = getattr(one, "structured_input_signature", None)
        if signature is not None:
            found.append((list(signature[0]), dict(signature[1])))
    return found


def _output_names(function) -> set[str]:
    """Names of the outputs, of every traced form that gives several by name."""
    concrete = getattr(function, "concrete_functions", None)
    outputs = (
        getattr(one, "structured_outputs", None)
        for one in (concrete if concrete is not None else [function])
    )
    return {name for some in outputs if isinstance(some, dict) for name in some}


def _input_shapes(function) -> list[list]:
    """Shapes of the waveform input, as lists with None for what is free; [] if nothing is known."""
    shapes = []
    for positional, keywords in _structured_inputs(function):
        for spec in tf.nest.flatten([positional, list(keywords.values())]):
            is_waveform = isinstance(spec, tf.TensorSpec) and spec.dtype.is_floating
            if is_waveform and spec.shape.rank in (1, 2, 3):
                shapes.append(spec.shape.as_list())
                break
    return shapes


def _ranks_to_try(shapes: list[list]) -> list[int]:
    """Batches first; where nothing is known, all that modules are known to take."""
    known = {len(shape) for shape in shapes}
    return [rank for rank in (2, 3, 1) if rank in known] or [2, 1, 3]


def _argument_sets(function, sample_rate: int) -> list[dict]:
    """Further arguments to try: none, and a sample rate."""
    if hasattr(function, "structured_input_signature"):  # a signature: all by name, all required
        names = {
            name: spec
            for name, spec in function.structured_input_signature[1].items()
            if name == "sample_rate"
        }
        return [{n: tf.constant(sample_rate, spec.dtype) for n, spec in names.items()}]
    return [{}, {"sample_rate": sample_rate}]


def _caller(function, rank: int, one_by_one: bool, arguments: dict) -> Callable:
    """A function of `[batch, samples]`, or of `[samples]` where the module takes one at a time."""
    if hasattr(function, "structured_input_signature"):
        keywords = function.structured_input_signature[1]
        waveform_name = next(name for name in keywords if name not in arguments)

        def invoke(waveform):
            return function(**{waveform_name: waveform}, **arguments)

    else:

        def invoke(waveform):
            return function(waveform, **arguments)

    def call(waveform):
        if one_by_one and rank > 1:
            waveform = waveform[tf.newaxis]
        return invoke(waveform[..., tf.newaxis] if rank == 3 else waveform)

    return call


def _silence(batch: int, samples: int, one_by_one: bool):
    return tf.zeros([samples] if one_by_one else [batch, samples])


def _choose_output(handle: str, outputs, key, one_by_one: bool):
    """(key, tensor) of the embedding among a module's outputs."""
    if isinstance(outputs, (list, tuple)):
        named = dict(enumerate(outputs))
    elif isinstance(outputs, dict):
        named = outputs
    else:
        if key is not None:
            raise EvaluationError(f"{handle} gives a single tensor, so it has no output {key!r}.")
        return None, _tensor(handle, None, outputs)
    if isinstance(key, str) and key.isdigit() and key not in named:
        key = int(key)
    if key is None:
        key = "embedding" if "embedding" in named else next(iter(named))
        if key != "embedding" and len(named) > 1:
            listed = ", ".join(f"{k}: {tuple(v.shape)}" for k, v in named.items())
            raise EvaluationError(
                f"{handle} gives several outputs ({listed}); choose with --output_key."
            )
    if key not in named:
        raise EvaluationError(
            f"{handle} has no output {key!r}; it has: {', '.join(map(str, named))}."
        )
    return key, _tensor(handle, key, named[key])


def _tensor(handle: str, key, value):
    name = "its output" if key is None else f"its output {key!r}"
    if not tf.is_tensor(value) or not value.dtype.is_floating:
        raise EvaluationError(f"{handle}: {name} is no tensor of floats.")
    return value


def _has_time_axis(handle: str, output, one_by_one: bool) -> bool:
    """Whether axes lie between the batch and the features.

    One waveform gives `[dim]`, `[1, dim]` or `[time, dim]`: there, every axis but the last is time.
    """
    rank = output.shape.rank
    if one_by_one:
        if rank == 0:
            raise EvaluationError(f"{handle} gives a single number for a waveform.")
        return rank > 1
    if rank < 2 or output.shape[0] != 2:
        raise EvaluationError(
            f"{handle} gives shape {tuple(output.shape)} for a batch of 2 waveforms; the first "
            "axis must be the batch."
        )
    return rank > 2


def _embedder(
    loaded, call: Callable, interface: Interface, one_by_one: bool
) -> tuple[Callable, Callable]:
    """`[batch, samples]` NumPy -> `[batch, dim]` NumPy; and the same as a `tf.function`."""

    def embedding(waveform):
        output = call(waveform)
        if interface.output_key is not None:
            output = output[interface.output_key]
        output = tf.cast(output, tf.float32)
        features = tf.shape(output)[-1]
        if one_by_one:
            output = output[tf.newaxis]
        if interface.pool:
            reduce = tf.reduce_mean if interface.pool == "mean" else tf.reduce_max
            flat = tf.reshape(output, [tf.shape(output)[0], -1, features])
            output = reduce(flat, axis=1)
        return output[0] if one_by_one else output

    @tf.function
    def embed(batch):
        pieces = fitted(batch, interface.window_samples)
        pieces = normalized(pieces, interface.normalize, tf.experimental.numpy)
        if one_by_one:
            embeddings = tf.map_fn(embedding, pieces, fn_output_signature=tf.float32)
        else:
            embeddings = embedding(pieces)
        clips = tf.shape(batch)[0]
        per_clip = tf.reshape(embeddings, [clips, -1, tf.shape(embeddings)[-1]])
        return tf.reduce_mean(per_clip, axis=1)

    def embed_array(batch):
        # Functions of a loaded module hold its variables weakly: the module must stay alive.
        assert loaded is not None
        return embed(tf.convert_to_tensor(batch, tf.float32)).numpy()

    return embed_array, embed


def fitted(batch, length: int | None):
    """`[batch, samples]` -> `[batch * tiles, length]`, zero-padded at the end."""
    if length is None:
        return batch
    samples = tf.shape(batch)[1]
    tiles = tf.maximum(1, -(-samples // length))
    return tf.reshape(tf.pad(batch, [[0, 0], [0, tiles * length - samples]]), [-1, length])


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:120]}" if lines else type(error).__name__
