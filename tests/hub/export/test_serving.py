"""Ready for TensorFlow Serving: its folder, its loader, its way of merging requests.

The server's binary is not needed: what it is made of is tested one by one. Where the environment
variable TENSORFLOW_MODEL_SERVER names the binary, the same client also asks the real one.
"""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hub.export.model_servers import SessionModule, stand_in, tensorflow_model_server
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph
from unchecked import no_check

from hares_tf.commands import export as command
from hares_tf.hub import HubError, loader
from hares_tf.hub.export import conformance, serving_root, warmup
from hares_tf.hub.export import exporter as export

RATE = 16_000


@pytest.fixture(scope="module")
def root(tmp_path_factory, tiny_module):
    """A serving root whose version 1 is the tiny network with all its branches awake."""
    root = tmp_path_factory.mktemp("models") / "hares"

    def copy_awake(folder):
        shutil.copytree(tiny_module, folder)
        _wake(str(folder / "variables" / "variables"))
        return folder, ["copied"]

    path, lines = serving_root.add_version(root, copy_awake, RATE)
    assert path == root / "1" and lines[0] == "copied"
    return root


def _wake(prefix: str) -> None:
    """Sets the skip gains in a SavedModel's variables to 1: at 0 most of the network is silent."""
    reader = tf.train.load_checkpoint(prefix)
    values = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    graph = TrackableObjectGraph.FromString(values["_CHECKPOINTABLE_OBJECT_GRAPH"])
    attributes = [attribute for node in graph.nodes for attribute in node.attributes]
    gains = [one.checkpoint_key for one in attributes if "skip_gain" in one.full_name]
    assert gains and not any(values[name].any() for name in gains)
    values |= {name: np.ones_like(values[name]) for name in gains}
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=list(values),
        shape_and_slices=[""] * len(values),
        tensors=list(values.values()),
    )


@pytest.fixture(scope="module")
def served(root):
    return SessionModule(root / "1")


@pytest.fixture(scope="module")
def client(repository):
    return _import(repository / "examples/serving/client.py")


def _import(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestServingRoot:
    def _export(self, folder):
        tf.saved_model.save(tf.Module(), str(folder))
        return folder, []

    def test_versions_are_counted_from_the_highest_there_is(self, tmp_path):
        assert serving_root.next_version(tmp_path / "new") == 1
        for name in ("1", "10", "9", "011x", ".tmp-77", "²", "best"):
            (tmp_path / name).mkdir()
        assert serving_root.next_version(tmp_path) == 11

    def test_two_exports_at_once_get_two_versions(self, tmp_path):
        def slow(folder):
            serving_root.add_version(tmp_path / "m", self._export, RATE)
            return self._export(folder)

        path, _ = serving_root.add_version(tmp_path / "m", slow, RATE)
        assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["1", "2"]
        assert path.name == "2" and (path / "saved_model.pb").is_file()

    def test_a_number_that_is_taken_at_the_last_moment_is_left_alone(self, tmp_path, monkeypatch):
        taken = tmp_path / "m" / "1"
        taken.mkdir(parents=True)
        (taken / "saved_model.pb").write_text("another's")
        answers = iter([1, 2])
        monkeypatch.setattr(serving_root, "next_version", lambda root: next(answers))
        path, _ = serving_root.add_version(tmp_path / "m", self._export, RATE)
        assert path.name == "2" and (taken / "saved_model.pb").read_text() == "another's"

    @pytest.mark.parametrize("umask", [0o077, 0o022])
    def test_another_user_can_read_a_version(self, tmp_path, umask):
        (tmp_path / "mine").mkdir(mode=0o700)
        before = os.umask(umask)
        try:
            root = tmp_path / "mine" / "models" / "m"
            path, _ = serving_root.add_version(root, self._export, RATE)
            root.chmod(0o750)
            serving_root.add_version(root, self._export, RATE)
        finally:
            os.umask(before)
        assert (path / warmup.PATH).is_file()
        for one in (path, *path.rglob("*")):
            assert one.stat().st_mode & 0o777 == (0o755 if one.is_dir() else 0o644), one
        assert root.parent.stat().st_mode & 0o777 == 0o755
        # Folders that were there keep what their owner gave them.
        assert root.stat().st_mode & 0o777 == 0o750
        assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o700

    def test_a_failure_leaves_nothing(self, tmp_path):
        def fails(folder):
            self._export(folder)
            raise HubError("deviates")

        with pytest.raises(HubError, match="deviates"):
            serving_root.add_version(tmp_path / "m", fails, RATE)
        assert list((tmp_path / "m").iterdir()) == []

    def test_a_kill_leaves_no_version(self, tmp_path):
        program = (
            "import os, signal, sys\n"
            "from hares_tf.hub.export import serving_root\n"
            "def export(folder):\n"
            "    folder.mkdir()\n"
            "    (folder / 'saved_model.pb').write_text('half')\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
            "serving_root.add_version(sys.argv[1], export, 16000)\n"
        )
        done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "m")])
        assert done.returncode == -signal.SIGKILL
        (left,) = (tmp_path / "m").iterdir()
        assert (left / "module" / "saved_model.pb").is_file()
        assert not left.name.isdigit() and serving_root.next_version(tmp_path / "m") == 1
        with pytest.raises(HubError, match=r"no saved_model.pb"):
            loader.locate(tmp_path / "m")

    def test_the_command(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(export, "_fresh_process", no_check)
        arguments = ["--model=log_mel_statistics", f"--serving_root={tmp_path}/m"]
        for version in ("1", "2"):
            assert command.main(arguments) == 0
            assert f"{tmp_path}/m/{version}: 160 features" in capsys.readouterr().out
        located = loader.locate(tmp_path / "m")
        assert located.path.name == "2" and (located.path / warmup.PATH).is_file()
        assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["1", "2"]
        # What the server warms up with is no part of what the module computes.
        before = located.content_hash()
        (located.path / warmup.PATH).unlink()
        assert located.content_hash() == before

    @pytest.mark.parametrize(
        ("arguments", "word"),
        [
            (["--output=o", "--serving_root=m"], "exclude"),
            (["--serving_root=m", "--overwrite"], "exclude"),
            (["--serving_root=module"], "itself a module"),
            (["--serving_root=file"], "is a file"),
        ],
    )
    def test_wrong_use(self, arguments, word, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "module").mkdir()
        (tmp_path / "module" / "saved_model.pb").touch()
        (tmp_path / "file").touch()
        assert command.main(["--model=log_mel_statistics", *arguments]) == 2
        assert word in capsys.readouterr().err
        assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "module"]


