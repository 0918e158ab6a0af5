"""How a loaded SavedModel is called from a Keras layer: read from its traced functions.

Unlike the evaluation's adapter, which needs one embedding per clip, nothing is tried out, pooled or
normalized here: a layer gives what the module gives.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import tensorflow as tf

from hares_tf.hub.errors import HubError

_USUAL_SIGNATURES = ("serving_default", "default")


@dataclass(frozen=True)
class Form:
    """One traced form: the input it takes, and the structure of outputs it gives, as specs."""

    input: tf.TensorSpec
    outputs: object


@dataclass(frozen=True)
class EntryPoint:
    """What is called of a module, and how.

    Attributes:
        function: the traced function: the module's `__call__`, or a signature.
        keyword: under which a signature takes its input; None for `__call__`.
        forms: what it was traced for, one for each kind of input.
        training: the values of its argument `training` that it was traced for; none if it has no
            such argument.
        variables: those that it uses.
    """

    function: Callable
    keyword: str | None
    forms: tuple[Form, ...]
    training: frozenset[bool]
    variables: tuple[tf.Variable, ...]

    def __call__(self, inputs, training: bool, arguments: dict):
        """The module's outputs."""
        keywords = dict(arguments)
        if self.training:
            keywords["training"] = training
        if self.keyword is None:
            return self.function(inputs, **keywords)
        return self.function(**{self.keyword: inputs}, **keywords)

    def form(self, shape) -> tuple[Form, bool] | None:
        """The form that takes a batch of this shape, and whether it takes the rows one by one.

        One by one takes a form for single waveforms, `[samples]`, or for batches of exactly one.
        """
        shape = tf.TensorShape(shape)
        for form in self.forms:
            if form.input.shape.is_compatible_with(shape):
                return form, shape.rank > 1 and form.input.shape[0] == 1 != shape[0]
        for form in self.forms if shape.rank > 1 else ():
            if form.input.shape[:1] == [1] and form.input.shape[1:].is_compatible_with(shape[1:]):
                return form, True
        for form in self.forms if shape.rank == 2 else ():
            if form.input.shape.is_compatible_with(shape[1:]):
                return form, True
        return None

    def input_shapes(self) -> str:
        """What it takes, in words."""
        shapes = [form.input.shape.as_list() for form in self.forms]
        texts = (", ".join("any" if size is None else str(size) for size in s) for s in shapes)
        return " or ".join(dict.fromkeys(f"[{text}]" for text in texts))


def find_entry_point(
    handle: str, loaded, output_key, arguments: dict, entry_point: str | None = None
) -> EntryPoint:
    """The module's call; a signature where it has none, or where only that has the wanted output.

    Args:
        handle: for messages.
        loaded: the module.
        output_key: the output that is needed, or None.
        arguments: values of further arguments; "training" among them fixes the mode.
        entry_point: "__call__", or the name of a function or signature; None chooses as above.

    Raises:
        HubError: there is nothing to call, it takes more than one input, or lacks the output.
    """
    signatures = dict(getattr(loaded, "signatures", None) or {})
    if entry_point is not None:
        function = _named(loaded, entry_point) or signatures.get(entry_point)
        if function is None:
            raise HubError(f"{handle} has no function or signature {entry_point!r}.")
        return _described(handle, entry_point, function, arguments)
    functions = {name: signatures[name] for name in _USUAL_SIGNATURES if name in signatures}
    if not functions and len(signatures) == 1:
        functions = signatures
    # An object without traced functions may still be callable; there is nothing to read from it.
    if callable(loaded) and getattr(loaded.__call__, "concrete_functions", None):
        functions = {"__call__": loaded.__call__, **functions}
    if not functions:
        listing = ", ".join(signatures) or "none at all"
        raise HubError(
            f"{handle} is not callable and has no signature serving_default (its signatures: "
            f"{listing}), so a layer cannot tell what to call."
        )
    known: list[str] = []
    if output_key is not None:  # also from signatures that are made for it, such as `frames`
        functions |= dict(sorted(signatures.items(), key=lambda item: len(_inputs(item[1]))))
    for name, function in functions.items():
        outputs = _forms(function)[0].structured_outputs
        if output_key is None or output_key in _output_names(outputs):
            return _described(handle, name, function, arguments)
        known += [repr(key) for key in _output_names(outputs)]
    listing = ", ".join(dict.fromkeys(known))
    raise HubError(
        f"{handle} has no output {output_key!r}; "
        + (f"it has: {listing}" if listing else "it gives a single tensor: leave output_key out")
    )


def _described(handle: str, name: str, function, arguments: dict) -> EntryPoint:
    forms, training, variables = {}, set(), {}
    for traced in _forms(function):
        positional, keywords = traced.structured_input_signature
        # Arguments that are no tensors are part of the traced form, by their values.
        given = dict(zip(traced.function_type.parameters, positional, strict=False)) | keywords
        taken = {key: given[key] for key in given if key not in {"training", *arguments}}
        taken = {key: value for key, value in taken.items() if _holds_tensors(value)}
        waveform = next(iter(taken.values()), None)
        if len(taken) != 1 or not isinstance(waveform, tf.TensorSpec):
            raise HubError(
                f"{name} of {handle} does not take one tensor (its inputs: "
                f"{', '.join(taken) or 'none'}); give values for all but one with arguments=."
            )
        forms.setdefault(waveform, Form(waveform, traced.structured_outputs))
        if "training" in given and "training" not in arguments:
            value = given["training"]
            training |= {value} if isinstance(value, bool) else {False, True}
        variables |= {id(variable): variable for variable in traced.graph.variables}
    return EntryPoint(
        function=function,
        # A signature takes everything by name.
        keyword=next(iter(taken)) if hasattr(function, "structured_input_signature") else None,
        forms=tuple(forms.values()),
        training=frozenset(training),
        variables=tuple(variables.values()),
    )


def _named(loaded, name: str):
    """The traced function of a loaded module that has this name, or None."""
    function = getattr(loaded, name, None)
    return function if getattr(function, "concrete_functions", None) else None


def _inputs(signature) -> dict:
    return signature.structured_input_signature[1]


def _forms(function) -> list:
    """The traced forms of a restored function; a signature is one itself."""
    return getattr(function, "concrete_functions", None) or [function]


def _holds_tensors(value) -> bool:
    return any(isinstance(part, tf.TypeSpec) for part in tf.nest.flatten(value))


def _output_names(outputs) -> list:
    """Keys of a dictionary, positions of a tuple; nothing of a single tensor."""
    if isinstance(outputs, Mapping):
        return sorted(outputs)
    return list(range(len(outputs))) if isinstance(outputs, (list, tuple)) else []
