"""Checks an exported module in a fresh process that has no Keras.

    echo '["MODULE_FOLDER", "CASES.npz"]' | python conformance.py

The cases hold waveforms and what the in-memory model made of them (written by `hub.export`). Prints
what was checked, a line at a time; on a deviation prints it and exits with 1. The paths are read
from the standard input when TensorFlow has been imported, so that this process can be started
while the module is still being written.
"""

import csv
import io
import json
import os
import sys
import wave
from collections.abc import Iterator, Mapping
from pathlib import Path

# Makes sure that the module needs no Keras: any import of it fails from here on.
if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.modules["keras"] = sys.modules["tf_keras"] = None  # type: ignore[assignment]

import numpy as np

#: Largest deviation from the in-memory model, by the module's precision: in float32 rounding; in
#: bfloat16 (8 bits) what dozens of layers make of it.
TOLERANCES = {"float32": 1e-5, "bfloat16": 5e-2}
_MOST_DRAWS = 100
_PYTHON_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}


class ConformanceError(Exception):
    """A promise that the module does not keep."""


def check(directory: Path, cases_file: Path) -> Iterator[str]:
    """Runs all checks; yields one line for each.

    Raises:
        ConformanceError: the first promise that is not kept.
    """
    import tensorflow as tf

    # As in the process that wrote the cases: GPUs would multiply in TF32.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    yield f"{_check_ops(directory)} graph operations, all plain TensorFlow"
    loaded = tf.saved_model.load(str(directory))
    with np.load(cases_file, allow_pickle=False) as cases:
        # As anybody would call it; this graph of its own stays the one for this shape.
        loaded(tf.constant(cases["waveform/2x16000"]))
        _trace_for_all_sizes(loaded)
        serving = "flavor" in cases and cases["flavor"] == "serving"
        yield _check_frozen(loaded, cases) if serving else _check_variables(loaded, cases)
        yield _check_outputs(loaded, cases, "fresh")
        yield _check_signatures(loaded, cases)
        if "classes" in cases:
            yield _check_classes(loaded, cases, trains=not serving)
        if serving:
            return
        awake = [name for name in cases if name.startswith("awake_variable/")]
        for name in awake:
            loaded.trainable_variables[int(name.partition("/")[2])].assign(cases[name])
        if awake:
            yield _check_outputs(loaded, cases, "awake")
        yield _check_training(loaded, cases, stochastic=bool(cases["is_stochastic"]))


def check_classifier(directory: Path, cases: Mapping[str, np.ndarray]) -> list[str]:
    """Checks what every classifier promises, whoever made its encoder; gives one line for each.

    Runs in this process. Variables, outputs and classes are checked; signatures and operations are
    those of the encoder's source, which need not be one of hares_tf. Training is not tried: it
    costs a minute for large encoders, and the head is one dense layer.

    Raises:
        ConformanceError: the first promise that is not kept.
    """
    import tensorflow as tf

    loaded = tf.saved_model.load(str(directory))
    return [
        _check_variables(loaded, cases),
        _check_outputs(loaded, cases, "fresh"),
        _check_class_map(loaded, cases),
    ]


def _trace_for_all_sizes(loaded) -> None:
    """Traces once for all shapes; TensorFlow would trace a restored function for each shape."""
    import tensorflow as tf

    functions = [loaded.__call__, *([loaded.logits] if hasattr(loaded, "logits") else [])]
    for function in functions:
        for training in (False, True):
            for shape in ([None, None], [None]):
                function.get_concrete_function(tf.TensorSpec(shape, tf.float32), training=training)


def _check_ops(directory: Path) -> int:
    count = 0
    for op, attributes in saved_operations(directory):
        count += 1
        if op in _PYTHON_OPS:
            raise ConformanceError(f"the graph calls back into Python ({op})")
        if op.startswith("Xla") or attributes.get("_XlaMustCompile"):
            raise ConformanceError(f"the graph holds a part that only XLA can run ({op})")
    return count