class TestWarmup:
    def _records(self, root):
        apis = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
        path = str(root / "1" / warmup.PATH)
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
            yield apis.PredictionLog.FromString(record)

    @pytest.mark.slow
    def test_replay_through_the_session_loader(self, root, served):
        loaded = tf.saved_model.load(str(root / "1"))
        seen = []
        for log in self._records(root):
            assert log.WhichOneof("log_type") == "predict_log"
            request = log.predict_log.request
            assert request.model_spec.name == "hares"
            name = request.model_spec.signature_name
            inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
            outputs = served.run(name, inputs)
            assert set(outputs) == set(served.signatures[name].outputs)
            tensors = {key: tf.constant(value) for key, value in inputs.items()}
            for key, value in loaded.signatures[name](**tensors).items():
                assert outputs[key].shape[0] == 1
                np.testing.assert_allclose(outputs[key], value, atol=1e-6)
            seen.append(name)
        assert sorted(seen) == sorted(served.signatures) and "serving_default" in seen

    def test_records_are_few_and_small(self, root):
        path = root / "1" / warmup.PATH
        assert sum(1 for _ in tf.data.TFRecordDataset(str(path))) <= 1000  # the server's limit
        assert path.stat().st_size < 200_000

    def test_the_wire_format_is_that_of_the_library(self):
        log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
        inputs = {"waveform": np.zeros((1, 300), np.float32), "lengths": np.array([300])}
        wanted = log_pb2.PredictionLog()
        request = wanted.predict_log.request
        request.model_spec.name, request.model_spec.signature_name = "näme", "with_lengths"
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        written = warmup._prediction_log("näme", "with_lengths", inputs)
        assert log_pb2.PredictionLog.FromString(written) == wanted
        assert written == wanted.SerializeToString(deterministic=True)

    def test_inputs_follow_the_signature(self, tmp_path):
        module = tf.Module()

        def spec(shape, dtype, name):
            return tf.TensorSpec(shape, dtype, name=name)

        functions = {
            "fixed": (lambda x: {"y": x}, spec([None, 80], tf.float32, "x")),
            "files": (lambda wav: {"y": wav}, spec([None], tf.string, "wav")),
            "image": (lambda x: {"y": x}, spec([None, 8, 8, 3], tf.float32, "x")),
        }
        traced = {
            name: tf.function(function, input_signature=[one]).get_concrete_function()
            for name, (function, one) in functions.items()
        }
        tf.saved_model.save(module, str(tmp_path / "m"), signatures=traced)
        found = warmup.saved_model.signatures(tmp_path / "m")
        assert list(found) == ["files", "fixed", "image"]
        assert warmup.example_inputs("fixed", found["fixed"], RATE)["x"].shape == (1, 80)
        (contents,) = warmup.example_inputs("files", found["files"], 8000)["wav"]
        audio, rate = tf.audio.decode_wav(contents)
        assert audio.shape == (2000, 1) and rate == 8000
        with pytest.raises(HubError, match="image takes x, float32 of rank 4"):
            warmup.write_warmup(tmp_path / "m", "m", RATE)


