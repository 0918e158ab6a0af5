"""The f0 network against numbers recorded from the official JAX implementation.

Limits are ten times the float32 noise observed in the official code (see `reference_network`);
every typical mistake (erf gelu, wrong padding, wrong beta, ...) exceeds them at least tenfold.
"""

import keras
import numpy as np
import pytest
import reference_network as reference
import tensorflow as tf

from hares_tf.checkpoints import load_haiku_parameters
from hares_tf.checkpoints.haiku import haiku_variables
from hares_tf.models import SinglePathNFNet

DTYPES = ["float32", pytest.param("float64", marks=pytest.mark.slow)]


def test_filled_parameters_are_the_recorded_ones():
    checks = reference.golden()["parameter_checks"]
    assert len(checks) == 474
    for check in checks:
        reference.assert_recorded(reference.parameters()[check["name"]], check)


@pytest.mark.parametrize("entry", reference.golden()["inputs"], ids=lambda entry: entry["name"])
def test_inputs_are_the_recorded_ones(entry):
    reference.assert_recorded(reference.make_input(entry["name"]), entry["check"])


def test_every_variable_holds_exactly_one_parameter():
    network = reference.filled_network()
    names_of = {}
    for name, variable in haiku_variables(network).items():
        names_of.setdefault(id(variable), []).append(name)
        np.testing.assert_array_equal(np.asarray(variable), reference.parameters()[name])
    assert [len(names) for names in names_of.values()] == [1] * 474
    assert set(names_of) == {id(variable) for variable in network.trainable_variables}
    assert network.count_params() == 62_970_654
    assert sum(np.prod(v.shape, dtype=int) for v in network.trainable_variables) == 62_970_654


