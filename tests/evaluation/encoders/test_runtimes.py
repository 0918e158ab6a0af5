"""Evaluation with other runtimes: separate results and stores, and the fallback to TensorFlow.

OpenVINO's conversion is replaced by a stand-in; tests/runtimes checks OpenVINO itself.
"""

import csv
import importlib.util
import json

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from runtimes.runtime_modules import RATE, save

from hares_tf.commands import check_handle
from hares_tf.commands import evaluate as command
from hares_tf.commands import report as report_command
from hares_tf.evaluation import EvaluationError, Interface, Runtime, evaluate
from hares_tf.evaluation.embeddings.distributed import shards
from hares_tf.hub import locate
from hares_tf.runtimes import openvino as openvino_runtime
from hares_tf.runtimes.errors import ConversionError
from hares_tf.utils._compat import frozen_function

TASK = """
domain = "environment"
manifest = "list.csv"
window_seconds = 0.5
[columns]
file = "file"
label = "label"
split = "split"
"""


@pytest.fixture(scope="module")
def two_layers(tmp_path_factory):
    return save(tmp_path_factory.mktemp("modules") / "two_layers")


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = tmp_path_factory.mktemp("task")
    random, rows = np.random.default_rng(0), ["file,label,split"]
    for number in range(20):
        hertz = (300, 2000)[number % 2] * random.uniform(0.8, 1.2)
        sound = 0.2 * np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE)
        sound += random.normal(0, 0.02, RATE)
        soundfile.write(folder / f"{number}.wav", sound, RATE, "PCM_16")
        rows.append(f"{number}.wav,{number % 2},{'test' if number >= 14 else 'train'}")
    (folder / "list.csv").write_text("\n".join(rows))
    (folder / "tones.toml").write_text(TASK)
    return str(folder / "tones.toml")


def _frozen(function):
    """Returns a function of NumPy arrays that is independent of the module, as OpenVINO does."""
    spec = tf.TensorSpec([None, None], tf.float32)
    frozen = frozen_function(function.get_concrete_function(spec))
    return lambda batch: frozen(tf.constant(batch))[0].numpy()


@pytest.fixture
def stand_in(monkeypatch):
    """Replaces OpenVINO by TensorFlow, with an error in bfloat16; returns the precisions used."""
    asked = []

    def convert(function, precision):
        asked.append(precision)
        factor = 1.01 if precision == "bfloat16" else 1.0
        frozen = _frozen(function)
        return lambda batch: factor * frozen(batch)

    monkeypatch.setattr(openvino_runtime, "check_installed", lambda: None)
    monkeypatch.setattr(openvino_runtime, "convert", convert)
    monkeypatch.setattr(openvino_runtime, "version", lambda: "0.0")
    return asked


def _evaluate(handle, task, folder, runtime=Runtime(), **options):
    options = {"output": folder / "results", "store": folder / "store", **options}
    return evaluate(handle, [task], runtime=runtime, protocol="smoke", **options)[0]


RUNTIMES = [Runtime(), Runtime("openvino"), Runtime("openvino", "bfloat16")]


def test_runtimes_and_precisions_are_kept_apart(two_layers, task, tmp_path, stand_in):
    results = [_evaluate(two_layers, task, tmp_path, runtime) for runtime in RUNTIMES]
    assert stand_in == ["float32", "bfloat16"]
    described = [(r.embeddings["runtime"], r.embeddings["precision"]) for r in results]
    assert described == [(r.name, r.precision) for r in RUNTIMES]
    assert all(result.seconds["clips_embedded"] == 20 for result in results)
    assert len(list((tmp_path / "results").rglob("tones.json"))) == 3
    spaces = [json.loads(path.read_text()) for path in (tmp_path / "store").rglob("space.json")]
    found = {(s["depends_on"]["runtime"], s["depends_on"]["precision"]) for s in spaces}
    assert found == set(described) and len(spaces) == 3
    assert "openvino" not in results[0].model["interface"]
    assert results[1].model["interface"]["openvino"] == "0.0"
    assert results[2].model["interface"]["deviation_from_tensorflow"] > 0.005
    # In a report each has a name and a line of its own.
    flags = [str(tmp_path / "results"), f"--output={tmp_path / 'report.csv'}"]
    assert report_command.main(flags) == 0
    with open(tmp_path / "report.csv", newline="", encoding="utf-8") as file:
        rows = {row["model"]: (row["runtime"], row["precision"]) for row in csv.DictReader(file)}
    names = ("two", "two (OpenVINO float32)", "two (OpenVINO bfloat16)")
    assert rows == dict(zip(names, described, strict=True))
    # Again: each finds its own result, without opening a model.
    again = [_evaluate(two_layers, task, tmp_path, runtime) for runtime in RUNTIMES]
    assert again == results and len(stand_in) == 2


