"""Weights of the official JAX implementation (Haiku parameters) into our models."""

import os
from collections.abc import Mapping

import ml_dtypes
import numpy as np

from hares_tf.checkpoints.arrays import fitted, listed, read_npz, reason
from hares_tf.checkpoints.errors import CheckpointError

#: Module names of the official code at the top of a parameter tree.
_TWO_PATH_ROOT = "slow_fast_nf_net"
_FAST_PATH, _SLOW_PATH = "NFNet", "NFNet_1"


def load_haiku_parameters(model, source):
    """Assigns the parameters of an official (Haiku) network to a model of the same structure.

    Everything is checked before anything is assigned: a refused source leaves the model as it was.

    Sources may be as training left them: with names of enclosing modules in front of all names,
    replicated over devices along a new first axis (all copies being equal), in bfloat16.

    Args:
        model: a `SlowFastNFNet`, a `SinglePathNFNet`, or a model whose attribute `network` is one.
            Built here if it is not yet.
        source: path of an `.npz` file with one array per parameter under its full name
            (`slow_fast_nf_net/~/NFNet_1/~/stem_conv0/w`; a single path starts with `NFNet/~/`), or
            a mapping in memory: flat with these names, or nested as Haiku makes it, `{module:
            {parameter: array}}`. Kernels are laid out as in Keras, raw (not standardized). Arrays
            of type `|V2`, which `numpy.savez` makes of bfloat16, are read as bfloat16.

    Raises:
        CheckpointError: the file is missing or is no `.npz` of plain arrays; a name of the mapping
            is not a string or its value not an array; a tensor is missing, unknown, given twice, of
            a wrong shape, not floating point, or not finite in the type of its variable; names have
            different modules in front; replicas differ.
    """
    network = find_network(model)
    if not network.built:
        network.build((None, None, None, 1))
    variables = haiku_variables(network)
    arrays, origin = read_parameters(source)
    prefix = _prefix(arrays, next(iter(variables)).split("/")[0], origin)
    variables = {prefix + name: variable for name, variable in variables.items()}
    arrays = _without_replicas(_from_bfloat16(arrays), variables, origin)
    fitting = fitted(arrays, variables, origin)
    for name, variable in variables.items():
        variable.assign(fitting[name])


def _prefix(arrays, root, origin):
    """Returns the prefix of the module `root` in the names, for instance `byol/~/`."""
    parts = [name.split("/") for name in arrays]
    prefixes = {
        "".join(f"{p}/" for p in part[: part.index(root)]) for part in parts if root in part
    }
    if len(prefixes) > 1:
        roots = listed(sorted(f"{prefix}{root}" for prefix in prefixes))
        raise CheckpointError(
            f"{origin} holds more than one network, nothing was loaded: {roots}. Keep the "
            f"parameters of one of them."
        )
    return prefixes.pop() if prefixes else ""


def _from_bfloat16(arrays):
    """All arrays of bfloat16 in float32, which holds the same values."""
    bfloat16 = np.dtype(ml_dtypes.bfloat16)

    def convert(array):
        if array.dtype == np.dtype("V2"):
            array = array.view(bfloat16)
        return array.astype(np.float32) if array.dtype == bfloat16 else array

    return {name: convert(array) for name, array in arrays.items()}


def _without_replicas(arrays, variables, origin):
    """Drops the axis of replicas, if all known arrays have one more axis of one length in front.

    Raises:
        CheckpointError: the copies are not equal.
    """
    known = [name for name in variables if name in arrays]
    counts = {arrays[name].shape[:1] for name in known}
    replicated = all(arrays[n].shape[1:] == tuple(variables[n].shape) for n in known)
    if len(counts) != 1 or not replicated or counts <= {(), (0,)}:
        return arrays
    unequal = [name for name in known if not _all_equal(arrays[name])]
    if unequal:
        raise CheckpointError(
            f"{origin} holds {counts.pop()[0]} copies of each parameter, and those of "
            f"{len(unequal)} differ, nothing was loaded: {listed(unequal)}. Choose one copy."
        )
    return {n: array[0] if n in variables else array for n, array in arrays.items()}


def _all_equal(copies):
    first = copies[0]
    return bool(np.all((copies == first) | ((copies != copies) & (first != first))))  # NaN too


def find_network(model):
    """The network whose parameters the official code has: `model` itself, or its `network`.

    Raises:
        CheckpointError: if neither is a (Slowfast) NFNet.
    """
    from hares_tf.models import SinglePathNFNet, SlowFastNFNet

    for candidate in (model, getattr(model, "network", None)):
        if isinstance(candidate, SlowFastNFNet | SinglePathNFNet):
            return candidate
    raise CheckpointError(
        f"Haiku parameters fit a SlowFastNFNet, a SinglePathNFNet, or a model with one of them as "
        f"its attribute `network`; {type(model).__name__} is none of these."
    )


