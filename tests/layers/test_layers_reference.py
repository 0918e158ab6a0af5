"""Each building block against whole tensors recorded from the official JAX implementation.

Outputs and gradients of `mean(y ** 2)`, in float32 and float64.
"""

import numpy as np
import pytest
import reference_network as reference
import tensorflow as tf

from hares_tf import layers
from hares_tf.models import SlowFastNFNet

DTYPES = ["float32", "float64"]
CONVOLUTIONS = {
    "wsconv_grouped": {"filters": 32, "kernel_size": (3, 1), "strides": (2, 2), "groups": 4},
    "wsconv_stem": {"filters": 16, "kernel_size": (3, 3), "strides": (2, 2)},
    "wsconv_freq": {"filters": 32, "kernel_size": (1, 3), "groups": 2},
    "wsconv_clamp": {"filters": 8, "kernel_size": (1, 3)},
}
BLOCKS = {
    "block_stride": {"kernel_time": 3, "strides": (1, 2), "beta": 0.9805806756909201},
    "block_project": {"kernel_time": 1, "strides": (1, 1), "beta": 1.0},
    "block_identity": {"kernel_time": 3, "strides": (1, 1), "beta": 0.9622504486493761},
}


def make_block(case, dtype, **settings):
    return layers.NFBlock(64, group_size=16, dtype=dtype, **BLOCKS[case], **settings)


def conv_variables(conv, prefix=""):
    return {
        f"{prefix}w": conv.kernel,
        f"{prefix}gain": conv.gain,
        f"{prefix}bias": conv.bias,
    }


def gate_variables(gate, prefix=""):
    dense = {"fc0": gate.reduce, "fc1": gate.expand}
    return {f"{prefix}{name}/w": layer.kernel for name, layer in dense.items()} | {
        f"{prefix}{name}/b": layer.bias for name, layer in dense.items()
    }


def block_variables(block):
    variables = {"skip_gain": block.skip_gain, **gate_variables(block.squeeze_excite, "se/")}
    for name in ("conv0", "conv1", "conv1b", "conv2", "conv_shortcut"):
        if getattr(block, name) is not None:
            variables.update(conv_variables(getattr(block, name), f"{name}/"))
    return variables


def assert_close(actual, key, dtype):
    expected = reference.units()[key]
    actual = np.asarray(actual, np.float64)
    assert actual.shape == expected.shape, key
    limit = reference.UNIT_LIMIT[dtype] * np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=limit, err_msg=key)


def check_case(case, variables, call, dtype, parameters_of=None):
    """Assigns the case's parameters, then compares output and all recorded gradients."""
    unit = reference.units()
    prefix = f"{parameters_of or case}/param/"
    parameters = {key.removeprefix(prefix): unit[key] for key in unit if key.startswith(prefix)}
    assert parameters.keys() == variables.keys()
    for name, variable in variables.items():
        variable.assign(parameters[name])
    inputs = [
        tf.constant(unit[f"{case}/{name}"], dtype)
        for name in ("x0", "x1")
        if f"{case}/{name}" in unit
    ]
    with tf.GradientTape() as tape:
        for x in inputs:
            tape.watch(x)
        y = call(*inputs)
        loss = tf.reduce_mean(tf.square(y))
    sources = {f"x{index}": x for index, x in enumerate(inputs)}
    sources |= {name: variable.value for name, variable in variables.items()}
    gradients = tape.gradient(loss, sources)
    assert y.dtype == dtype
    assert_close(y, f"{case}/y", dtype)
    recorded = [key for key in unit if key.startswith(f"{case}/grad/")]
    for key in recorded:
        assert_close(gradients[key.removeprefix(f"{case}/grad/")], key, dtype)
    return len(recorded)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("training", [False, True], ids=["native", "split"])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_scaled_ws_conv(case, training, dtype):
    conv = layers.ScaledWSConv2D(**CONVOLUTIONS[case], dtype=dtype)
    conv.build(reference.units()[f"{case}/x0"].shape)

    def call(x):
        return conv(x, training=training)

    assert check_case(case, conv_variables(conv), call, dtype) == 4


@pytest.mark.parametrize("dtype", DTYPES)
def test_squeeze_excite(dtype):
    gate = layers.SqueezeExcite(dtype=dtype)
    gate.build(reference.units()["se/x0"].shape)
    assert check_case("se", gate_variables(gate), gate, dtype) == 5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", BLOCKS)
def test_block(case, dtype):
    block = make_block(case, dtype)
    block.build(reference.units()[f"{case}/x0"].shape)
    variables = block_variables(block)
    assert check_case(case, variables, block, dtype) == len(variables) + 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_block_with_stochastic_depth(dtype):
    case = "block_stochdepth"
    block = make_block("block_identity", dtype, drop_rate=0.5)
    block.build(reference.units()[f"{case}/x0"].shape)
    keep = reference.units()[f"{case}/keep"]
    assert 0 < keep.sum() < len(keep)

    def call(x):
        return block(x, training=True, keep=keep)

    check_case(case, block_variables(block), call, dtype, parameters_of="block_identity")


@pytest.mark.parametrize("dtype", DTYPES)
def test_fusion(dtype):
    fusion = layers.FastToSlowFusion(24, dtype=dtype)
    fast, slow = (reference.units()[f"fusion/{name}"].shape for name in ("x0", "x1"))
    fusion.build(slow, fast)

    def call(x0, x1):
        return fusion(x1, x0)

    assert check_case("fusion", conv_variables(fusion.conv, "conv_f2s/"), call, dtype) == 5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ["maxpool9", "maxpool10", "maxpool11", "maxpool12"])
def test_data_layer_of_the_slow_path(case, dtype):
    check_case(case, {}, SlowFastNFNet("tiny", dtype=dtype).data_layer, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ["avgpool5", "avgpool6"])
def test_pooling_of_the_shortcut(case, dtype):
    check_case(case, {}, make_block("block_stride", dtype).shortcut_pool, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_activation(dtype):
    x = tf.constant(reference.units()["activation/x0"], dtype)
    assert_close(layers.gelu_tanh(x), "activation/gelu", dtype)
    assert_close(layers.scaled_gelu(x), "activation/gelu_gamma", dtype)


def test_stochastic_depth_mask():
    uniform = reference.units()["stochdepth_mask/r"]
    rates = reference.units()["stochdepth_mask/rates"]
    expected = reference.units()["stochdepth_mask/mask"]
    np.testing.assert_array_equal(layers.keep_mask(uniform, rates[:, None]), expected)


def test_every_unit_case_is_tested():
    tested = {
        *CONVOLUTIONS,
        *BLOCKS,
        *("se", "fusion", "block_stochdepth", "activation", "stochdepth_mask"),
        *("maxpool9", "maxpool10", "maxpool11", "maxpool12", "avgpool5", "avgpool6"),
    }
    assert {key.split("/")[0] for key in reference.units()} == tested
