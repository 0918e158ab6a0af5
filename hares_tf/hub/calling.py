"""Calls of any SavedModel: entry points, arguments, input shapes and outputs.

`find_entry_point` reads the call of a module from its traced functions, for `HubLayer`, which
returns what the module returns. `embedding_call` builds on this module for callers that need one
embedding per waveform.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from hares_tf.hub.errors import HubError

CALL = "__call__"
_USUAL_SIGNATURES = ("serving_default", "default")


@dataclass(frozen=True)
class Form:
    """The specifications of the input and the outputs of a traced function."""

    input: tf.TensorSpec
    outputs: Any


@dataclass(frozen=True)
class EntryPoint:
    """The function of a module that is called.

    Attributes:
        handle: names the module in error messages.
        function: the traced function: the module's `__call__`, another function, or a signature.
        arguments: values of its further arguments.
        output_key: the output to return, or None.
        forms: one for each input specification that the function was traced for.
        training: the values of its argument `training` that it was traced for; empty if it has no
            such argument.
        variables: the variables that it uses.
    """

    handle: str
    function: Callable
    arguments: dict
    output_key: str | int | None
    forms: tuple[Form, ...]
    training: frozenset[bool]
    variables: tuple[tf.Variable, ...]

    def __call__(self, inputs, training: bool):
        """Returns the outputs for a batch; a function of single waveforms is called row by row."""
        form, row_by_row = self.form(inputs.shape)
        inputs = tf.cast(inputs, form.input.dtype)
        arguments = self.arguments | ({"training": training} if self.training else {})

        def run(waveform):
            # A length that Keras does not know may be one that the module fixes.
            waveform = tf.ensure_shape(waveform, form.input.shape)
            return self._selected(call_function(self.function, waveform, arguments))

        def run_batch_of_one(waveform):
            outputs = run(waveform[tf.newaxis])
            return tf.nest.map_structure(lambda output: output[0], outputs)

        if not row_by_row:
            return run(inputs)
        specs = self._selected(form.outputs)
        if form.input.shape.rank < inputs.shape.rank:
            return tf.map_fn(run, inputs, fn_output_signature=specs)
        row_specs = tf.nest.map_structure(
            lambda spec: tf.TensorSpec(spec.shape[1:], spec.dtype), specs
        )
        return tf.map_fn(run_batch_of_one, inputs, fn_output_signature=row_specs)

    def form(self, shape) -> tuple[Form, bool]:
        """Returns the form for a batch of this shape, and whether rows are passed one by one.

        They are if the form takes single waveforms, `[samples]`, or batches of exactly one.

        Raises:
            HubError: the function takes other shapes.
        """
        batch = tf.TensorShape(shape)
        for form in self.forms:
            if form.input.shape.is_compatible_with(batch):
                return form, batch.rank > 1 and form.input.shape[0] == 1 != batch[0]
        for form in self.forms if batch.rank > 1 else ():
            if form.input.shape[:1] == [1] and form.input.shape[1:].is_compatible_with(batch[1:]):
                return form, True
        for form in self.forms if batch.rank == 2 else ():
            if form.input.shape.is_compatible_with(batch[1:]):
                return form, True
        shapes = [form.input.shape.as_list() for form in self.forms]
        texts = (", ".join("any" if size is None else str(size) for size in s) for s in shapes)
        listing = " or ".join(dict.fromkeys(f"[{text}]" for text in texts))
        raise HubError(f"{self.handle} takes {listing}, not a batch of shape {tuple(shape)}.")

    def _selected(self, outputs):
        if self.output_key is not None:
            return outputs[self.output_key]
        single = is_signature(self.function) and isinstance(outputs, Mapping) and len(outputs) == 1
        return next(iter(outputs.values())) if single else outputs


def find_entry_point(
    handle: str, loaded: Any, output_key: str | int | None, arguments: dict, entry_point: str | None
) -> EntryPoint:
    """Returns the module's call, or a signature if it has none or only that has the output.

    Args:
        handle: names the module in error messages.
        loaded: the loaded module.
        output_key: the output that is needed, or None.
        arguments: values of further arguments; "training" among them fixes the mode.
        entry_point: "__call__", or the name of a function or signature; None: chosen as above.

    Raises:
        HubError: there is nothing to call, it takes more than one input, or lacks the output.
    """
    known, signatures = functions_of(loaded)
    # An untraced function may be callable, but its inputs and outputs cannot be read.
    traced = {name: function for name, function in known.items() if traces_of(function)}

    def described(name: str) -> EntryPoint:
        return _described(handle, name, traced[name], arguments, output_key)

    if entry_point is not None:
        if entry_point not in traced:
            raise HubError(f"{handle} has no function or signature {entry_point!r}.")
        return described(entry_point)
    names = usual_names(traced, signatures)
    if not names and len(signatures) == 1:
        names = list(signatures)
    if not names:
        listing = ", ".join(signatures) or "none at all"
        raise HubError(
            f"{handle} is not callable and has no signature serving_default (its signatures: "
            f"{listing}), so a layer cannot tell what to call."
        )
    if output_key is None:
        return described(names[0])
    # Also signatures that are made for an output, such as `frames`; those with few inputs first.
    names += sorted(signatures, key=lambda n: len(signatures[n].structured_input_signature[1]))
    for name in names:
        if output_key in output_keys(traced[name]):
            return described(name)
    keys = dict.fromkeys(repr(key) for name in names for key in output_keys(traced[name]))
    listing = f"it has: {', '.join(keys)}"
    raise HubError(
        f"{handle} has no output {output_key!r}; "
        + (listing if keys else "it gives a single tensor: leave output_key out")
    )


def _described(
    handle: str, name: str, function: Any, arguments: dict, output_key: str | int | None
) -> EntryPoint:
    forms: dict[tf.TensorSpec, Form] = {}
    training: set[bool] = set()
    variables: dict[int, tf.Variable] = {}
    for trace in traces_of(function):
        positional, keywords = trace.structured_input_signature
        # Arguments that are not tensors belong to the trace by their values.
        given = dict(zip(trace.function_type.parameters, positional, strict=False)) | keywords
        inputs = {
            key: value
            for key, value in given.items()
            if key not in {"training", *arguments} and _holds_tensors(value)
        }
        waveform = next(iter(inputs.values()), None)
        if len(inputs) != 1 or not isinstance(waveform, tf.TensorSpec):
            raise HubError(
                f"{name} of {handle} does not take one tensor (its inputs: "
                f"{', '.join(inputs) or 'none'}); give values for all but one with arguments=."
            )
        forms.setdefault(waveform, Form(waveform, trace.structured_outputs))
        if "training" in given and "training" not in arguments:
            value = given["training"]
            training |= {value} if isinstance(value, bool) else {False, True}
        variables |= {id(variable): variable for variable in trace.graph.variables}
    return EntryPoint(
        handle,
        function,
        arguments,
        output_key,
        tuple(forms.values()),
        frozenset(training),
        tuple(variables.values()),
    )


def functions_of(loaded: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns all functions of a module by name, `__call__` first, and its signatures alone."""
    signatures = dict(getattr(loaded, "signatures", None) or {})
    functions = {
        name: getattr(loaded, name)
        for name in dir(loaded)
        if not name.startswith("_") and hasattr(getattr(loaded, name, None), "concrete_functions")
    }
    call = {CALL: loaded.__call__} if callable(loaded) else {}
    return {**call, **signatures, **functions}, signatures


