"""A TensorFlow function in OpenVINO: the one file that touches it."""

import os
import tempfile
from collections.abc import Callable
from importlib import util
from pathlib import Path

import numpy as np

from hares_tf.runtimes.errors import ConversionError, RuntimesError

# OpenVINO's names of the precisions it computes in.
PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
# Where a network begins: what costs time, and bears rounded inputs.
_PRODUCTS = {"Convolution", "GroupConvolution", "MatMul", "Einsum"}


def check_installed() -> None:
    """Raises RuntimesError where OpenVINO is not installed; imports nothing."""
    if util.find_spec("openvino") is None:
        raise RuntimesError("OpenVINO is not installed: pip install hares-tf[openvino]")


def version() -> str:
    """Of OpenVINO, without its build's number."""
    import openvino

    return openvino.__version__.split("-")[0]


def convert(function, precision: str) -> Callable[[np.ndarray], np.ndarray]:
    """Takes a function over from TensorFlow.

    The graph is read once. It is compiled for each shape it is called with, which costs seconds for
    a large network and pays where many batches have one shape.

    Args:
        function: a `tf.function` of one float32 tensor `[rows, columns]`, both of any size, that
            gives one float tensor.
        precision: "float32" or "bfloat16"; OpenVINO left alone would choose bfloat16 by itself.
            A spectrogram is computed in float32 in both (see `parts`).

    Returns:
        The function, NumPy to NumPy. It needs TensorFlow no more.

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
    """Raises RuntimesError where the processor does not compute in that precision."""
    known = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "bfloat16" and "BF16" not in known:
        raise RuntimesError(
            "this processor does not compute in bfloat16 (AMX or AVX512_BF16); use float32"
        )


def read(core, function):
    """The function as a graph of OpenVINO, its variables as constants."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    try:
        # Control flow stays in functions: so OpenVINO reads it.
        frozen = convert_variables_to_constants_v2(
            function.get_concrete_function(tf.TensorSpec([None, None], tf.float32)),
            lower_control_flow=False,
        )
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "graph.pb"
            path.write_bytes(frozen.graph.as_graph_def().SerializeToString())
            return core.read_model(str(path))
    except Exception as error:  # what a converter trips over has any type
        raise ConversionError(f"OpenVINO does not take the graph ({_reason(error)})") from error


def parts(graph, shape: tuple[int, ...], precision: str) -> list[tuple]:
    """What a graph is compiled as for one shape: models in a row, and the precision of each.

    In bfloat16 a logarithm shows the rounding of silent bins beside loud ones: embeddings of a pure
    tone were off by five standard deviations. So the graph is cut in two there, and everything
    stays in float32 that comes before the first convolutions and matrix products which see a
    logarithm.
    """
    import openvino
    from openvino import passes

    static = graph.clone()
    static.reshape(list(shape))
    folding = passes.Manager()
    folding.register_pass(passes.ConstantFolding())  # of sizes, which are known now
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
    """The products that see a logarithm, and everything that sees one of these."""
    see_log, network = set(), set()
    for node in graph.get_ordered_ops():
        sources = {value.get_node() for value in node.input_values()}
        if node.get_type_name() == "Log" or sources & see_log:
            see_log.add(node)
            if sources & network or node.get_type_name() in _PRODUCTS:
                network.add(node)
    return network


def _compile(core, graph, shape: tuple[int, ...], precision: str) -> Callable:
    """The graph for one shape: NumPy to NumPy."""
    settings = {
        "PERFORMANCE_HINT": "LATENCY",  # one request at a time, on all cores
        # Several processes would pin their threads to the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    # What a process of a pool is allowed to use (see `hares_tf.jobs`).
    threads = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    if threads.isdecimal() and int(threads):
        settings["INFERENCE_NUM_THREADS"] = int(threads)
    try:
        requests = [
            core.compile_model(
                part, "CPU", {**settings, "INFERENCE_PRECISION_HINT": PRECISIONS[one]}
            ).create_infer_request()
            for part, one in parts(graph, shape, precision)
        ]
    except Exception as error:  # as above
        raise ConversionError(
            f"OpenVINO does not compile the graph for the shape {shape} ({_reason(error)})"
        ) from error

    def call(batch: np.ndarray) -> np.ndarray:
        values = [np.ascontiguousarray(batch, np.float32)]
        for request in requests:
            results = request.infer(values, share_inputs=True, share_outputs=True)
            values = [results[number] for number in range(len(results))]
        # A copy: the request's own memory is written to by the next call.
        return np.array(values[0], np.float32)

    return call


def _reason(error: Exception) -> str:
    """The line of OpenVINO's report that says what is wrong; the others name its source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    useful = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return (useful or lines or [type(error).__name__])[0][:200]
