"""Loading parameters of the official JAX implementation: names, and what is refused."""

import io
import pickle
import zipfile

import ml_dtypes
import numpy as np
import pytest
import reference_network as reference

from hares_tf.checkpoints import load_haiku_parameters
from hares_tf.checkpoints.errors import CheckpointError
from hares_tf.checkpoints.haiku import haiku_variables
from hares_tf.models import SinglePathNFNet, SlowFastNFNet

#: One parameter of the network, for tests in which a single one is at fault.
GAIN = "slow_fast_nf_net/~/NFNet/~/stem_conv1/gain"


@pytest.fixture(scope="module")
def built():
    network = SlowFastNFNet("tiny")
    network.build((None, None, None, 1))
    return network, {
        name: reference.fill(name, variable.shape)
        for name, variable in haiku_variables(network).items()
    }


@pytest.fixture
def network(built):
    """Building one for every test would take a second each; all that a test may leave is values."""
    network, _ = built
    for variable in haiku_variables(network).values():
        variable.assign(np.zeros(variable.shape, np.float32))
    return network


@pytest.fixture
def parameters(built):
    """Values that fit `network`, all different from what it holds."""
    return {name: value.copy() for name, value in built[1].items()}


def values(network):
    return {name: np.array(variable) for name, variable in haiku_variables(network).items()}


def assert_loaded(network, parameters):
    loaded = values(network)
    assert loaded.keys() == parameters.keys()
    for name in loaded:
        np.testing.assert_array_equal(loaded[name], parameters[name])


def assert_refused(network, source, *fragments):
    before = values(network)
    with pytest.raises(CheckpointError) as error:
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
    bias = "slow_fast_nf_net/~/NFNet/~/stem_conv2/bias"
    skip_gain = "slow_fast_nf_net/~/NFNet_1/~/nf_block/skip_gain"
    kernel = "slow_fast_nf_net/~/NFNet_1/~/final_conv/w"
    del parameters[GAIN]
    parameters["projector/w"] = np.zeros(3, np.float32)
    parameters[bias] = np.zeros((1, 4), np.float32)
    parameters[skip_gain] = np.array(1)
    parameters[kernel][0, 0, 5, 7] = np.nan
    assert_refused(
        network,
        parameters,
        f"1 missing: {GAIN}",
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


@pytest.mark.parametrize("flat_first", [True, False])
def test_mapping_that_gives_a_parameter_twice(network, parameters, flat_first):
    module, parameter = GAIN.rsplit("/", 1)
    nested = {module: {parameter: parameters[GAIN] + 1}}
    source = {**parameters, **nested} if flat_first else {**nested, **parameters}
    assert_refused(network, source, f"gives {GAIN} twice")


@pytest.mark.parametrize("key", [3, None, b"gain", ("a", "b")])
def test_names_that_are_no_strings(network, parameters, key):
    kind = type(key).__name__
    value = np.zeros(1, np.float32)
    assert_refused(network, {**parameters, key: value}, f"The mapping has the key {key!r}", kind)
    assert_refused(network, {**parameters, key: {"w": value}}, f"key {key!r} of type {kind}")
    assert_refused(network, {**parameters, "m": {key: value}}, "Module m", f"key {key!r}", kind)


class Elsewhere:
    """An array that cannot be copied to this machine's memory."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("the buffer was deleted")


@pytest.mark.parametrize(
    ("value", "reason"),
    [([[1.0, 2.0], [3.0]], "inhomogeneous"), (Elsewhere(), "the buffer was deleted")],
)
def test_values_that_cannot_be_arrays(network, parameters, value, reason):
    parameters[GAIN] = value
    assert_refused(network, parameters, f"{GAIN} ({type(value).__name__})", "NumPy array", reason)


def test_other_types_and_byte_orders_are_converted(network, parameters):
    wanted = dict(parameters)
    for name, dtype in zip(parameters, ["<f8", ">f4", ">f8", np.longdouble] * 10, strict=False):
        parameters[name] = parameters[name].astype(dtype)
    load_haiku_parameters(network, parameters)
    assert_loaded(network, wanted)


@pytest.mark.parametrize("large", [1e300, -1e39])
def test_values_beyond_the_type_of_the_variable(network, parameters, large):
    assert network.variable_dtype == "float32"
    parameters[GAIN] = parameters[GAIN].astype(np.float64)
    parameters[GAIN][-1] = large
    assert_refused(network, parameters, f"1 with values that are not finite: {GAIN} (as float32)")


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_finite_is_meant_in_the_type_of_the_variable(parameters, dtype):
    network = SlowFastNFNet("tiny", dtype=dtype)
    network.build((None, None, None, 1))
    parameters[GAIN] = np.full(parameters[GAIN].shape, 1e300)
    if dtype == "float64":
        load_haiku_parameters(network, parameters)
        assert_loaded(network, parameters)
    else:
        assert_refused(network, parameters, f"not finite: {GAIN} (as bfloat16)")


def npy(array):
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def header(shape):
    """The beginning of an `.npy` file of float32, without the values."""
    content = io.BytesIO()
    fields = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(content, fields)
    return content.getvalue()


def garbled(fields):
    """An `.npy` file whose header is the text `fields`."""
    return b"\x93NUMPY\x01\x00" + len(fields).to_bytes(2, "little") + fields


def write_npz(path, parameters, *members, **info):
    """An `.npz` file of the parameters without `GAIN`, then `members`, each `(name, content)`.

    The archive's directory states `info` of the last member.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in parameters.items():
            if name != GAIN:
                archive.writestr(f"{name}.npy", npy(value))
        for name, content in members:
            archive.writestr(name, content)
        for field, value in info.items():
            setattr(archive.infolist()[-1], field, value)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(header((100_000_000_000_000,)), id="364 TiB"),
        pytest.param(header((10**30,)), id="shape beyond 64 bits"),
        pytest.param(garbled(b"(" * 100), id="header without an end"),
        pytest.param(garbled(b"{[]: 1}"), id="list as a key"),
        pytest.param(npy(np.zeros(4, np.float32))[:-1], id="cut"),
    ],
)
def test_npz_with_an_array_that_cannot_be_read(network, parameters, tmp_path, content):
    write_npz(tmp_path / "weights.npz", parameters, (f"{GAIN}.npy", content))
    assert_refused(network, tmp_path / "weights.npz", "weights.npz cannot be read", repr(GAIN))


