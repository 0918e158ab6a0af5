"""From the folder of a pretraining run to a module: which checkpoint, what weights, what logits."""

import csv
import hashlib
import json
import subprocess
import sys
import types

import keras
import micro
import numpy as np
import pytest
import tensorflow as tf
from unchecked import no_check

from hares_tf.checkpoints.errors import CheckpointError
from hares_tf.checkpoints.runs import load_classifier, load_encoder, open_checkpoint
from hares_tf.checkpoints.variable_names import named_variables
from hares_tf.commands import evaluate as evaluate_command
from hares_tf.commands import export as command
from hares_tf.evaluation import Interface, evaluate
from hares_tf.evaluation.encoders.handle import open_encoder, stated_interface
from hares_tf.evaluation.suites import resolve
from hares_tf.evaluation.tasks import Places
from hares_tf.hub import locate
from hares_tf.hub.export import conformance
from hares_tf.hub.export import exporter as export
from hares_tf.hub.loader import load
from hares_tf.models import ModelError, create_model

CLASSES = ["Dog, barking", 'A "quoted" hiss', "Möwe", "Engine"]
FACTS = {
    "config": {"batch": 8, "learning_rate": 2e-4},
    "data": {"name": "clips", "n_clips": 12, "seconds": 30.5, "content_hash": "ab12"},
    "environment": {"hares_tf": "0", "replicas": 1},
}


def write_run(folder, model="log_mel_statistics", objective="simclr", classes=(), **changes):
    """The `run.json` of a run; `changes` replace what it says."""
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    said = {
        "schema": 1,
        "model": model,
        "objective": objective,
        "label_names": list(classes),
        **FACTS,
        **changes,
    }
    (folder / "run.json").write_text(json.dumps(said))
    return folder


def write_checkpoint(folder, step, arrays=None, metadata=None):
    path = folder / "checkpoints" / f"step-{step:08d}.npz"
    text = json.dumps({"schema": 1, "step": step, **(metadata or {})})
    optimizer = {"optimizer/0000/iteration": np.int64(step)}
    np.savez(path, metadata=np.array(text), **{**optimizer, **(arrays or {})})
    return path


def arrays_of(model, seed):
    """Weights as training might leave them, by their names: also those that begin at 0."""
    random = np.random.default_rng(seed)
    return {
        name: np.asarray(variable) + random.normal(0, 0.05, variable.shape).astype(np.float32)
        for name, variable in named_variables(model, "encoder").items()
    }


def head_arrays(size, classes, seed=0):
    random = np.random.default_rng(seed)
    return {
        "head/logits/kernel": random.normal(0, 0.1, (size, classes)).astype(np.float32),
        "head/logits/bias": random.normal(0, 0.1, classes).astype(np.float32),
    }


@pytest.fixture(scope="module")
def encoder():
    keras.utils.set_random_seed(3)
    return create_model(micro.NAME)


@pytest.fixture(scope="module")
def micro_arrays(encoder):
    return {**arrays_of(encoder, 1), **head_arrays(micro.FEATURES, len(CLASSES))}


@pytest.fixture(scope="module")
def micro_run(tmp_path_factory, micro_arrays):
    folder = tmp_path_factory.mktemp("runs") / "micro"
    write_run(folder, micro.NAME, "classification", CLASSES)
    write_checkpoint(folder, 20, micro_arrays)
    return folder


@pytest.fixture(scope="module")
def micro_classifier(tmp_path_factory, micro_run):
    """Exported by the command, without the conformance check: `tagger` goes through it."""
    output = tmp_path_factory.mktemp("modules") / "m"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "_fresh_process", no_check)
        assert command.main([f"--checkpoint={micro_run}", f"--output={output}"]) == 0
    return output


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    """A classifier of `mini_audioset`'s tags on log-mel statistics, exported by the command."""
    (task,) = resolve(["mini_audioset"])
    tags = task.read(Places()).labels.names
    folder = tmp_path_factory.mktemp("tagger")
    run = write_run(folder / "run", objective="classification", classes=tags)
    head = head_arrays(160, len(tags))
    write_checkpoint(run, 7, head)
    assert command.main([f"--checkpoint={run}", f"--output={folder / 'm'}"]) == 0
    return types.SimpleNamespace(path=folder / "m", tags=tags, head=head)


