"""The exported module, as the stacks that load it see it.

Each trap of exporting a Keras 3 model for TF-Hub, found by experiment, has its test here.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import micro
import numpy as np
import pytest
import tensorflow as tf
from unchecked import no_check

from hares_tf.commands import export as command
from hares_tf.hub import HubError, locate
from hares_tf.hub.export import conformance
from hares_tf.hub.export import exporter as export
from hares_tf.hub.export import module as hub_module
from hares_tf.hub.loader import load
from hares_tf.hub.model_card import ModelCard
from hares_tf.models import create_model
from hares_tf.utils.files import sha256_file


@pytest.fixture(scope="module")
def tiny(tiny_module):
    return load(tiny_module)


@pytest.fixture
def waveform():
    return np.random.default_rng(0).uniform(-0.5, 0.5, (2, 8000)).astype(np.float32)


def test_card(tiny_module, statistics_module):
    card = locate(tiny_module).card
    assert card["name"] == "slowfast_nfnet_tiny" and card["version"] == 1
    assert card["sample_rate"] == 16000 and card["embedding_size"] == 304
    assert card["weights"] == {"source": "random", "seed": 0}
    assert card["parameters"] == create_model("slowfast_nfnet_tiny").network.count_params()
    assert "skip gains are 0" in card["notes"][0]
    frontend = card["frontend"]
    assert (frontend["frame_length"], frontend["num_bins"], frontend["standardize"]) == (
        400,
        80,
        True,
    )
    statistics = locate(statistics_module).card
    assert statistics["parameters"] == 0 and statistics["embedding_size"] == 160
    assert statistics["notes"] == [] and not statistics["frontend"]["standardize"]


def test_interface(tiny, waveform):
    embedding = tiny(waveform)
    assert embedding.shape == (2, 304) and embedding.dtype == tf.float32
    np.testing.assert_array_equal(tiny(waveform, training=False), embedding)
    signature = tiny.signatures["serving_default"]
    np.testing.assert_allclose(
        signature(waveform=tf.constant(waveform))["embedding"], embedding, atol=1e-6
    )
    assert list(signature.structured_input_signature[1]) == ["waveform"]
    assert list(signature.structured_outputs) == ["embedding"]
    one = tiny(waveform[0])
    assert one.shape == (1, 304)
    np.testing.assert_allclose(one, embedding[:1], atol=1e-5)
    np.testing.assert_allclose(tiny(waveform[0].tolist()), one, atol=1e-6)


def test_trap_variables_are_listed(tiny):
    """tf.Module finds no variables in a Keras 3 model, and properties are not saved."""
    model = create_model("slowfast_nfnet_tiny")
    assert len(tiny.variables) == len(model.variables) > len(tiny.trainable_variables)
    assert len(tiny.trainable_variables) == len(model.trainable_variables) > 100
    assert list(tiny.regularization_losses) == []


def test_trap_signature_outputs_begin_with_the_batch(tiny):
    for outputs in (tiny.signatures[name].structured_outputs for name in tiny.signatures):
        for spec in outputs.values():
            assert spec.shape[0] is None and spec.shape.rank >= 1


def test_trap_no_xla_and_no_python_in_the_graph(tiny_module):
    """Grouped convolutions through Keras embed functions that only XLA can run."""
    operations = list(conformance.saved_operations(tiny_module))
    names = {operation for operation, _ in operations}
    assert "Conv2D" in names and len(operations) > 1000
    assert not {name for name in names if "Xla" in name or "PyFunc" in name}
    assert not any(attributes.get("_XlaMustCompile") for _, attributes in operations)


def test_trap_a_keras_export_would_fail_the_operation_check(tmp_path):
    """The check sees what it is there for: a grouped convolution as Keras exports it."""
    inputs = keras.Input((None, 4, 4))
    outputs = keras.layers.Conv2D(4, 1, groups=2)(inputs)
    keras.Model(inputs, outputs).export(tmp_path / "m", verbose=False)
    with pytest.raises(conformance.ConformanceError, match="XLA"):
        conformance._check_ops(tmp_path / "m")


_KERAS_LAYER_FIT = """
import json, os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np, tensorflow as tf, tf_keras, tensorflow_hub as hub

x = np.random.default_rng(0).uniform(-1, 1, (8, 4000)).astype(np.float32)
y = np.arange(8) % 2
for trainable in (False, True):
    layer = hub.KerasLayer(sys.argv[1], trainable=trainable)
    variables = layer.resolved_object.trainable_variables
    for variable in variables:
        if "skip_gain" in variable.name:
            variable.assign(0.5)          # as in a trained network: its branches speak
    model = tf_keras.Sequential([layer, tf_keras.layers.Dense(2)])
    before = [v.numpy() for v in variables]
    model.compile(tf_keras.optimizers.Adam(1e-3),
                  tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, epochs=3, batch_size=8, verbose=0)
    changed = sum(not np.array_equal(a, b.numpy()) for a, b in zip(before, variables))
    print(json.dumps({"changed": changed, "total": len(variables),
                      "weights": len(layer.trainable_weights)}))