@pytest.mark.parametrize(
    ("info", "reason"),
    [({"flag_bits": 1}, "encrypted, password"), ({"compress_type": 99}, "compression")],
)
def test_npz_that_is_encrypted_or_compressed_otherwise(network, parameters, tmp_path, info, reason):
    gain = npy(parameters[GAIN])
    write_npz(tmp_path / "weights.npz", parameters, (f"{GAIN}.npy", gain), **info)
    assert_refused(network, tmp_path / "weights.npz", "cannot be read", repr(GAIN), reason)


def test_array_file_with_an_archive_behind(network, parameters, tmp_path):
    write_npz(tmp_path / "weights.npz", parameters, (f"{GAIN}.npy", npy(parameters[GAIN])))
    archive = (tmp_path / "weights.npz").read_bytes()
    (tmp_path / "both.npz").write_bytes(npy(np.zeros(1)) + archive)
    assert_refused(network, tmp_path / "both.npz", "cannot be read")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("second", [f"{GAIN}.npy", GAIN])
def test_npz_that_holds_a_name_twice(network, parameters, tmp_path, second):
    members = (f"{GAIN}.npy", npy(parameters[GAIN] + 1)), (second, npy(parameters[GAIN]))
    write_npz(tmp_path / "weights.npz", parameters, *members)
    assert_refused(network, tmp_path / "weights.npz", "more than one array", GAIN)


def test_npz_written_by_these_helpers_is_sound(network, parameters, tmp_path):
    write_npz(tmp_path / "weights.npz", parameters, (f"{GAIN}.npy", npy(parameters[GAIN])))
    load_haiku_parameters(network, tmp_path / "weights.npz")
    assert_loaded(network, parameters)


@pytest.mark.parametrize("prefix", ["byol/~/", "model/", "a/~/b/", "NFNet/"])
def test_any_modules_in_front(network, parameters, prefix):
    load_haiku_parameters(network, {prefix + name: value for name, value in parameters.items()})
    assert_loaded(network, parameters)