@pytest.fixture
def waveform():
    return np.random.default_rng(0).uniform(-0.5, 0.5, (2, 8000)).astype(np.float32)


class TestNames:
    def test_names_are_those_of_the_layers_in_every_process(self, encoder):
        names = named_variables(encoder, "encoder")
        assert len(names) == len(encoder.trainable_variables) == micro.PARAMETERS
        assert names["encoder/network/slow/stem_conv0/kernel"] is encoder.trainable_variables[0]
        # Keras numbers the seed generators of this second one on.
        assert list(named_variables(create_model(encoder.name), "encoder")) == list(names)

    def test_a_name_is_given_once(self):
        layers = [keras.layers.Dense(2, name="same") for _ in range(2)]
        for layer in layers:
            layer.build((None, 3))

        weights = [variable for layer in layers for variable in layer.weights]
        pair = types.SimpleNamespace(name="pair", weights=weights)
        with pytest.raises(ModelError, match="head/same/kernel"):
            named_variables(pair, "head")


class TestClassifierModule:
    def test_embedding_and_logits(
        self, encoder, micro_run, micro_classifier, micro_arrays, waveform
    ):
        load_encoder(encoder, open_checkpoint(micro_run))
        wanted = np.asarray(encoder(waveform, training=False))
        logits = wanted.astype(np.float64) @ micro_arrays["head/logits/kernel"]
        logits += micro_arrays["head/logits/bias"]
        module = load(micro_classifier)
        served = module.signatures["serving_default"](waveform=tf.constant(waveform))
        assert set(served) == {"embedding", "logits"}
        np.testing.assert_allclose(module(waveform), wanted, atol=1e-5)
        np.testing.assert_allclose(module.logits(waveform), logits, atol=1e-5)
        np.testing.assert_allclose(served["embedding"], wanted, atol=1e-5)
        np.testing.assert_allclose(served["logits"], logits, atol=1e-5)
        # The weights are those of the checkpoint.
        np.testing.assert_array_equal(
            module.trainable_variables[0], micro_arrays["encoder/network/slow/stem_conv0/kernel"]
        )
        # The head is beside what the embedding trains.
        assert len(module.trainable_variables) == micro.PARAMETERS
        assert [tuple(v.shape) for v in module.head_variables] == [(micro.FEATURES, 4), (4,)]
        assert len(module.variables) == len(encoder.variables) + 2

    def test_class_map(self, micro_classifier):
        with open(micro_classifier / "assets" / "class_map.csv", newline="") as file:
            rows = list(csv.reader(file))
        assert rows == [["index", "display_name"], *([str(i), n] for i, n in enumerate(CLASSES))]

    def test_card(self, micro_run, micro_classifier):
        card = locate(micro_classifier).card
        file = micro_run / "checkpoints" / "step-00000020.npz"
        assert card["weights"] == {
            "source": "pretrained",
            "objective": "classification",
            "step": 20,
            "file": file.name,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            **FACTS,
        }
        assert card["name"] == "slowfast_nfnet_micro_classification" and card["classes"] == 4
        assert card["class_map"] == "assets/class_map.csv" and card["notes"] == []
        assert "logits" in card["interface"] and card["embedding_size"] == micro.FEATURES

    @pytest.mark.parametrize(
        ("output_key", "entry_point"), [(None, "__call__"), ("logits", "serving_default")]
    )
    def test_the_adapter_finds_the_embedding_and_the_logits(
        self, tagger, waveform, output_key, entry_point
    ):
        stated, _ = stated_interface(locate(tagger.path), Interface(output_key=output_key))
        encoder = open_encoder(locate(tagger.path), stated)
        assert encoder.interface["entry_point"] == entry_point
        module = load(tagger.path)
        wanted = module.logits(waveform) if output_key else module(waveform)
        assert wanted.shape == (2, len(tagger.tags) if output_key else 160)
        np.testing.assert_allclose(encoder.embed(waveform), wanted, atol=1e-5)
        one = module.logits(waveform[0]) if output_key else module(waveform[0])
        np.testing.assert_allclose(one, wanted[:1], atol=1e-5)

    def test_conformance_sees_wrong_logits_and_names(self, tagger, waveform):
        module = load(tagger.path)
        case = {"classes": np.array(tagger.tags), "waveform/training": waveform}
        assert f"{len(tagger.tags)} classes" in conformance._check_classes(
            module, case, trains=True
        )
        case["classes"] = case["classes"][::-1]
        with pytest.raises(conformance.ConformanceError, match="in order"):
            conformance._check_classes(module, case, trains=True)

        class Cases(dict):
            files = ("fresh_logits/x",)

        cases = Cases({"waveform/x": waveform, "fresh_logits/x": module.logits(waveform).numpy()})
        assert conformance._check_outputs(module, cases, "fresh").startswith("3 outputs")
        module.head_variables[1].assign_add(0.1 * tf.one_hot(1, len(tagger.tags)))
        with pytest.raises(conformance.ConformanceError, match="logits"):
            conformance._check_outputs(module, cases, "fresh")

    def test_its_logits_score_audioset(self, tagger, tmp_path):
        """The native head, scored as it is, against the same sums in NumPy."""
        statistics = create_model("log_mel_statistics")

        def in_numpy(batch):
            embedding = np.asarray(statistics(batch))
            return embedding @ tagger.head["head/logits/kernel"] + tagger.head["head/logits/bias"]

        results, store = tmp_path / "results", tmp_path / "store"
        arguments = [
            f"--handle={tagger.path}",
            "--tasks=mini_audioset",
            "--protocol=smoke",
            f"--output={results}",
            f"--store={store}",
            "--progress=none",
        ]
        assert evaluate_command.main([*arguments, "--native_head=logits"]) == 0
        assert evaluate_command.main(arguments) == 0
        options = {"protocol": "smoke", "native_head": "logits", "output": results, "store": store}
        evaluate(in_numpy, ["mini_audioset"], **options)
        function, module = sorted((results / "smoke").iterdir())
        assert function.name.startswith("in_numpy-")
        assert module.name.startswith("log_mel_statistics_classification-")
        found, wanted = [
            np.load(folder / "mini_audioset-native_head.predictions.npz")["scores"]
            for folder in (module, function)
        ]
        assert found.shape[1] == len(tagger.tags)
        np.testing.assert_allclose(found, wanted, atol=1e-4)
        # Without the flag the same module gives its embedding, and a head is trained on it.
        trained = json.loads((module / "mini_audioset.json").read_text())
        assert trained["model"]["embedding_size"] == 160 and trained["score"] > 60
        assert trained["model"]["training"]["step"] == 7