"""


@pytest.mark.slow
def test_keras_layer_trains_every_variable_or_none(tiny_module):
    done = subprocess.run(
        [sys.executable, "-c", _KERAS_LAYER_FIT, str(tiny_module)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    frozen, trained = map(json.loads, done.stdout.splitlines()[-2:])
    assert frozen["changed"] == frozen["weights"] == 0 and frozen["total"] > 100
    assert trained["changed"] == trained["weights"] == trained["total"] == frozen["total"]


_WITHOUT_ONEDNN = """
import numpy as np, tensorflow as tf
from hares_tf.layers import grouped_conv2d
x, kernel, bias = tf.ones([1, 4, 4, 4]), tf.Variable(tf.ones([1, 1, 2, 4])), tf.zeros([4])
def gradient(training):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(grouped_conv2d(x, kernel, bias, training=training))
    return tape.gradient(loss, kernel)
np.testing.assert_allclose(gradient(True), 16)
# In a graph, a bias_add would be fused into an operation that refuses groups.
np.testing.assert_allclose(tf.function(grouped_conv2d)(x, kernel, bias), 2)
try:
    gradient(False)
    print("native gradient exists")
except tf.errors.OpError:
    print("native gradient missing")
"""


def test_trap_grouped_convolutions_train_without_onednn():
    """There the native form has no gradient; training takes the split form everywhere on a CPU."""
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"}
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_ONEDNN], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    # The day this changes, the split form can go.
    assert "native gradient missing" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("flavor", ["reusable", "serving"])
def test_modules_run_without_onednn(tmp_path, flavor):
    """TensorFlow leaves it off on some processors; an export checks itself. Others are with it."""
    program = "import micro, sys; from hares_tf.commands.export import main; sys.exit(main())"
    flags = [f"--model={micro.NAME}", "--random_weights", f"--flavor={flavor}"]
    paths = [str(Path(micro.__file__).parents[n]) for n in (1, 0)]
    done = subprocess.run(
        [sys.executable, "-c", program, *flags, f"--output={tmp_path / 'module'}"],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "TF_ENABLE_ONEDNN_OPTS": "0",
            "PYTHONPATH": os.pathsep.join(paths),
        },
    )
    assert done.returncode == 0, done.stderr
    assert "equal the in-memory model" in done.stdout + done.stderr


def test_regularization_losses_are_saved(tmp_path):
    model = create_model(micro.NAME)
    kernel = model.network.trainable_variables[0]
    kernel.regularizer = keras.regularizers.L2(0.5)
    hub_module.save(model, ModelCard({}), tmp_path / "m")
    loaded = tf.saved_model.load(str(tmp_path / "m"))
    (loss,) = loaded.regularization_losses
    np.testing.assert_allclose(loss(), 0.5 * np.sum(np.square(kernel)), rtol=1e-6)


class TestConformance:
    """The check that guards every export fails when a promise is broken."""

    @pytest.fixture(scope="class")
    def cases(self, tmp_path_factory):
        keras.utils.set_random_seed(0)
        file = tmp_path_factory.mktemp("cases") / "cases.npz"
        np.savez(file, **export.reference_cases(create_model("slowfast_nfnet_tiny")))
        return file

    def _check(self, loaded, cases, function, *arguments):
        with np.load(cases, allow_pickle=False) as opened:
            return function(loaded, opened, *arguments)

    def test_other_weights_fail(self, tiny_module, cases):
        loaded = load(tiny_module)
        loaded.trainable_variables[0].assign_add(
            tf.random.normal(loaded.trainable_variables[0].shape)
        )
        with pytest.raises(conformance.ConformanceError, match="deviates"):
            self._check(loaded, cases, conformance._check_outputs, "fresh")

    def test_silent_branches_fail_the_stochastic_promise(self, tiny_module, cases):
        loaded = load(tiny_module)
        with pytest.raises(conformance.ConformanceError, match="does not differ from one call"):
            self._check(loaded, cases, conformance._check_training, True)

    def test_missing_variables_fail(self, statistics_module, cases):
        with pytest.raises(conformance.ConformanceError, match="variables"):
            self._check(load(statistics_module), cases, conformance._check_variables)


class TestDestination:
    """Nothing is overwritten by accident, nothing half-written is left."""

    def _export(self, output, *arguments):
        return command.main(["--model=log_mel_statistics", f"--output={output}", *arguments])

    def test_refuses_to_overwrite(self, tmp_path, statistics_module, capsys):
        assert self._export(statistics_module) == 2
        assert "--overwrite" in capsys.readouterr().err

    def test_overwrite_replaces_a_module_only(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(export, "_fresh_process", no_check)
        (tmp_path / "precious").mkdir()
        (tmp_path / "precious" / "thesis.tex").touch()
        assert self._export(tmp_path / "precious", "--overwrite") == 2
        assert "leaves it alone" in capsys.readouterr().err
        assert (tmp_path / "precious" / "thesis.tex").exists()

        module = tmp_path / "module"
        module.mkdir()
        assert self._export(module, "--overwrite", "--name=first") == 0
        assert self._export(module, "--overwrite", "--name=second") == 0
        assert locate(module).name == "second"
        assert sorted(p.name for p in tmp_path.iterdir()) == ["module", "precious"]

    def test_a_failed_check_leaves_no_folder(self, tmp_path, monkeypatch):
        model = create_model("log_mel_statistics")
        spoiled = export.reference_cases(model)
        spoiled["fresh/1x1"] = spoiled["fresh/1x1"] + 1
        monkeypatch.setattr(export, "reference_cases", lambda model: spoiled)
        with pytest.raises(HubError, match="deviates"):
            export.export_module(model, tmp_path / "m", weights={"source": "none"})
        assert list(tmp_path.iterdir()) == []

    def test_an_unwritable_place_is_a_sentence(self, tmp_path, capsys):
        (tmp_path / "file").touch()
        assert self._export(tmp_path / "file" / "below") == 2
        assert "Traceback" not in capsys.readouterr().err


def test_weights_come_from_a_file(tmp_path, monkeypatch):
    keras.utils.set_random_seed(5)
    model = create_model(micro.NAME)
    for variable in model.trainable_variables:
        if variable.name == "skip_gain":
            variable.assign(0.7)
    file = tmp_path / "run.weights.h5"
    model.save_weights(file)
    monkeypatch.setattr(export, "_fresh_process", no_check)
    arguments = [f"--model={micro.NAME}", f"--output={tmp_path}/m"]
    assert command.main([*arguments, f"--weights={file}"]) == 0
    waveform = np.random.default_rng(0).uniform(-1, 1, (1, 5000)).astype(np.float32)
    np.testing.assert_allclose(load(tmp_path / "m")(waveform), model(waveform), atol=1e-5)
    card = locate(tmp_path / "m").card
    assert card["weights"]["source"] == "weights" and card["notes"] == []
    assert card["weights"]["file"] == "run.weights.h5" and len(card["weights"]["sha256"]) == 64


def test_weights_that_do_not_fit_are_a_sentence(tmp_path, capsys):
    (tmp_path / "broken.weights.h5").write_bytes(b"not HDF5")
    (tmp_path / "weights.bin").write_bytes(b"")
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    other.save_weights(tmp_path / "other.weights.h5")
    for name, word in {
        "broken.weights.h5": "does not hold the weights of",
        "other.weights.h5": "does not hold the weights of",
        "weights.bin": ".weights.h5",
    }.items():
        arguments = ["--model=slowfast_nfnet_tiny", f"--output={tmp_path}/m"]
        assert command.main([*arguments, f"--weights={tmp_path}/{name}"]) == 2
        assert word in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--model=slowfast_nfnet_tiny"], "has parameters"),
        (["--model=log_mel_statistics", "--random_weights"], "leave --random_weights out"),
    ],
)
def test_weights_flags_follow_the_model(arguments, word, tmp_path, capsys):
    assert command.main([*arguments, f"--output={tmp_path}/m"]) == 2
    assert word in capsys.readouterr().err


def test_an_archive_of_what_is_exported(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(export, "_fresh_process", no_check)
    flags = ["--model=log_mel_statistics", f"--output={tmp_path / 'm'}"]
    archive = tmp_path / "m.tar.gz"
    for wrong, word in (
        ([*flags, f"--archive={tmp_path / 'm.zip'}"], "end in .tar.gz"),
        ([*flags, f"--archive={tmp_path / 'm' / 'm.tar.gz'}"], "inside the module"),
        ([flags[0], f"--serving_root={tmp_path}", f"--archive={archive}"], "exclude each other"),
    ):
        assert command.main(wrong) == 2
        assert word in capsys.readouterr().err and not list(tmp_path.iterdir())
    assert command.main([*flags, f"--archive={archive}"]) == 0
    assert f"{archive}: {sha256_file(archive)}" in capsys.readouterr().out
    assert locate(archive).content_hash() == locate(tmp_path / "m").content_hash()
    assert (tmp_path / "m.tar.gz.sha256").is_file()
    for place, word in (("m.tar.gz", "exists already"), ("no/m.tar.gz", "no such folder")):
        other = ["--model=log_mel_statistics", f"--output={tmp_path / 'n'}"]
        assert command.main([*other, f"--archive={tmp_path / place}"]) == 2
        assert word in capsys.readouterr().err and not (tmp_path / "n").exists()
