"""A SavedModel as one `.tflite` file for LiteRT (TensorFlow Lite): the one file that touches it."""

from collections.abc import Callable, Iterator
from importlib import util
from pathlib import Path

import numpy as np

from hares_tf.runtimes.errors import ConversionError
from hares_tf.utils.quiet import hidden_stderr, quiet_import

NONE, INT8, FLOAT16 = "none", "int8", "float16"
# How kernels are stored; what is computed stays float32, but for int8 products.
QUANTIZATIONS = (NONE, INT8, FLOAT16)
# Largest difference from the module's own outputs, in standard deviations of the output. Rounding
# alone was seen at 3e-3, 0.008 and 0.18 in Slowfast NFNet-F0.
TOLERANCES = {NONE: 0.01, FLOAT16: 0.03, INT8: 0.3}
# Smaller constants stay float32, as LiteRT's own quantisation to int8 has it.
_FEWEST_ELEMENTS = 1024
_LARGEST_HALF = float(np.finfo(np.float16).max)


def convert(directory: Path, quantize: str = NONE) -> bytes:
    """Converts the signature `serving_default`, or the only one; sizes that are free stay free.

    Args:
        directory: of a SavedModel.
        quantize: one of `QUANTIZATIONS`. "int8" quantises kernels by channel, and activations on
            the fly, but those of a spectrogram; "float16" halves the file and rounds kernels to 11
            bits.

    Raises:
        ConversionError: there is no such signature, or LiteRT has no equivalent of an operation.
    """
    with quiet_import():
        import tensorflow as tf

    name, _ = signature(directory)

    def converted(optimizations: list) -> bytes:
        converter = tf.lite.TFLiteConverter.from_saved_model(str(directory), signature_keys=[name])
        converter.optimizations = optimizations
        try:
            return bytes(converter.convert())
        except Exception as error:  # what a converter trips over has any type
            lines = [line for line in str(error).splitlines() if line.strip()]
            reason = (lines or [type(error).__name__])[0]
            raise ConversionError(
                f"{directory} cannot be converted for LiteRT ({reason[:200]})"
            ) from error

    model = converted([])
    if quantize == INT8:
        return _with_float_frontend(converted([tf.lite.Optimize.DEFAULT]), model)
    return _with_half_kernels(model) if quantize == FLOAT16 else model


def signature(directory: Path) -> tuple[str, Callable]:
    """(name, function) of what is converted; the function holds its module."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(directory))
    names = list(loaded.signatures)
    name = "serving_default" if "serving_default" in names else names[0] if names else None
    if name is None or (name != "serving_default" and len(names) > 1):
        raise ConversionError(
            f"{directory} has no signature serving_default (it has: {', '.join(names) or 'none'})"
        )
    function = loaded.signatures[name]
    inputs = function.structured_input_signature[1]
    if len(inputs) != 1 or not next(iter(inputs.values())).dtype.is_floating:
        raise ConversionError(
            f"the signature {name} of {directory} takes {', '.join(inputs) or 'nothing'}; only a "
            "signature of one waveform can be converted"
        )
    function.module = loaded  # a signature holds its variables weakly
    return name, function


def check(model: bytes, directory: Path, sample_rate: int, quantize: str) -> str:
    """Compares a converted model with the module: noise, a tone and silence, by LiteRT.

    Returns:
        What was found, as a line for people.

    Raises:
        ConversionError: it fails, or deviates by more than `TOLERANCES`.
    """
    name, function = signature(directory)
    (waveform_name,) = function.structured_input_signature[1]
    try:
        with hidden_stderr():  # "Created TensorFlow Lite XNNPACK delegate"
            run = interpreter(model).get_signature_runner(name)
            run(**{waveform_name: next(_waveforms(function, sample_rate))})
        cases = [
            (waveform, function(**{waveform_name: waveform}), run(**{waveform_name: waveform}))
            for waveform in _waveforms(function, sample_rate)
        ]
    except Exception as error:  # as above
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConversionError(f"LiteRT cannot run what was converted ({reason[:200]})") from error
    worst = 0.0
    for output in cases[0][1]:
        scale = max(float(np.std(cases[0][1][output])), 1e-12)
        for waveform, wanted, found in cases:
            if found[output].shape != tuple(wanted[output].shape):
                raise ConversionError(
                    f"{output} has the shape {found[output].shape} in LiteRT for a waveform "
                    f"{waveform.shape}, and {tuple(wanted[output].shape)} in TensorFlow"
                )
            deviation = float(np.abs(found[output] - wanted[output].numpy()).max()) / scale
            if not deviation <= TOLERANCES[quantize]:  # also for NaN
                raise ConversionError(
                    f"{output} differs by {deviation:.2g} standard deviations from the module's "
                    f"for a waveform {waveform.shape}; at most {TOLERANCES[quantize]} is rounding "
                    f"(--quantize={quantize})"
                )
            worst = max(worst, deviation)
    return f"{len(cases)} waveforms in LiteRT, worst deviation {worst:.1e} standard deviations"


def interpreter(model: bytes):
    """LiteRT's, or that of TensorFlow where LiteRT is not installed."""
    if util.find_spec("ai_edge_litert"):
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter(model_content=model)
    import tensorflow as tf

    # The delegate that it would choose gave wrong numbers for clips of a single frame (seen with
    # TensorFlow 2.21; LiteRT's own is right).
    plain = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return tf.lite.Interpreter(model_content=model, experimental_op_resolver_type=plain)


