"""TensorFlow functions computed by OpenVINO. No other file imports it."""

import os
import tempfile
from collections.abc import Callable
from importlib import util
from pathlib import Path

import numpy as np

from hares_tf.runtimes.errors import ConversionError, RuntimesError

# Precisions, by the names that OpenVINO gives them.
PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
# The operations that take most of the time of a network, and tolerate rounded inputs.
_PRODUCTS = {"Convolution", "GroupConvolution", "MatMul", "Einsum"}


def check_installed() -> None:
    """Raises RuntimesError if OpenVINO is not installed, without importing it."""
    if util.find_spec("openvino") is None:
        raise RuntimesError("OpenVINO is not installed: pip install hares-tf[openvino].")


def version() -> str:
    """Returns the version of OpenVINO, without the number of its build."""
    import openvino

    return openvino.__version__.split("-")[0]


def convert(function, precision: str) -> Callable[[np.ndarray], np.ndarray]:
    """Converts a TensorFlow function.

    The graph is read once. It is compiled for each shape that it is called with, which takes
    seconds for a large network and is worthwhile when many batches have the same shape.

    Args:
        function: a `tf.function` of one float32 tensor `[rows, columns]`, both of any size, that
            gives one float tensor.
        precision: "float32" or "bfloat16" (the default of OpenVINO depends on the processor).
            A spectrogram is computed in float32 in both (see `parts`).

    Returns:
        A function of NumPy arrays, which does not need TensorFlow.

    Raises:
        ConversionError: OpenVINO has no equivalent of an operation, or the graph is too large for
            one file (2 GB).
        RuntimesError: OpenVINO is not installed, or this processor has no bfloat16.
    """
    check_installed()
    import openvino

    core = openvino.Core()
    check_processor(core, precision)
    graph = read(core, function)
    compiled: dict[tuple[int, ...], Callable] = {}

    def call(batch: np.ndarray) -> np.ndarray:
        if batch.shape not in compiled:
            compiled[batch.shape] = _compile(core, graph, batch.shape, precision)
        return compiled[batch.shape](batch)

    return call


def check_processor(core, precision: str) -> None:
    """Raises RuntimesError if the processor does not compute in the precision."""
    known = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "bfloat16" and "BF16" not in known:
        raise RuntimesError(
            "This processor does not compute in bfloat16 (AMX or AVX512_BF16); use float32."
        )


def read(core, function):
    """Returns the function as an OpenVINO graph, with its variables as constants."""
    import tensorflow as tf

    from hares_tf.utils._compat import frozen_function

    try:
        # OpenVINO reads control flow only where it is not lowered.
        frozen = frozen_function(
            function.get_concrete_function(tf.TensorSpec([None, None], tf.float32))
        )
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "graph.pb"
            path.write_bytes(frozen.graph.as_graph_def().SerializeToString())
            return core.read_model(str(path))
    except Exception as error:  # converters raise errors of any type
        raise ConversionError(f"OpenVINO does not take the graph ({_reason(error)}).") from error


def parts(graph, shape: tuple[int, ...], precision: str) -> list[tuple]:
    """Splits a graph into models that are computed one after the other.

    In bfloat16 a logarithm amplifies the rounding of silent bins beside loud ones: embeddings of a
    pure tone were off by five standard deviations. The graph is therefore cut in front of the first
    convolutions and matrix products whose inputs depend on a logarithm, and what comes before the
    cut is computed in float32.

    Args:
        graph: from `read`.
        shape: of the input.
        precision: "float32" or "bfloat16".

    Returns:
        The models, each with its precision.
    """
    import openvino
    from openvino import passes

    static = graph.clone()
    static.reshape(list(shape))
    folding = passes.Manager()
    folding.register_pass(passes.ConstantFolding())  # the sizes are known now
    folding.run_passes(static)
    network = _network(static)
    if precision != "bfloat16" or not network:
        return [(static, precision)]
    cuts: dict = {}
    for node in static.get_ordered_ops():
        for entry in node.inputs() if node in network else ():
            value = entry.get_source_output()
            source = value.get_node()
            if source not in network and source.get_type_name() != "Constant":
                cuts.setdefault((source, value.get_index()), (value, []))[1].append(entry)
    values = [value for value, _ in cuts.values()]
    frontend = openvino.Model(values, static.get_parameters(), "frontend").clone()
    inputs = []
    for value, entries in cuts.values():
        shape, kind = value.get_partial_shape(), value.get_element_type()
        inputs.append(openvino.opset13.parameter(shape, kind))
        for entry in entries:
            entry.replace_source_output(inputs[-1].output(0))
    rest = openvino.Model(static.get_results(), inputs, "network")
    return [(frontend, "float32"), (rest, precision)]


def _network(graph) -> set:
    """Returns the products that depend on a logarithm, and every operation that depends on them."""
    after_logarithm: set = set()
    network: set = set()
    for node in graph.get_ordered_ops():
        sources = {value.get_node() for value in node.input_values()}
        if node.get_type_name() == "Log" or sources & after_logarithm:
            after_logarithm.add(node)
            if sources & network or node.get_type_name() in _PRODUCTS:
                network.add(node)
    return network


def _compile(core, graph, shape: tuple[int, ...], precision: str) -> Callable:
    """Compiles the graph for one shape; returns a function of NumPy arrays."""
    settings = {
        "PERFORMANCE_HINT": "LATENCY",  # one request at a time, on all cores
        # Several processes would pin their threads to the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    # Processes of a pool are limited by this variable (see `hares_tf.jobs`).
    threads = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    if threads.isdecimal() and int(threads):
        settings["INFERENCE_NUM_THREADS"] = int(threads)
    try:
        requests = [
            core.compile_model(
                part, "CPU", {**settings, "INFERENCE_PRECISION_HINT": PRECISIONS[part_precision]}
            ).create_infer_request()
            for part, part_precision in parts(graph, shape, precision)
        ]
    except Exception as error:  # as above
        raise ConversionError(
            f"OpenVINO does not compile the graph for the shape {shape} ({_reason(error)})."
        ) from error

    def call(batch: np.ndarray) -> np.ndarray:
        values = [np.ascontiguousarray(batch, np.float32)]
        for request in requests:
            results = request.infer(values, share_inputs=True, share_outputs=True)
            values = [results[number] for number in range(len(results))]
        # A copy, because the next call overwrites the memory of the request.
        return np.array(values[0], np.float32)

    return call


def _reason(error: Exception) -> str:
    """Returns the line of an OpenVINO error that names the cause, not the source file."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    useful = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return (useful or lines or [type(error).__name__])[0][:200].rstrip(".")