@pytest.mark.parametrize("wrong", ["raises", "computes something else"])
def test_tensorflow_computes_where_openvino_fails(
    two_layers, task, tmp_path, stand_in, monkeypatch, capsys, wrong
):
    def convert(function, precision):
        if wrong == "raises":
            raise ConversionError("OpenVINO does not take the graph (an operation)")
        frozen = _frozen(function)
        return lambda batch: 2 * frozen(batch)

    monkeypatch.setattr(openvino_runtime, "convert", convert)
    flags = [f"--tasks={task}", f"--output={tmp_path / 'results'}", f"--store={tmp_path / 'store'}"]
    flags += [f"--handle={two_layers}", "--runtime=openvino", "--protocol=smoke", "--progress=json"]
    assert command.main(flags) == 0
    said = capsys.readouterr().err
    assert said.count("TensorFlow computes instead") == 1
    assert ("an operation" if wrong == "raises" else "differ from TensorFlow's by") in said
    (path,) = (tmp_path / "results").rglob("tones.json")
    assert json.loads(path.read_text())["embeddings"]["runtime"] == "tensorflow"
    # It is what TensorFlow itself stores and finds.
    plain = _evaluate(two_layers, task, tmp_path)
    assert plain.to_json() == json.loads(path.read_text())


def test_a_worker_uses_the_runtime_of_its_target(two_layers, tmp_path, stand_in, monkeypatch):
    monkeypatch.setattr(shards, "_encoders", {})
    module = locate(two_layers)
    description = {
        "model": module.content_hash(),
        "interface": Interface(sample_rate=RATE).as_data(),
        "runtime": "openvino",
        "precision": "bfloat16",
    }
    target = shards.Target(str(two_layers), None, tmp_path, description)
    assert shards._encoder(target).interface["openvino"] == "0.0" and stand_in == ["bfloat16"]

    def refuses(function, precision):
        raise ConversionError("OpenVINO does not take the graph")

    monkeypatch.setattr(openvino_runtime, "convert", refuses)
    monkeypatch.setattr(shards, "_encoders", {})
    with pytest.raises(ConversionError, match="does not take"):
        shards._encoder(target)


def test_check_handle_names_the_runtime(two_layers, stand_in, monkeypatch, capsys):
    flags = [f"--handle={two_layers}", "--runtime=openvino", "--runtime_precision=bfloat16"]
    assert check_handle.main(flags) == 0
    assert "in OpenVINO 0.0 (0.0" in capsys.readouterr().out

    def refuses(function, precision):
        raise ConversionError("OpenVINO does not take the graph")

    monkeypatch.setattr(openvino_runtime, "convert", refuses)
    assert check_handle.main(flags) == 0
    assert "TensorFlow computes instead" in capsys.readouterr().out


def test_unavailable_runtimes_and_precisions_are_errors(
    two_layers, task, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for main in (command.main, check_handle.main):
        assert main([f"--handle={two_layers}", "--runtime=openvino"]) == 2
        assert "pip install hares-tf[openvino]" in capsys.readouterr().err
    assert command.main([f"--handle={two_layers}", "--runtime_precision=bfloat16"]) == 2
    assert "goes with --runtime=openvino" in capsys.readouterr().err
    with pytest.raises(EvaluationError, match="Unknown runtime"):
        Runtime("onnx")


def test_a_python_function_ignores_the_runtime(task, tmp_path, stand_in):
    def encode(batch):
        return np.abs(np.fft.rfft(batch))[:, :40]

    encode.sample_rate, encode.fingerprint = RATE, "1"
    result = _evaluate(encode, task, tmp_path, Runtime("openvino"))
    assert result.embeddings["runtime"] == "python" and not stand_in
