"""Quantization of LiteRT models by ai-edge-quantizer."""

import io
import re
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib import util

from hares_tf.runtimes.errors import ConversionError, RuntimesError
from hares_tf.utils.errors import reason

NONE, INT8, FLOAT16 = "none", "int8", "float16"
#: How kernels are stored. With "int8" activations are quantized on the fly and products computed in
#: integers, except for the spectrogram. With "float16" all computation stays in float32.
QUANTIZATIONS = (NONE, INT8, FLOAT16)
#: Smaller kernels stay in float32, as in LiteRT's own quantization: they are the first layers of a
#: network, where rounding costs the most accuracy and saves the least space.
_FEWEST_ELEMENTS = 1024


def quantized(model: bytes, quantize: str) -> bytes:
    """Quantizes the kernels of a converted model.

    Args:
        model: the content of a `.tflite` file in float32.
        quantize: one of `QUANTIZATIONS`.

    Raises:
        RuntimesError: ai-edge-quantizer is not installed.
        ConversionError: it cannot quantize the model.
    """
    if quantize == NONE:
        return model
    if util.find_spec("ai_edge_quantizer") is None:
        raise RuntimesError(
            f"--quantize={quantize} needs ai-edge-quantizer: pip install hares-tf[tflite]."
        )
    try:
        # It prints bars and sizes.
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            return _quantized(model, quantize)
    except Exception as error:  # the quantizer raises errors of any type
        raise ConversionError(
            f"The model cannot be quantized to {quantize} ({reason(error)})."
        ) from error


def _quantized(model: bytes, quantize: str) -> bytes:
    from ai_edge_quantizer import qtyping, quantizer
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    recipe = quantizer.Quantizer(bytearray(model))
    every = qtyping.TFLOperationName.ALL_SUPPORTED
    if quantize == INT8:
        kernels = qtyping.TensorQuantizationConfig(
            num_bits=8, granularity=qtyping.QuantGranularity.CHANNELWISE
        )
        config = qtyping.OpQuantizationConfig(
            weight_tensor_config=kernels,
            compute_precision=qtyping.ComputePrecision.INTEGER,
            min_weight_elements=_FEWEST_ELEMENTS,
        )
        recipe.update_quantization_recipe(".*", every, config)
        for scope in _spectrogram_scopes(model):
            recipe.update_quantization_recipe(
                f"^{re.escape(scope)}", every, algorithm_key=AlgorithmName.NO_QUANTIZE
            )
    else:
        half = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
        config = qtyping.OpQuantizationConfig(
            weight_tensor_config=half,
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        )
        recipe.update_quantization_recipe(".*", every, config, AlgorithmName.FLOAT_CASTING)
    return bytes(recipe.quantize().quantized_model)


def _spectrogram_scopes(model: bytes) -> Iterator[str]:
    """Yields the names of the operations that a log spectrogram is computed from.

    Eight bits cannot hold a spectrogram: silent bins beside a loud tone become 0, which the
    logarithm shows (embeddings of a tone were off by 17 standard deviations). A logarithm without
    an operation with kernels behind it belongs to the network, not to a spectrogram.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils

    builtin = schema.BuiltinOperator
    products = {builtin.CONV_2D, builtin.FULLY_CONNECTED, builtin.BATCH_MATMUL}
    tree = tfl_flatbuffer_utils.read_model(bytearray(model))
    for graph in tree.subgraphs:
        operations = [
            (
                tree.operatorCodes[operation.opcodeIndex].builtinCode,
                {int(number) for number in operation.inputs if number >= 0},  # -1: left out
                {int(number) for number in operation.outputs},
                tfl_flatbuffer_utils.get_op_scope(operation, graph.tensors),
            )
            for operation in graph.operators
        ]
        after_logarithm: set[int] = set()
        has_network = False
        for code, inputs, outputs, _ in operations:
            if code == builtin.LOG or inputs & after_logarithm:
                after_logarithm |= outputs
                has_network |= code in products
        before_logarithm: set[int] = set()
        for code, inputs, outputs, scope in reversed(operations if has_network else []):
            if code == builtin.LOG or outputs & before_logarithm:
                before_logarithm |= inputs
                yield scope