@pytest.mark.parametrize("dtype", DTYPES)
def test_checkpoints_and_embedding_of_in0(dtype):
    network = reference.filled_network(dtype)
    checkpoints = [checkpoint["layer"] for checkpoint in reference.golden()["checkpoints"]]
    with reference.recorded_outputs(network) as outputs:
        embedding = network(reference.make_input("in0"))
    assert len(checkpoints) == 171
    assert set(outputs) == set(checkpoints)
    assert reference.first_deviation(outputs, reference.CHECKPOINT_LIMIT[dtype]) is None
    worst = max(reference.checkpoint_deviation(name, np.asarray(outputs[name])) for name in outputs)
    print(f"{dtype}: checkpoints deviate by at most {worst:.1e} standard deviations")
    check_embedding(embedding, "embedding/in0", dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_embeddings_from_one_graph_for_all_sizes(dtype):
    spec = tf.TensorSpec((None, None, None, 1), dtype)
    graph = tf.function(reference.filled_network(dtype), input_signature=[spec], autograph=False)
    for name in ("in1", "in2"):
        inputs = tf.cast(reference.make_input(name), dtype)
        check_embedding(graph(inputs), f"embedding/{name}", dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_training_mode_with_the_recorded_masks(dtype):
    network = reference.filled_network(dtype)
    assert network.residual_mask_rows == reference.golden()["stochastic_depth_mask_rows"]
    masks = reference.full()["train/mask"]
    embedding = network(reference.make_input("train"), training=True, residual_masks=masks)
    check_embedding(embedding, "train/embedding", dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("path", ["fast", "slow"])
def test_single_path_network(path, dtype):
    network = SinglePathNFNet("f0", path, dtype=dtype)
    network.build((None, None, None, 1))
    prefix = f"{path}_only/"
    filled = {
        name: reference.fill(prefix + name, variable.shape)
        for name, variable in haiku_variables(network).items()
    }
    for check in reference.golden()["single_path_checks"][path]:
        array = filled[check["name"].removeprefix(prefix)]
        assert list(array.shape) == check["shape"]
        reference.assert_recorded(array, check)
    load_haiku_parameters(network, filled)
    assert network.count_params() == reference.golden()["single_path_parameter_counts"][path]
    check_embedding(network(reference.make_input("single")), f"single/{path}/embedding", dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients(dtype):
    network = reference.filled_network(dtype)
    variables = haiku_variables(network)
    names = [entry["name"] for entry in reference.parameter_list()]
    inputs = tf.cast(reference.make_input("in0"), dtype)

    # All branches kept: the value of inference, computed as in training.
    masks = tf.ones((len(network.residual_mask_rows), inputs.shape[0]))
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        embedding = network(inputs, training=True, residual_masks=masks)
        loss = tf.reduce_mean(tf.square(embedding))
    sources = [inputs, *(variables[name].value for name in names)]
    input_gradient, *gradients = tape.gradient(loss, sources)

    gradients = [np.asarray(gradient, np.float64) for gradient in gradients]
    norms = [np.linalg.norm(gradient) for gradient in gradients]
    norms.append(np.linalg.norm(np.asarray(input_gradient, np.float64)))
    expected = [*reference.full()["grad/all_norms|f64"], reference.full()["grad/input/norm|f64"]]
    assert len(norms) == 475
    np.testing.assert_allclose(norms, expected, rtol=reference.NORM_LIMIT[dtype])
    np.testing.assert_allclose(
        loss, reference.full()["grad/loss|f64"], rtol=reference.NORM_LIMIT[dtype]
    )
    named = reference.golden()["named_gradients"]
    assert len(named) == 15
    worst = check_gradient_entries(input_gradient, "grad/input", dtype)
    for name in named:
        gradient = gradients[names.index(name)]
        worst = max(worst, check_gradient_entries(gradient, f"grad/{name}", dtype))
    worst_norm = np.max(np.abs(np.divide(norms, expected) - 1))
    print(f"{dtype}: gradient norms off by {worst_norm:.1e}, entries by {worst:.1e} (relative)")


def check_gradient_entries(gradient, key, dtype):
    expected = reference.full()[f"{key}/val|f64"]
    actual = np.asarray(gradient, np.float64).ravel()[reference.full()[f"{key}/idx"]]
    scale = np.sqrt(np.mean(np.square(expected)))
    deviation = np.sqrt(np.mean(np.square(actual - expected))) / scale
    assert deviation <= reference.GRADIENT_LIMIT[dtype], key
    return deviation


def check_embedding(embedding, key, dtype):
    assert embedding.dtype == dtype
    difference = reference.largest_difference(embedding, key)
    print(f"{dtype}: {key} deviates by at most {difference:.1e}")
    assert difference <= reference.EMBEDDING_LIMIT[dtype]


# Odd lengths and the extremes in every run, the others (each some seconds of tracing) in the slow.
OFTEN = ["1x297x80x1", "1x17x80x1", "1x1x1x1"]


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(shape, marks=[] if shape in OFTEN else pytest.mark.slow)
        for shape in reference.layer_shapes()
    ],
)
def test_shapes_of_all_layers(shape):
    network = reference.filled_network()
    expected = dict(reference.layer_shapes()[shape])
    input_shape = tuple(int(size) for size in shape.split("x"))
    with reference.recorded_outputs(network) as outputs:
        graph = tf.function(network.call, autograph=False)
        concrete = graph.get_concrete_function(tf.TensorSpec(input_shape, "float32"))
    assert list(concrete.outputs[0].shape) == expected.pop("embedding")
    actual = {name: list(output.shape) for name, output in outputs.items()}
    assert actual == {name: sizes for name, sizes in expected.items() if name in actual}
    assert set(expected) - set(actual) <= {"fast/data_layer"}


def test_an_erf_gelu_is_noticed_at_the_first_layer_behind_it(monkeypatch):
    def erf_gelu(x):
        return keras.ops.gelu(x, approximate=False)

    monkeypatch.setattr("hares_tf.models.nfnet_path.gelu_tanh", erf_gelu)
    network = reference.filled_network()
    with reference.recorded_outputs(network) as outputs:
        embedding = network(reference.make_input("in0"))
    found = reference.first_deviation(outputs, reference.CHECKPOINT_LIMIT["float32"])
    assert found.startswith("slow/stem_conv1:")
    limit = reference.EMBEDDING_LIMIT["float32"]
    assert reference.largest_difference(embedding, "embedding/in0") > 10 * limit


def test_a_wrong_beta_is_noticed_in_its_block(monkeypatch):
    network = reference.filled_network()
    block = network.slow.blocks[4]
    monkeypatch.setattr(block.conv0, "input_scale", block.conv0.input_scale / block.beta)
    with reference.recorded_outputs(network) as outputs:
        network(reference.make_input("in0"))
    found = reference.first_deviation(outputs, reference.CHECKPOINT_LIMIT["float32"])
    assert found.startswith("slow/block4/conv0:")
