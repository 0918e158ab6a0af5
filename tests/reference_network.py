"""Numbers recorded from the official JAX implementation, and what is needed to compare with them.

`tests/reference/` holds the recorded numbers. No weights are stored: every parameter and input is
filled by a rule that only needs NumPy, so any framework can rebuild exactly the same network.
"""

import contextlib
import functools
import json
import math
import zlib
from pathlib import Path
from unittest import mock

import numpy as np

REFERENCE = Path(__file__).parent / "reference"

# Ten times the float32 noise that was observed between float32 and float64 runs of the official
# code, and between two float64 implementations, respectively.
EMBEDDING_LIMIT = {"float32": 5e-5, "float64": 1e-10}  # absolute
CHECKPOINT_LIMIT = {"float32": 2e-4, "float64": 1e-10}  # times the tensor's standard deviation
UNIT_LIMIT = {"float32": 1e-5, "float64": 1e-10}  # times the largest value
NORM_LIMIT = {"float32": 1e-4, "float64": 1e-10}  # relative
GRADIENT_LIMIT = {"float32": 3e-4, "float64": 1e-10}  # times the root mean square


@functools.cache
def golden():
    return json.loads((REFERENCE / "golden.json").read_text())


@functools.cache
def parameter_list():
    """Entries of parameters.json in their order: name, shape, layer, param, kernel, stride..."""
    return json.loads((REFERENCE / "parameters.json").read_text())["parameters"]


@functools.cache
def layer_shapes():
    return json.loads((REFERENCE / "shapes.json").read_text())


@functools.cache
def full():
    with np.load(REFERENCE / "golden_full.npz") as archive:
        return dict(archive)


@functools.cache
def units():
    with np.load(REFERENCE / "golden_units.npz") as archive:
        return dict(archive)


def _generator(name):
    seed = zlib.crc32((golden()["salt"] + name).encode("utf-8"))
    return np.random.Generator(np.random.PCG64(seed))


def fill(name, shape):
    """The value of the parameter `name`, float32. No gain is 1 and nothing is 0."""
    n = _generator(name).standard_normal(tuple(shape), dtype=np.float32)
    kind = name.rsplit("/", 1)[1]
    if kind == "w":
        scale = np.float32(1.0 / math.sqrt(math.prod(shape[:-1])))
        return (n + np.float32(0.25)) * scale if len(shape) == 4 else n * scale
    offset, deviation = {"gain": (1.15, 0.1), "skip_gain": (1.0, 0.1)}.get(kind, (0.0, 0.1))
    return np.float32(offset) + np.float32(deviation) * n


@functools.cache
def make_input(name):
    """The recorded input `name` as `[batch, time, freq, 1]` float32."""
    shape = next(entry["shape"] for entry in golden()["inputs"] if entry["name"] == name)
    batch, time, freq, channels = shape
    generator = _generator(f"input/{name}")
    fine = generator.standard_normal((batch, time, freq, channels), dtype=np.float32)
    coarse = generator.standard_normal((batch, 5, 4, channels), dtype=np.float32)
    time_cell = (np.arange(time) * 5) // time
    freq_cell = (np.arange(freq) * 4) // freq
    return np.float32(0.5) * fine + coarse[:, time_cell][:, :, freq_cell]


def assert_recorded(array, check):
    """Compares a filled array with its check values in golden.json."""
    assert [float(value) for value in array.ravel()[:4]] == check["first"]
    # The order in which NumPy adds up may differ between versions.
    np.testing.assert_allclose(array.sum(dtype=np.float64), check["sum"], rtol=1e-9, atol=1e-9)
    assert zlib.crc32(array.astype("<f4").tobytes()) == check["crc32"]


@functools.cache
def parameters():
    """All 474 filled parameters by name."""
    return {entry["name"]: fill(entry["name"], entry["shape"]) for entry in parameter_list()}


@functools.cache
def filled_network(dtype="float32"):
    """The f0 network with the filled parameters. Shared: tests must not change it."""
    from hares_tf.checkpoints import load_haiku_parameters
    from hares_tf.models import SlowFastNFNet

    network = SlowFastNFNet("f0", dtype=dtype)
    load_haiku_parameters(network, parameters())
    return network


def named_layers(network):
    """The layers of a two-path network under the names of golden.json's checkpoints."""
    layers = {"slow/data_layer": network.data_layer}
    for stage, fusion in enumerate(network.fusions):
        layers[f"fusion{stage}"] = fusion
        layers[f"fusion{stage}/conv_f2s"] = fusion.conv
    for name, path in (("slow", network.slow), ("fast", network.fast)):
        for index, conv in enumerate(path.stem_convs):
            layers[f"{name}/stem_conv{index}"] = conv
        for index, block in enumerate(path.blocks):
            prefix = f"{name}/block{index}"
            layers[prefix] = block
            layers[f"{prefix}/se"] = block.squeeze_excite
            for part in ("conv_shortcut", "conv0", "conv1", "conv1b", "conv2"):
                if getattr(block, part) is not None:
                    layers[f"{prefix}/{part}"] = getattr(block, part)
        layers[f"{name}/final_conv"] = path.final_conv
    return layers


@contextlib.contextmanager
def recorded_outputs(network):
    """Collects what every named layer returns while the block runs: name -> tensor."""
    outputs = {}

    def recorder(name, call):
        def record(*args, **kwargs):
            outputs[name] = call(*args, **kwargs)
            return outputs[name]

        return record

    with contextlib.ExitStack() as stack:
        for name, layer in named_layers(network).items():
            stack.enter_context(mock.patch.object(layer, "call", recorder(name, layer.call)))
        yield outputs


def first_deviation(outputs, limit):
    """The first checkpoint in order of execution whose output is off, in words; None if none is.

    Args:
        outputs: name -> output for input `in0`.
        limit: allowed deviation in standard deviations of the recorded tensor.
    """
    for checkpoint in golden()["checkpoints"]:
        layer = checkpoint["layer"]
        output = np.asarray(outputs[layer], dtype=np.float64)
        if list(output.shape) != checkpoint["shape"]:
            return f"{layer}: shape {output.shape}, recorded {checkpoint['shape']}"
        deviation = checkpoint_deviation(layer, output)
        if not deviation <= limit:
            return f"{layer}: off by {deviation:.2e} standard deviations, allowed {limit:.0e}"
    return None


def checkpoint_deviation(layer, output):
    """Largest deviation from the recorded values, mean and deviation, in standard deviations."""
    mean, deviation = full()[f"tap/{layer}/stat|f64"]
    values = output.ravel()[full()[f"tap/{layer}/idx"]]
    differences = [
        np.abs(values - full()[f"tap/{layer}/val|f64"]).max(),
        abs(output.mean() - mean),
        abs(output.std() - deviation),
    ]
    return float(max(differences) / deviation)


def largest_difference(actual, key):
    """Largest absolute difference from the recorded float64 value of `key`."""
    expected = full()[f"{key}|f64"]
    actual = np.asarray(actual, dtype=np.float64)
    assert actual.shape == expected.shape, key
    return float(np.abs(actual - expected).max())