class TestWhichCheckpoint:
    @pytest.fixture
    def run(self, tmp_path):
        folder = write_run(tmp_path / "run")
        for step in (5, 900, 1000):
            write_checkpoint(folder, step)
        (folder / "checkpoints" / ".tmp-1-step-00002000.npz").touch()
        return folder

    def test_the_newest_by_number(self, run):
        write_checkpoint(run, 123456789)  # has more digits, and comes before 900 as text
        assert open_checkpoint(run).step == 123456789

    def test_a_step_and_the_best(self, run):
        (run / "checkpoints" / "best.json").write_text('{"step": 900, "by": "mean", "value": 61.5}')
        assert open_checkpoint(run, 5).step == 5
        assert open_checkpoint(run, "best").step == 900

    def test_a_file_inside_a_run(self, run):
        path = run / "checkpoints" / "step-00000900.npz"
        kept = run / "kept.npz"
        kept.write_bytes(path.read_bytes())
        assert open_checkpoint(path).step == open_checkpoint(kept).step == 900
        assert open_checkpoint(path).run.model == "log_mel_statistics"

    @pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "pickled", "foreign"])
    def test_a_damaged_newest_one_is_passed_over_and_named(self, run, damage):
        path = run / "checkpoints" / "step-00001000.npz"
        whole = path.read_bytes()
        if damage == "pickled":
            np.savez(path, metadata=np.array('{"schema": 1, "step": 1}'), x=np.array([{}]))
        elif damage == "foreign":
            np.savez(path, x=np.zeros(3))
        else:
            flipped = whole.replace(b"schema".decode().encode("utf-32-le"), b"?" * 24)
            assert flipped != whole
            kinds = {"cut": whole[: len(whole) // 2], "empty": b"", "flipped": flipped}
            path.write_bytes(kinds[damage])
        said = []
        assert open_checkpoint(run, say=said.append).step == 900
        assert len(said) == 1 and str(path) in said[0]
        # Whoever asks for that one does not get another.
        with pytest.raises(CheckpointError, match="step-00001000"):
            open_checkpoint(run, 1000)

    def test_the_command_says_what_it_passed_over(self, run, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr(export, "_fresh_process", no_check)
        (run / "checkpoints" / "step-00001000.npz").write_bytes(b"")
        assert command.main([f"--checkpoint={run}", f"--output={tmp_path / 'm'}"]) == 0
        assert "step-00001000.npz is damaged" in capsys.readouterr().err
        card = locate(tmp_path / "m").card
        assert card["weights"]["step"] == 900 and card["name"] == "log_mel_statistics_simclr"
        assert "classes" not in card and "logits" not in card["interface"]


class TestWrongInputs:
    def _fails(self, capsys, *arguments):
        """The command's one sentence."""
        assert command.main([*arguments, "--output=never-written"]) == 2
        (sentence,) = capsys.readouterr().err.strip().splitlines()
        return sentence

    @pytest.mark.parametrize(
        ("arguments", "word"),
        [
            (["--checkpoint={0}/nowhere"], "no such folder"),
            (["--checkpoint={0}"], "no run.json"),
            (["--checkpoint={0}/stray.npz"], "no run's folder"),
            (["--checkpoint={0}/empty"], "holds no checkpoint"),
            (["--checkpoint={0}/run", "--step=3"], "no checkpoint of step 3; it has: 4"),
            (["--checkpoint={0}/run", "--step=best"], "no best checkpoint"),
            (["--checkpoint={0}/run", "--step=last"], "--step=last"),
            (["--checkpoint={0}/run/checkpoints/step-00000004.npz", "--step=4"], "one checkpoint"),
            (["--checkpoint={0}/run", "--model=slowfast_nfnet_f0"], "leave --model out"),
            (
                ["--checkpoint={0}/run", "--model=log_mel_statistics", "--random_weights"],
                "exclude each other",
            ),
            (["--checkpoint={0}/run", "--random_weights"], "exclude each other"),
            (["--model=log_mel_statistics", "--step=4"], "--step goes with --checkpoint"),
        ],
    )
    def test_flags(self, tmp_path, capsys, arguments, word):
        write_checkpoint(write_run(tmp_path / "run"), 4)
        write_run(tmp_path / "empty")
        np.savez(tmp_path / "stray.npz", x=np.zeros(1))
        arguments = [argument.format(tmp_path) for argument in arguments]
        assert word in self._fails(capsys, *arguments)

    @pytest.mark.parametrize(
        ("text", "word"),
        [
            ("{", "no JSON"),
            ("[]", "no JSON object"),
            ('{"schema": 2}', "schema 2"),
            ('{"schema": 1, "objective": "simclr"}', "'model'"),
            ('{"schema": 1, "model": "resnet", "objective": "simclr"}', "no model 'resnet'"),
            ('{"schema": 1, "model": "log_mel_statistics", "objective": 3}', "'objective'"),
            (
                '{"schema": 1, "model": "log_mel_statistics", "objective": "classification",'
                ' "label_names": [1]}',
                "label_names",
            ),
            (
                '{"schema": 1, "model": "log_mel_statistics", "objective": "simclr", "data": []}',
                "'data' is not a JSON object",
            ),
        ],
    )
    def test_a_malformed_run(self, tmp_path, capsys, text, word):
        write_checkpoint(write_run(tmp_path), 4)
        (tmp_path / "run.json").write_text(text)
        assert word in self._fails(capsys, f"--checkpoint={tmp_path}")

    def test_no_readable_checkpoint(self, tmp_path, capsys):
        folder = write_run(tmp_path / "run")
        for step in (1, 2):
            (folder / "checkpoints" / f"step-{step:08d}.npz").write_bytes(b"PK")
        with pytest.raises(CheckpointError, match=r"none of its 2 checkpoint\(s\)"):
            open_checkpoint(folder, say=lambda text: None)

    @pytest.mark.parametrize("metadata", [{"schema": 2}, {"step": "4"}, {"step": True}])
    def test_metadata(self, tmp_path, metadata):
        folder = write_run(tmp_path / "run")
        path = write_checkpoint(folder, 4, metadata=metadata)
        with pytest.raises(CheckpointError, match="step-00000004"):
            open_checkpoint(path)

    def test_weights_of_another_model(self, tmp_path, encoder, micro_arrays, capsys):
        """Nothing is assigned unless everything fits."""
        name = "encoder/network/fast/final_conv/kernel"
        before = np.asarray(encoder.trainable_variables[0])
        for change, word in {
            "none": f"{micro.PARAMETERS} missing",
            "less": f"1 missing: {name}",
            "shape": f"1 of a wrong shape: {name}",
            "more": "1 unknown: encoder/more",
            "whole": "1 not floating point",
            "nan": "1 with values that are not finite",
        }.items():
            arrays = dict(micro_arrays)
            if change == "none":
                arrays = {}
            elif change == "less":
                del arrays[name]
            elif change == "more":
                arrays["encoder/more"] = np.zeros(2, np.float32)
            else:
                arrays[name] = {
                    "shape": arrays[name][..., 1:],
                    "whole": arrays[name].astype(np.int32),
                    "nan": arrays[name] * np.nan,
                }[change]
            folder = write_run(tmp_path / change, micro.NAME)
            path = write_checkpoint(folder, 4, arrays)
            with pytest.raises(CheckpointError, match=word) as caught:
                load_encoder(encoder, open_checkpoint(path))
            assert str(path) in str(caught.value) and micro.NAME in str(caught.value)
            np.testing.assert_array_equal(encoder.trainable_variables[0], before)
        # The command says the same, before it writes anything.
        assert command.main([f"--checkpoint={tmp_path / 'none'}", "--output=never-written"]) == 2
        assert f"{micro.PARAMETERS} missing" in capsys.readouterr().err.strip().splitlines()[-1]

    @pytest.mark.parametrize(
        ("size", "classes", "word"), [(9, 4, "wrong shape"), (0, 0, "missing")]
    )
    def test_a_head_that_does_not_fit(self, tmp_path, size, classes, word):
        folder = write_run(tmp_path / "run", objective="classification", classes=CLASSES)
        path = write_checkpoint(folder, 4, head_arrays(size, classes) if size else {})
        with pytest.raises(CheckpointError, match=word):
            load_classifier(open_checkpoint(path), 160)

    def test_the_script_is_the_same_command(self, repository, tmp_path):
        done = subprocess.run(
            [
                sys.executable,
                repository / "export_hub.py",
                f"--checkpoint={tmp_path}/x",
                "--output=m",
            ],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2 and "no such folder" in done.stderr
