"""Loading parameters of the official JAX implementation: names, and what is refused."""

import pickle

import numpy as np
import pytest
import reference_network as reference

from hares_tf.hub import HubError, load_haiku_parameters
from hares_tf.hub.haiku import haiku_variables
from hares_tf.models import SinglePathNFNet, SlowFastNFNet


@pytest.fixture
def network():
    network = SlowFastNFNet("tiny")
    network.build((None, None, None, 1))
    return network


@pytest.fixture
def parameters(network):
    """Values that fit `network`, all different from what it holds."""
    return {
        name: reference.fill(name, variable.shape)
        for name, variable in haiku_variables(network).items()
    }


def values(network):
    return {name: np.array(variable) for name, variable in haiku_variables(network).items()}


def assert_loaded(network, parameters):
    loaded = values(network)
    assert loaded.keys() == parameters.keys()
    for name in loaded:
        np.testing.assert_array_equal(loaded[name], parameters[name])


def assert_refused(network, source, *fragments):
    before = values(network)
    with pytest.raises(HubError) as error:
        load_haiku_parameters(network, source)
    for fragment in fragments:
        assert fragment in str(error.value)
    assert_loaded(network, before)


def test_names_and_shapes_are_those_of_the_official_network():
    variables = haiku_variables(reference.filled_network())
    shapes = {name: list(variable.shape) for name, variable in variables.items()}
    assert shapes == {entry["name"]: entry["shape"] for entry in reference.parameter_list()}


def test_strides_and_groups_are_those_of_the_official_network():
    layers = reference.named_layers(reference.filled_network())
    for entry in reference.parameter_list():
        if "groups" in entry:
            layer = layers[entry["layer"]]
            assert list(layer.strides) == entry["stride"], entry["layer"]
            assert layer.groups == entry["groups"], entry["layer"]
            assert list(layer.kernel_size) == entry["kernel"], entry["layer"]


def test_flat_mapping(network, parameters):
    load_haiku_parameters(network, parameters)
    assert_loaded(network, parameters)


def test_nested_mapping(network, parameters):
    tree = {}
    for name, value in parameters.items():
        module, parameter = name.rsplit("/", 1)
        tree.setdefault(module, {})[parameter] = value
    load_haiku_parameters(network, tree)
    assert_loaded(network, parameters)


def test_npz_file_into_a_network_not_yet_built(tmp_path, parameters):
    np.savez(tmp_path / "weights.npz", **parameters)
    network = SlowFastNFNet("tiny")
    load_haiku_parameters(network, tmp_path / "weights.npz")
    assert_loaded(network, parameters)


def test_model_around_the_network(network, parameters):
    class Wrapper:
        pass

    wrapper = Wrapper()
    wrapper.network = network
    load_haiku_parameters(wrapper, parameters)
    assert_loaded(network, parameters)


@pytest.mark.parametrize("path", ["fast", "slow"])
def test_single_path(path):
    network = SinglePathNFNet("tiny", path)
    network.build((None, None, None, 1))
    filled = {
        name: reference.fill(name, variable.shape)
        for name, variable in haiku_variables(network).items()
    }
    assert all(name.startswith("NFNet/~/") for name in filled)
    assert len(filled) == len(network.trainable_variables)
    load_haiku_parameters(network, filled)
    assert_loaded(network, filled)


def test_all_that_does_not_fit_is_listed(network, parameters):
    gain = "slow_fast_nf_net/~/NFNet/~/stem_conv1/gain"
    bias = "slow_fast_nf_net/~/NFNet/~/stem_conv2/bias"
    skip_gain = "slow_fast_nf_net/~/NFNet_1/~/nf_block/skip_gain"
    kernel = "slow_fast_nf_net/~/NFNet_1/~/final_conv/w"
    del parameters[gain]
    parameters["projector/w"] = np.zeros(3, np.float32)
    parameters[bias] = np.zeros((1, 4), np.float32)
    parameters[skip_gain] = np.array(1)
    parameters[kernel][0, 0, 5, 7] = np.nan
    assert_refused(
        network,
        parameters,
        f"1 missing: {gain}",
        "1 unknown: projector/w",
        f"1 of a wrong shape: {bias} (has (1, 4), needs (4,))",
        f"1 not floating point: {skip_gain} (int64)",
        f"1 with values that are not finite: {kernel}",
    )


def test_long_lists_are_cut(network):
    count = len(haiku_variables(network))
    assert_refused(network, {}, f"{count} missing", f"and {count - 10} more")


def test_file_that_is_missing(network, tmp_path):
    assert_refused(network, tmp_path / "none.npz", "There is no file", "none.npz")


def test_folder(network, tmp_path):
    assert_refused(network, tmp_path, "There is no file")


class Trap:
    """Sets a mark when unpickled."""

    unpickled = False

    def __reduce__(self):
        return (setattr, (Trap, "unpickled", True))


def test_pickle_is_never_loaded(network, tmp_path):
    (tmp_path / "weights.npz").write_bytes(pickle.dumps(Trap()))
    assert_refused(network, tmp_path / "weights.npz", "is not an .npz file", "numpy.savez")
    assert not Trap.unpickled


def test_object_array_in_npz_is_never_loaded(network, tmp_path, parameters):
    np.savez(tmp_path / "weights.npz", trap=np.array([Trap()], dtype=object))
    assert_refused(network, tmp_path / "weights.npz", "array 'trap'", "never loaded")
    assert not Trap.unpickled


def test_damaged_file(network, tmp_path, parameters):
    np.savez_compressed(tmp_path / "whole.npz", **parameters)
    content = bytearray((tmp_path / "whole.npz").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "damaged.npz").write_bytes(content)
    assert_refused(network, tmp_path / "damaged.npz", "cannot be read")


def test_mapping_that_is_too_deep(network):
    assert_refused(network, {"a": {"b": {"c": np.zeros(1)}}}, "nested deeper", "'a' / 'b'")


@pytest.mark.parametrize("source", [None, 3, [np.zeros(1)]])
def test_source_of_another_type(network, source):
    assert_refused(network, source, "the path of an .npz file or from a mapping")


def test_model_without_such_a_network():
    with pytest.raises(HubError, match="SlowFastNFNet"):
        load_haiku_parameters(object(), {})