def test_a_single_path_with_modules_in_front():
    network = SinglePathNFNet("tiny", "slow")
    network.build((None, None, None, 1))
    filled = {
        name: reference.fill(name, variable.shape)
        for name, variable in haiku_variables(network).items()
    }
    load_haiku_parameters(network, {f"simclr/~/{name}": value for name, value in filled.items()})
    assert_loaded(network, filled)


def test_messages_name_what_the_source_holds(network, parameters):
    source = {f"byol/~/{name}": value for name, value in parameters.items() if name != GAIN}
    source["byol/~/projector/w"] = np.zeros(3, np.float32)
    assert_refused(network, source, f"missing: byol/~/{GAIN}", "unknown: byol/~/projector/w")


def test_two_networks_are_refused(network, parameters):
    source = {
        f"{side}/{n}": value for side in ("online", "target") for n, value in parameters.items()
    }
    assert_refused(network, source, "online/slow_fast_nf_net, target/slow_fast_nf_net")
    part = {n if n == GAIN else f"online/{n}": value for n, value in parameters.items()}
    assert_refused(network, part, "more than one network")


@pytest.mark.parametrize("copies", [1, 4])
def test_replicated_parameters(network, parameters, copies):
    source = {name: np.stack([value] * copies) for name, value in parameters.items()}
    load_haiku_parameters(network, source)
    assert_loaded(network, parameters)


def test_replicas_that_differ_are_refused(network, parameters):
    source = {name: np.stack([value] * 3) for name, value in parameters.items()}
    source[GAIN][2, 0] += 1e-6
    assert_refused(network, source, "3 copies", f"1 differ, nothing was loaded: {GAIN}")
    source[GAIN][2, 0] = np.nan
    assert_refused(network, source, "3 copies", f"1 differ, nothing was loaded: {GAIN}")
    source[GAIN][:, 0] = np.nan
    assert_refused(network, source, f"1 with values that are not finite: {GAIN}")


def test_parameters_of_which_only_some_are_replicated(network, parameters):
    source = {name: np.stack([value] * 3) for name, value in parameters.items()}
    source[GAIN] = parameters[GAIN]
    others = len(parameters) - 1
    assert_refused(network, source, f"{others} of a wrong shape")
    source[GAIN] = np.stack([parameters[GAIN]] * 2)
    assert_refused(network, source, f"{others + 1} of a wrong shape")


def test_bfloat16(network, parameters, tmp_path):
    source = {name: value.astype(ml_dtypes.bfloat16) for name, value in parameters.items()}
    wanted = {name: value.astype(np.float32) for name, value in source.items()}
    load_haiku_parameters(network, source)
    assert_loaded(network, wanted)

    np.savez(tmp_path / "weights.npz", **source)
    with np.load(tmp_path / "weights.npz") as saved:
        assert saved[GAIN].dtype == np.dtype("V2")  # what NumPy makes of a type it does not know
    other = SlowFastNFNet("tiny")
    load_haiku_parameters(other, tmp_path / "weights.npz")
    assert_loaded(other, wanted)


def test_replicated_bfloat16_below_other_modules(network, parameters, tmp_path):
    halves = {name: value.astype(ml_dtypes.bfloat16) for name, value in parameters.items()}
    source = {f"byol/~/{name}": np.stack([value] * 2) for name, value in halves.items()}
    np.savez(tmp_path / "weights.npz", **source)
    load_haiku_parameters(network, tmp_path / "weights.npz")
    assert_loaded(network, {name: value.astype(np.float32) for name, value in halves.items()})


@pytest.mark.parametrize("dtype", ["V4", "i1,i1", "V1"])
def test_other_bytes_without_a_type_are_refused(network, parameters, dtype):
    parameters[GAIN] = np.zeros(parameters[GAIN].shape, dtype)
    assert_refused(network, parameters, f"1 not floating point: {GAIN}")


@pytest.mark.parametrize("source", [None, 3, [np.zeros(1)]])
def test_source_of_another_type(network, source):
    assert_refused(network, source, "the path of an .npz file or from a mapping")


def test_model_without_such_a_network():
    with pytest.raises(CheckpointError, match="SlowFastNFNet"):
        load_haiku_parameters(object(), {})