def haiku_variables(network):
    """The variables of a built network under their names in the official code.

    Args:
        network: a built `SlowFastNFNet` or `SinglePathNFNet`.

    Returns:
        Dict from full parameter name to Keras variable; holds every trainable variable once.
    """
    from hares_tf.models import SlowFastNFNet

    if not isinstance(network, SlowFastNFNet):
        return _path_variables(_FAST_PATH, network.trunk)
    variables = {
        **_path_variables(f"{_TWO_PATH_ROOT}/~/{_SLOW_PATH}", network.slow),
        **_path_variables(f"{_TWO_PATH_ROOT}/~/{_FAST_PATH}", network.fast),
    }
    for index, fusion in enumerate(network.fusions):
        module = f"{_TWO_PATH_ROOT}/~/{_numbered('fuse_fast2_slow', index)}/~/conv_f2s"
        variables.update(_conv_variables(module, fusion.conv))
    return variables


def _path_variables(module, path):
    variables = {}
    for index, conv in enumerate(path.stem_convs):
        variables.update(_conv_variables(f"{module}/~/stem_conv{index}", conv))
    for index, block in enumerate(path.blocks):
        variables.update(_block_variables(f"{module}/~/{_numbered('nf_block', index)}", block))
    variables.update(_conv_variables(f"{module}/~/final_conv", path.final_conv))
    return variables


def _block_variables(module, block):
    variables = {f"{module}/skip_gain": block.skip_gain}
    for name in ("conv_shortcut", "conv0", "conv1", "conv1b", "conv2"):
        conv = getattr(block, name)
        if conv is not None:
            variables.update(_conv_variables(f"{module}/~/{name}", conv))
    for index, dense in enumerate((block.squeeze_excite.reduce, block.squeeze_excite.expand)):
        linear = f"{module}/~/squeeze_excite/~/{_numbered('linear', index)}"
        variables[f"{linear}/w"] = dense.kernel
        variables[f"{linear}/b"] = dense.bias
    return variables


def _conv_variables(module, conv):
    return {f"{module}/w": conv.kernel, f"{module}/gain": conv.gain, f"{module}/bias": conv.bias}


def _numbered(name, index):
    """Haiku's name of the module `name` made as number `index`: the first carries no number."""
    return name if index == 0 else f"{name}_{index}"


def read_parameters(source):
    """Reads parameters from a file or a mapping.

    Args:
        source: as for `load_haiku_parameters`.

    Returns:
        `(arrays, origin)`: a flat dict from full name to NumPy array, and words for messages.

    Raises:
        CheckpointError: if the source is not what `load_haiku_parameters` describes.
    """
    if isinstance(source, Mapping):
        return _read_mapping(source), "The mapping"
    if not isinstance(source, str | os.PathLike):
        raise CheckpointError(
            f"Haiku parameters come from the path of an .npz file or from a mapping, not from a "
            f"{type(source).__name__}."
        )
    return read_npz(os.fspath(source)), f"The file {os.fspath(source)}"


def _read_mapping(tree):
    arrays = {}
    for name, value in _flatten(tree):
        if name in arrays:
            raise CheckpointError(
                f"The mapping gives {name} twice, as a full name and as {{module: {{parameter: "
                f"array}}}}; leave one of them out."
            )
        try:
            arrays[name] = np.asarray(value)
        except Exception as error:  # a framework's array raises what it likes when converted
            raise CheckpointError(
                f"The mapping's {name} ({type(value).__name__}) cannot be made a NumPy array: "
                f"{reason(error)}. Give one array per parameter."
            ) from error
    return arrays


def _flatten(tree):
    for module, value in tree.items():
        _check_name(module, "The mapping")
        if not isinstance(value, Mapping):
            yield module, value
            continue
        for parameter, array in value.items():
            _check_name(parameter, f"Module {module} of the mapping")
            if isinstance(array, Mapping):
                raise CheckpointError(
                    f"The mapping is nested deeper than {{module: {{parameter: array}}}}: "
                    f"{module!r} / {parameter!r} holds another mapping."
                )
            yield f"{module}/{parameter}", array


def _check_name(name, where):
    if not isinstance(name, str):
        raise CheckpointError(
            f"{where} has the key {name!r} of type {type(name).__name__}; names of modules and "
            f"parameters are strings."
        )
