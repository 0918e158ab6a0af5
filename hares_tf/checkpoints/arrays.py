"""Arrays from files into variables, everything checked first."""

import os
import zipfile

import numpy as np

from hares_tf.checkpoints.errors import CheckpointError

#: How many tensor names an error message lists before it only counts the rest.
_NAMES_LISTED = 10


def read_npz(path):
    """The arrays of a file by their names. Nothing is ever unpickled.

    Raises:
        CheckpointError: it is missing, damaged, or holds anything but plain arrays, each once.
    """
    if not os.path.isfile(path):
        raise CheckpointError(f"There is no file {path}; give the path of an .npz file.")
    if not zipfile.is_zipfile(path):
        raise CheckpointError(
            f"{path} is not an .npz file. Parameters stored otherwise (for instance pickled) must "
            f"first be saved with numpy.savez, one array per full parameter name."
        )
    arrays, twice, name = {}, [], None
    try:
        # Pickled content could run code of its author's choice on this machine.
        with np.load(path, allow_pickle=False) as archive:
            for name in archive.files:
                if name in arrays:  # every look-up by name finds the last one
                    twice.append(name)
                else:
                    arrays[name] = archive[name]
    # Damaged and hostile files reach every corner of zipfile and NumPy's header parser, which raise
    # more than they document: MemoryError, RuntimeError, NotImplementedError, TokenError, ...
    except Exception as error:
        at = f" (array {name!r})" if name is not None else ""
        raise CheckpointError(
            f"{path} cannot be read{at}: {reason(error)}. It must hold plain numeric arrays, not "
            f"encrypted; pickled objects are never loaded."
        ) from error
    if twice:
        raise CheckpointError(f"{path} holds more than one array of these names: {listed(twice)}.")
    not_arrays = [name for name, value in arrays.items() if not isinstance(value, np.ndarray)]
    if not_arrays:
        raise CheckpointError(f"{path} holds files that are no arrays: {listed(not_arrays)}.")
    return arrays


def fitted(arrays, variables, origin):
    """The arrays in the types of their variables.

    Raises:
        CheckpointError: one that names everything that does not fit.
    """
    problems = []

    def report(what, names):
        if names:
            problems.append(f"{len(names)} {what}: {listed(names)}")

    report("missing", [name for name in variables if name not in arrays])
    report("unknown", [name for name in arrays if name not in variables])
    common = [name for name in variables if name in arrays]
    shaped = {name for name in common if arrays[name].shape == tuple(variables[name].shape)}
    report(
        "of a wrong shape",
        [
            f"{name} (has {arrays[name].shape}, needs {tuple(variables[name].shape)})"
            for name in common
            if name not in shaped
        ],
    )
    floating = [name for name in common if np.issubdtype(arrays[name].dtype, np.floating)]
    report(
        "not floating point",
        [f"{name} ({arrays[name].dtype})" for name in common if name not in set(floating)],
    )
    # Cast first: 1e300 is finite in float64 and infinite in the float32 of the model.
    with np.errstate(over="ignore"):
        fitting = {
            name: arrays[name].astype(_numpy_dtype(variables[name]))
            for name in floating
            if name in shaped
        }
    report(
        "with values that are not finite",
        [f"{n} (as {array.dtype})" for n, array in fitting.items() if not np.isfinite(array).all()],
    )
    if problems:
        raise CheckpointError(
            f"{origin} does not fit this model, nothing was loaded. Tensors "
            + "; ".join(problems)
            + "."
        )
    return fitting


def _numpy_dtype(variable):
    """The NumPy type of a Keras variable, also where NumPy alone has no such name (bfloat16)."""
    from keras import ops

    # One element: TensorFlow's bfloat16 scalars do not become arrays.
    return ops.convert_to_numpy(ops.zeros(1, variable.dtype)).dtype


def reason(error):
    """An exception's message on one line, or its type where it has none."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def listed(names):
    """The names for a message, only the first of many."""
    rest = len(names) - _NAMES_LISTED
    text = ", ".join(names[:_NAMES_LISTED])
    return f"{text} and {rest} more" if rest > 0 else text