def _waveforms(function, sample_rate: int) -> Iterator[np.ndarray]:
    """Noise, a tone, silence, in sizes that the signature takes; the first one is not silent."""
    (spec,) = function.structured_input_signature[1].values()
    fixed = spec.shape.as_list()
    sizes = [(2, 3 * sample_rate), (1, sample_rate // 2 + 7), (1, sample_rate // 200 + 1)]
    random = np.random.default_rng(0)
    for size in sizes:
        # [batch, samples], [samples] or [batch, samples, 1]
        shape = [*size, 1][:3] if len(fixed) == 3 else size[-len(fixed) :]
        shape = [free if size is None else size for free, size in zip(shape, fixed, strict=True)]
        time = np.arange(shape[-1] if len(fixed) < 3 else shape[1]) / sample_rate
        tone = 0.1 * np.sin(2 * np.pi * 440 * time)
        for waveform in (
            random.normal(0, 0.1, shape),
            np.broadcast_to(tone[:, np.newaxis] if len(fixed) == 3 else tone, shape),
            np.zeros(shape),
        ):
            yield np.ascontiguousarray(waveform, np.float32)


def _with_float_frontend(quantised: bytes, model: bytes) -> bytes:
    """Gives the kernels that a logarithm is made of back what they were before quantisation.

    Where no quantised kernel comes behind it, it is no spectrogram's, and all stay quantised.

    Eight bits hold no spectrogram: silent bins beside a loud tone become 0, which the logarithm
    shows (embeddings of a tone were off by 17 standard deviations).
    """
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    tree, original = (
        flatbuffer_utils.convert_bytearray_to_object(bytearray(one)) for one in (quantised, model)
    )
    kernels = {
        tensor.name: original.buffers[tensor.buffer].data
        for graph in original.subgraphs
        for tensor in graph.tensors
        if tensor.type == schema.TensorType.FLOAT32
    }
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in tree.operatorCodes]
    for graph in tree.subgraphs:
        steps = [
            (
                codes[step.opcodeIndex] == schema.BuiltinOperator.LOG,
                {int(number) for number in step.inputs if number >= 0},  # -1: one left out
                {int(number) for number in step.outputs},
            )
            for step in graph.operators
        ]
        before: set[int] = set()  # what a logarithm is made of
        for is_log, inputs, outputs in reversed(steps):
            if is_log or outputs & before:
                before |= inputs
        after: set[int] = set()  # what it goes into
        network: set[int] = set()
        for is_log, inputs, outputs in steps:
            if is_log or inputs & after:
                after |= outputs
                network |= inputs
        kernels_of_network = [
            number
            for number in network - before
            if graph.tensors[number].type == schema.TensorType.INT8
        ]
        for number in before if kernels_of_network else ():
            tensor = graph.tensors[number]
            if tensor.type == schema.TensorType.INT8 and tensor.name in kernels:
                tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
                buffer = schema.BufferT()  # the old one may be another tensor's as well
                buffer.data = kernels[tensor.name]
                tensor.buffer = len(tree.buffers)
                tree.buffers.append(buffer)
    _drop_unused(tree)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(tree))


def _with_half_kernels(model: bytes) -> bytes:
    """Stores the large constants of a converted model in float16.

    The converter's own option rounds all constants, also those that float16 cannot hold: a floor of
    1e-10 becomes 0, and silence NaN. Here they stay as they are.
    """
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    tree = flatbuffer_utils.convert_bytearray_to_object(bytearray(model))
    dequantize = schema.OperatorCodeT()
    dequantize.builtinCode = schema.BuiltinOperator.DEQUANTIZE
    dequantize.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
    dequantize.version = 3  # the first that takes float16
    tree.operatorCodes.append(dequantize)
    for graph in tree.subgraphs:
        first = []
        for number, tensor in enumerate(list(graph.tensors)):
            data = tree.buffers[tensor.buffer].data
            if tensor.type != schema.TensorType.FLOAT32 or data is None:
                continue
            values = np.frombuffer(np.asarray(data, np.uint8).tobytes(), np.float32)
            if len(values) < _FEWEST_ELEMENTS or np.abs(values).max() > _LARGEST_HALF:
                continue
            half = schema.TensorT()
            half.shape, half.name = tensor.shape, tensor.name + b"/float16"
            half.type, half.buffer = schema.TensorType.FLOAT16, len(tree.buffers)
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(values.astype(np.float16).tobytes(), np.uint8)
            tree.buffers.append(buffer)
            tensor.buffer = 0  # computed from now on; the first buffer is the empty one
            step = schema.OperatorT()
            step.opcodeIndex = len(tree.operatorCodes) - 1
            step.inputs = np.array([len(graph.tensors)], np.int32)
            step.outputs = np.array([number], np.int32)
            graph.tensors.append(half)
            first.append(step)
        graph.operators = first + list(graph.operators)
    _drop_unused(tree)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(tree))


def _drop_unused(tree) -> None:
    """Empties the buffers that no tensor and no metadata refers to any more."""
    used = {tensor.buffer for graph in tree.subgraphs for tensor in graph.tensors}
    used |= {metadata.buffer for metadata in tree.metadata or []}
    for number, buffer in enumerate(tree.buffers):
        if number not in used:
            buffer.data = None