def _requests(served: SessionModule, seconds=(0.31, 0.31, 0.31)) -> dict[str, list[dict]]:
    """Single-clip requests to each signature, no two alike."""
    made = {}
    for name, signature in served.signatures.items():
        made[name] = []
        for index, length in enumerate(seconds):
            random = np.random.default_rng(index)
            samples = round(length * RATE)
            waveform = random.uniform(-0.5, 0.5, (1, samples)).astype(np.float32)
            kinds = {
                "waveform": waveform,
                "lengths": np.array([samples - 160 * index], np.int32),
                "bytes": np.array([warmup._wav(waveform[0], RATE)], object),
            }
            made[name].append({key: kinds[key] for key in signature.inputs})
    return made


class TestBatching:
    def test_merged_requests_equal_separate_ones(self, served):
        for name, requests in _requests(served).items():
            separate = [served.run(name, request) for request in requests]
            merged = {key: np.concatenate([r[key] for r in requests]) for key in requests[0]}
            for key, value in served.run(name, merged).items():
                assert value.shape[0] == 3, f"{name}: {key}"
                wanted = np.concatenate([one[key] for one in separate])
                scale = max(1, np.abs(wanted).max())
                np.testing.assert_allclose(value / scale, wanted / scale, atol=2e-6)
                assert not np.allclose(value[0], value[1], atol=1e-3), "the clips differ"

    def test_every_axis_0_is_the_batch(self, served):
        for signature in served.signatures.values():
            for tensor in (*signature.inputs.values(), *signature.outputs.values()):
                sizes = [dim.size for dim in tensor.tensor_shape.dim]
                assert sizes and sizes[0] == -1 and not tensor.name.startswith("Const")

    def test_the_hazard_of_padding(self, served):
        """Padded as the server would, a waveform gets another embedding; with_lengths keeps it."""
        if "with_lengths" not in served.signatures:
            pytest.skip("the module has no signature with_lengths")
        waveform = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 9000)).astype(np.float32)
        padded = np.pad(waveform, [(0, 0), (0, 7000)], constant_values=waveform[0, 0])
        wanted = served.run("serving_default", {"waveform": waveform})["embedding"]
        wrong = served.run("serving_default", {"waveform": padded})["embedding"]
        lengths = np.array([9000], np.int32)
        right = served.run("with_lengths", {"waveform": padded, "lengths": lengths})["embedding"]
        scale = np.abs(wanted).max()
        assert np.abs(wrong - wanted).max() > 0.01 * scale
        np.testing.assert_allclose(right, wanted, atol=1e-5 * scale)

    def test_the_example_configuration(self, repository):
        """Field names and types of `BatchingParameters` in session_bundle_config.proto."""
        text = (repository / "examples/serving/batching.config").read_text()
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        wrapped = "max_batch_size|batch_timeout_micros|max_enqueued_batches|num_batch_threads"
        pattern = rf"({wrapped}) {{ value: [1-9]\d* }}|pad_variable_length_inputs: false"
        assert len(lines) == 5
        assert all(re.fullmatch(pattern, line) for line in lines)


def test_concurrent_requests_do_not_disturb_each_other(served):
    requests = [
        (name, request)
        for name, some in _requests(served, (0.05, 0.11, 0.2, 0.11)).items()
        for request in some
    ]
    wanted = [served.run(name, request) for name, request in requests]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda one: served.run(*one), requests * 3))
    for one, other in zip(found, wanted * 3, strict=True):
        for key in other:
            np.testing.assert_allclose(one[key], other[key], rtol=1e-5, atol=1e-5)


def test_operations_are_those_of_the_plain_runtime(root):
    """A server has no Python, no XLA compiler to rely on, and no operations of other packages."""
    operations = set()
    for operation, attributes in conformance.saved_operations(root / "1"):
        operations.add(operation)
        assert not attributes.get("_XlaMustCompile")
    operations -= {"function"}
    assert not {name for name in operations if "PyFunc" in name or name.startswith("Xla")}
    assert operations and operations <= set(dir(tf.raw_ops))