def usual_names(functions: Mapping, signatures: Mapping) -> list[str]:
    """Returns the entry points to consider where none is named."""
    names = [CALL] if CALL in functions else []
    return names + [name for name in _USUAL_SIGNATURES if name in signatures]


def is_signature(function: Any) -> bool:
    """Returns whether a function is a signature, which takes all of its inputs by name."""
    return hasattr(function, "structured_input_signature")


def traces_of(function: Any) -> list:
    """Returns the traces of a restored function; a signature is its own; else none are known."""
    traces = getattr(function, "concrete_functions", None)
    return list(traces) if traces else [function] * is_signature(function)


def output_keys(function: Any) -> list:
    """Returns the keys of a dictionary or the positions of a tuple; [] for a single tensor."""
    keys: dict = {}
    for trace in traces_of(function):
        outputs = trace.structured_outputs
        if isinstance(outputs, Mapping):
            keys |= dict.fromkeys(sorted(outputs))
        elif isinstance(outputs, (list, tuple)):
            keys |= dict.fromkeys(range(len(outputs)))
    return list(keys)


def argument_sets(sample_rate: int) -> list[dict]:
    """Returns the further arguments to try: none, and the sample rate."""
    return [{}, {"sample_rate": sample_rate}]


def call_function(function: Any, inputs: Any, arguments: dict) -> Any:
    """Calls a function or a signature with its input and further arguments."""
    if not is_signature(function):
        return function(inputs, **arguments)
    specs = function.structured_input_signature[1]
    name = next(name for name in specs if name not in arguments)
    values = {
        key: tf.convert_to_tensor(value, specs[key].dtype) if key in specs else value
        for key, value in arguments.items()
    }
    return function(**{name: inputs}, **values)


def _holds_tensors(value: object) -> bool:
    return any(isinstance(part, tf.TypeSpec) for part in tf.nest.flatten(value))
