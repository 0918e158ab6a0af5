"""SavedModel -> one `.tflite` file for LiteRT (TensorFlow Lite), and its check."""

from collections.abc import Iterator
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np

from hares_tf.runtimes.errors import ConversionError
from hares_tf.runtimes.litert_quantization import FLOAT16, INT8, NONE, quantized
from hares_tf.utils.errors import reason
from hares_tf.utils.quiet import hidden_stderr
from hares_tf.utils.tensorflow import import_tensorflow, literal_path

# Largest difference from the outputs of the module, in standard deviations of the output. Rounding
# alone was seen to cause 0.003, 0.008 and 0.18 in Slowfast NFNet-F0.
TOLERANCES = {NONE: 0.01, FLOAT16: 0.03, INT8: 0.3}


def convert(directory: Path, quantize: str = NONE) -> bytes:
    """Converts the signature `serving_default`, or the only one; unknown sizes stay unknown.

    Args:
        directory: a SavedModel.
        quantize: one of `litert_quantization.QUANTIZATIONS`.

    Returns:
        The content of the `.tflite` file.

    Raises:
        ConversionError: there is no such signature, LiteRT has no equivalent of an operation, or
            the quantizer is not installed.
    """
    tf = import_tensorflow()

    name, _ = signature(directory)
    converter = tf.lite.TFLiteConverter.from_saved_model(
        literal_path(directory), signature_keys=[name]
    )
    try:
        model = bytes(converter.convert())
    except Exception as error:  # the converter raises errors of any type
        raise ConversionError(
            f"{directory} cannot be converted for LiteRT ({reason(error)})."
        ) from error
    return quantized(model, quantize)


def signature(directory: Path) -> tuple[str, Any]:
    """Returns the name and the function of the signature to convert; it keeps its module alive."""
    import tensorflow as tf

    loaded = tf.saved_model.load(literal_path(directory))
    names = list(loaded.signatures)
    name = "serving_default" if "serving_default" in names else names[0] if names else None
    if name is None or (name != "serving_default" and len(names) > 1):
        raise ConversionError(
            f"{directory} has no signature serving_default (it has: {', '.join(names) or 'none'}); "
            "export the module with one."
        )
    function = loaded.signatures[name]
    inputs = function.structured_input_signature[1]
    if len(inputs) != 1 or not next(iter(inputs.values())).dtype.is_floating:
        raise ConversionError(
            f"The signature {name} of {directory} takes {', '.join(inputs) or 'nothing'}; only a "
            "signature of one waveform can be converted."
        )
    function.module = loaded  # a signature holds its variables weakly
    return name, function


def check(model: bytes, directory: Path, sample_rate: int, quantize: str) -> str:
    """Compares a converted model with its module on noise, a tone and silence.

    Args:
        model: the content of the `.tflite` file.
        directory: the SavedModel that it was converted from.
        sample_rate: of the waveforms, in Hz.
        quantize: how the model was quantized, which decides the tolerance.

    Returns:
        The number of waveforms and the worst deviation, as a line to print.

    Raises:
        ConversionError: LiteRT cannot run the model, or it deviates by more than `TOLERANCES`.
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
        raise ConversionError(
            f"LiteRT cannot run the converted model ({reason(error)})."
        ) from error
    worst = 0.0
    for output in cases[0][1]:
        scale = max(float(np.std(cases[0][1][output])), 1e-12)
        for waveform, expected, computed in cases:
            if computed[output].shape != tuple(expected[output].shape):
                raise ConversionError(
                    f"{output} has the shape {computed[output].shape} in LiteRT for a waveform "
                    f"{waveform.shape}, but {tuple(expected[output].shape)} in TensorFlow."
                )
            deviation = float(np.abs(computed[output] - expected[output].numpy()).max()) / scale
            if not deviation <= TOLERANCES[quantize]:  # also for NaN
                raise ConversionError(
                    f"{output} differs by {deviation:.2g} standard deviations from the output of "
                    f"the module for a waveform {waveform.shape}; rounding causes at most "
                    f"{TOLERANCES[quantize]} (--quantize={quantize})."
                )
            worst = max(worst, deviation)
    return f"{len(cases)} waveforms in LiteRT, worst deviation {worst:.1e} standard deviations"


def interpreter(model: bytes):
    """Returns LiteRT's interpreter, or that of TensorFlow where LiteRT is not installed."""
    if util.find_spec("ai_edge_litert"):
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter(model_content=model)
    import tensorflow as tf

    # The delegate that TensorFlow 2.21 chooses computes wrong numbers for clips of a single frame;
    # LiteRT's own delegate is right.
    plain = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return tf.lite.Interpreter(model_content=model, experimental_op_resolver_type=plain)


def _waveforms(function, sample_rate: int) -> Iterator[np.ndarray]:
    """Yields noise, a tone and silence in sizes that the signature takes; noise comes first."""
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