class TestClient:
    @pytest.fixture(scope="class", params=["stand-in", "tensorflow_model_server"])
    def server(self, request, root, repository, tmp_path_factory):
        if request.param == "stand-in":
            pytest.importorskip("tensorflow_serving")
            context = stand_in(root)
        else:
            binary = os.environ.get("TENSORFLOW_MODEL_SERVER")
            if not binary:
                pytest.skip("TENSORFLOW_MODEL_SERVER names no tensorflow_model_server")
            log = tmp_path_factory.mktemp("server") / "log.txt"
            batching = repository / "examples/serving/batching.config"
            context = tensorflow_model_server(binary, root, batching, log)
        with context as addresses:
            yield addresses

    @pytest.fixture
    def waveform(self):
        # Multiples of 2 ** -15: the file holds exactly these samples.
        return (np.random.default_rng(5).integers(-(2**14), 2**14, (1, 4000)) / 2**15).astype("f4")

    @pytest.fixture
    def recording(self, waveform, tmp_path):
        import soundfile

        soundfile.write(tmp_path / "speech.wav", waveform[0], RATE, subtype="PCM_16")
        return tmp_path / "speech.wav"

    def test_rest_and_grpc(self, server, client, served, waveform, recording):
        rest, grpc = server
        wanted = served.run("serving_default", {"waveform": waveform})["embedding"]
        found = client.ask_grpc(grpc, waveform)
        np.testing.assert_allclose(found["embedding"], wanted, rtol=1e-4, atol=1e-5)
        found = client.ask_rest(f"{rest}/v1/models/hares", recording.read_bytes())
        np.testing.assert_allclose(found["embedding"], wanted, rtol=1e-4, atol=1e-5)

    def test_as_a_program(self, server, repository, recording, served, waveform):
        program = repository / "examples/serving/client.py"
        address = f"{server[0]}/v1/models/hares"
        done = subprocess.run(
            [sys.executable, program, recording, address], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        wanted = served.run("serving_default", {"waveform": waveform})["embedding"][0]
        name, count, first = re.fullmatch(
            r"(\w+): (\d+) values, the first (\S+) \S+ \S+\n", done.stdout
        ).groups()
        assert (name, int(count)) == ("embedding", wanted.size)
        assert float(first) == pytest.approx(float(wanted[0]), abs=2e-4)

    def test_requests_follow_their_protocols(self, client, served, waveform, recording):
        predict_pb2 = pytest.importorskip("tensorflow_serving.apis.predict_pb2")
        from google.protobuf import json_format

        request = client.grpc_request(waveform)
        again = json_format.ParseDict(json_format.MessageToDict(request), type(request)())
        assert predict_pb2.PredictRequest.FromString(again.SerializeToString()) == request
        assert set(request.inputs) == set(served.signatures["serving_default"].inputs)
        np.testing.assert_array_equal(tf.make_ndarray(request.inputs["waveform"]), waveform)
        body = json.loads(client.rest_body(recording.read_bytes()))
        assert set(body) == {"signature_name", "inputs"}
        assert set(body["inputs"]) == set(served.signatures[body["signature_name"]].inputs)


@pytest.mark.slow
def test_without_python(root, served, tmp_path):
    """A C++ program loads the module as the server does, and runs every signature in threads."""
    compiler, include = shutil.which("g++"), Path(tf.sysconfig.get_include())
    if compiler is None:
        pytest.skip("there is no g++")
    library = Path(tf.sysconfig.get_lib())
    needed = [include / "tensorflow/cc/saved_model/loader.h", library / "libtensorflow_cc.so.2"]
    if absent := [path.name for path in needed if not path.exists()]:
        pytest.skip(f"this TensorFlow comes without {absent[0]}")
    program, source = tmp_path / "load_module", Path(__file__).with_name("load_module.cc")
    flags = tf.sysconfig.get_compile_flags()
    flags += [f"-L{library}", f"-Wl,-rpath,{library}", "-Wl,--no-as-needed"]
    flags += ["-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"]
    subprocess.run([compiler, "-O0", source, "-o", program, *flags], check=True)
    requests = {name: some[0] for name, some in _requests(served).items()}
    for name, inputs in requests.items():
        (tmp_path / name).mkdir()
        for key, value in inputs.items():
            tensor = tf.make_tensor_proto(value)
            (tmp_path / name / f"{key}.in").write_bytes(tensor.SerializeToString())
    done = subprocess.run(
        [program, root / "1", tmp_path], capture_output=True, text=True, env={"PATH": ""}
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == sorted(requests)
    for name, inputs in requests.items():
        for key, wanted in served.run(name, inputs).items():
            answers = sorted((tmp_path / name).glob(f"{key}.out.*"))
            assert len(answers) == 4
            for path in answers:
                tensor = tensor_pb2.TensorProto.FromString(path.read_bytes())
                np.testing.assert_allclose(tf.make_ndarray(tensor), wanted, rtol=1e-4, atol=1e-5)
