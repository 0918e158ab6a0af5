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
    if precision == "bfloat16" and "BF16" not in core.get_property(
        "CPU", "OPTIMIZATION_CAPABILITIES"
    ):
        raise RuntimesError(
            "this processor does not compute in bfloat16 (AMX or AVX512_BF16); use float32"
        )
    graph = _read(core, function)
    compiled: dict[tuple[int, ...], Callable] = {}

    def call(batch: np.ndarray) -> np.ndarray:
        if batch.shape not in compiled:
            compiled[batch.shape] = _compile(core, graph, batch.shape, precision)
        return compiled[batch.shape](batch)

    return call


def _read(core, function):
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


def _compile(core, graph, shape: tuple[int, ...], precision: str) -> Callable:
    """The graph for one shape: NumPy to NumPy."""
    settings = {
        "PERFORMANCE_HINT": "LATENCY",  # one request at a time, on all cores
        "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
        # Several processes would pin their threads to the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    # What a process of a pool is allowed to use (see `hares_tf.jobs`).
    threads = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    if threads.isdecimal() and int(threads):
        settings["INFERENCE_NUM_THREADS"] = int(threads)
    try:
        static = graph.clone()
        static.reshape(list(shape))
        request = core.compile_model(static, "CPU", settings).create_infer_request()
    except Exception as error:  # as above
        raise ConversionError(
            f"OpenVINO does not compile the graph for the shape {shape} ({_reason(error)})"
        ) from error

    def call(batch: np.ndarray) -> np.ndarray:
        results = request.infer([np.ascontiguousarray(batch, np.float32)])
        # A copy: the request's own memory is written to by the next call.
        return np.array(results[0], np.float32)

    return call


def _reason(error: Exception) -> str:
    """The line of OpenVINO's report that says what is wrong; the others name its source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    useful = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return (useful or lines or [type(error).__name__])[0][:200]