def saved_operations(directory: Path) -> Iterator[tuple[str, dict]]:
    """(operation, its boolean attributes) of every node and function in a SavedModel's graphs."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((Path(directory) / "saved_model.pb").read_bytes())

    def flags(attr) -> dict:
        return {name: value.b for name, value in attr.items() if value.HasField("b")}

    for meta_graph in saved.meta_graphs:
        for node in meta_graph.graph_def.node:
            yield node.op, flags(node.attr)
        for function in meta_graph.graph_def.library.function:
            yield "function", flags(function.attr)
            for node in function.node_def:
                yield node.op, flags(node.attr)


def _check_variables(loaded, cases) -> str:
    for kind in ("variables", "trainable_variables"):
        found = sorted(tuple(variable.shape) for variable in getattr(loaded, kind))
        wanted = sorted(map(tuple, _shapes(cases[f"{kind}/shapes"])))
        if found != wanted:
            raise ConformanceError(f"{kind}: {len(found)} saved, the model has {len(wanted)}")
    list(loaded.regularization_losses)
    return f"{len(loaded.variables)} variables, {len(loaded.trainable_variables)} trainable"


def _check_frozen(loaded, cases) -> str:
    """The serving flavor offers nothing to train, and the training argument changes nothing."""
    import tensorflow as tf

    offered = [*loaded.trainable_variables, *loaded.regularization_losses]
    if offered or hasattr(loaded, "train_fn"):
        raise ConformanceError("the serving flavor offers something to train")
    waveform = tf.constant(cases["waveform/training"])
    outputs = [loaded(waveform, training=training).numpy() for training in (False, True, False)]
    if not all(np.array_equal(outputs[0], output) for output in outputs):
        raise ConformanceError("two calls of the serving flavor differ on one waveform")
    return f"{len(loaded.variables)} variables, none of which can be trained"


def _check_signatures(loaded, cases) -> str:
    """Each signature against the in-memory model or `__call__`: padding, WAV files, frames."""
    import tensorflow as tf

    signatures, tolerance = loaded.signatures, _tolerance(cases)

    def compare(name, found, wanted):
        deviation = _relative_deviation(np.asarray(found), np.asarray(wanted))
        if not deviation <= tolerance:
            raise ConformanceError(f"the signature {name} deviates by {deviation:.2e}")

    waveform = cases["waveform/2x16000"]
    short, whole = 5_003, waveform.shape[1]
    padded = np.array(waveform)
    padded[1, short:] = np.nan
    found = signatures["with_lengths"](
        waveform=tf.constant(padded), lengths=tf.constant([whole, short], tf.int32)
    )["embedding"]
    compare("with_lengths", found[:1], loaded(waveform[:1]))
    compare("with_lengths", found[1:], loaded(waveform[1:, :short]))

    samples = np.round(waveform * 32_768).clip(-32_768, 32_767).astype("<i2")
    files = [_wav_file(samples[0], cases), _wav_file(samples[1, :short], cases)]
    found = signatures["wav_bytes"](bytes=tf.constant(files))["embedding"]
    compare("wav_bytes", found[:1], loaded(np.float32(samples[:1] / 32_768)))
    compare("wav_bytes", found[1:], loaded(np.float32(samples[1:, :short] / 32_768)))

    for name in cases:
        kind, _, case = name.partition("/")
        if kind == "frames":
            found = signatures["frames"](waveform=tf.constant(cases[f"waveform/{case}"]))
            compare("frames", found["frames"], cases[name])
            compare("frames", found["embedding"], cases[f"fresh/{case}"])
    return f"signatures {', '.join(sorted(signatures))}"


def _wav_file(samples: np.ndarray, cases) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(int(cases["sample_rate"]))
        file.writeframes(samples.tobytes())
    return content.getvalue()


def _shapes(texts: np.ndarray) -> list[list[int]]:
    return [[int(n) for n in text.split("x")] if text else [] for text in texts.tolist()]


def _check_outputs(loaded, cases, state: str) -> str:
    import tensorflow as tf

    tolerance = _tolerance(cases)
    worst, count = 0.0, 0
    kinds = {state: ("__call__", "embedding", loaded)}
    if hasattr(loaded, "logits"):
        kinds[f"{state}_logits"] = ("logits", "logits", loaded.logits)
    for name in cases:
        kind, _, case = name.partition("/")
        if kind not in kinds:
            continue
        entry, output, function = kinds[kind]
        waveform, wanted = tf.constant(cases[f"waveform/{case}"]), cases[name]
        found = {
            entry: function(waveform),
            "serving_default": loaded.signatures["serving_default"](waveform=waveform)[output],
            f"{entry} with training=False": function(waveform, training=False),
        }
        if len(wanted) == 1:
            found[f"{entry} on one waveform"] = function(waveform[0])
        for entry, value in found.items():
            deviation = _relative_deviation(value.numpy(), wanted)
            worst, count = max(worst, deviation), count + 1
            if not deviation <= tolerance:
                raise ConformanceError(
                    f"{entry} ({output}) deviates by {deviation:.2e} from the in-memory model for "
                    f"a waveform of shape {tuple(waveform.shape)} ({state} weights)"
                )
    return f"{count} outputs equal the in-memory model ({state} weights, worst {worst:.1e})"


def _check_class_map(loaded, cases) -> str:
    """The class map names every logit, in order."""
    wanted = cases["classes"].tolist()
    with open(loaded.class_map.asset_path.numpy(), encoding="utf-8", newline="") as file:
        found = [(row["index"], row["display_name"]) for row in csv.DictReader(file)]
    if found != [(str(index), name) for index, name in enumerate(wanted)]:
        raise ConformanceError(f"the class map does not list the {len(wanted)} classes in order")
    return f"{len(wanted)} classes, named in order"


def _check_classes(loaded, cases, trains: bool) -> str:
    """The class map names every logit, in order, and if the module `trains`, the head does."""
    import tensorflow as tf

    named, count = _check_class_map(loaded, cases), len(cases["classes"])
    head = list(loaded.head_variables) if trains else []
    with tf.GradientTape() as tape:
        logits = loaded.logits(tf.constant(cases["waveform/training"]), training=True)
        loss = tf.reduce_mean(logits**2)
    gradients = tape.gradient(loss, head)
    if logits.shape[-1] != count or any(gradient is None for gradient in gradients):
        raise ConformanceError(f"the head does not give {count} trainable logits")
    return named + (", with a trainable head" if trains else "")


def _tolerance(cases) -> float:
    precision = str(cases["precision"]) if "precision" in cases else "float32"
    return TOLERANCES[precision]


def _relative_deviation(found: np.ndarray, wanted: np.ndarray) -> float:
    """Largest difference, relative to the largest value where that is above 1; NaN if any is."""
    if found.shape != wanted.shape:
        raise ConformanceError(f"shape {found.shape} instead of {wanted.shape}")
    return float(np.max(np.abs(found - wanted)) / max(1.0, float(np.max(np.abs(wanted)))))


def _check_training(loaded, cases, stochastic: bool) -> str:
    import tensorflow as tf

    waveform = tf.constant(cases["waveform/training"])
    inference = [loaded(waveform, training=False).numpy() for _ in range(2)]
    if not np.array_equal(*inference):
        raise ConformanceError("two inference calls on one waveform differ")
    draws = [loaded(waveform, training=True).numpy() for _ in range(8)]
    # A small network drops few blocks: all calls so far may have kept the whole network.
    while stochastic and all(np.array_equal(draws[0], draw) for draw in draws):
        if len(draws) == _MOST_DRAWS:
            raise ConformanceError("training=True does not differ from one call to the next")
        draws.append(loaded(waveform, training=True).numpy())
    if not all(np.isfinite(draw).all() for draw in draws):
        raise ConformanceError("training=True gives NaN or infinite embeddings")
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(loaded(waveform, training=True) ** 2)
    variables = list(loaded.trainable_variables)
    gradients = tape.gradient(loss, variables)
    missing = [v.name for v, g in zip(variables, gradients, strict=True) if g is None]
    if missing:
        raise ConformanceError(f"no gradient reaches {len(missing)} variables: {missing[:3]}")
    kind = "stochastic" if stochastic else "deterministic"
    return f"inference deterministic, training {kind}, gradients reach {len(variables)} variables"


def main() -> int:
    """Runs the checks on the two paths that are read from the standard input."""
    import tensorflow  # noqa: F401

    directory, cases = json.loads(sys.stdin.readline())
    try:
        for line in check(Path(directory), Path(cases)):
            print(line, flush=True)
    except ConformanceError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
