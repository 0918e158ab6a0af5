"""Fine-tuning a tiny module, against its closed form."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from finetune.toy_encoder import RATE, save_filter_bank, write_tones

from hares_tf.commands import finetune as command
from hares_tf.evaluation.encoders.handle import open_encoder, stated_interface
from hares_tf.evaluation.encoders.interface import Interface
from hares_tf.finetune import FinetuneError, Settings, finetune, read_recordings
from hares_tf.finetune import module as export
from hares_tf.finetune.encoder import open_module
from hares_tf.hub import HubLayer, locate

KNOWN = Interface(sample_rate=RATE)
# Strong enough to find filters that tell the tones apart.
TRAINING = Settings(learning_rate=0.05, epochs=12, batch=8)


@pytest.fixture(scope="session")
def tones(tmp_path_factory):
    return write_tones(tmp_path_factory.mktemp("tones") / "tones")


@pytest.fixture(scope="session")
def bank(tmp_path_factory):
    return save_filter_bank(tmp_path_factory.mktemp("bank") / "bank", table=True)


@pytest.fixture(scope="session")
def tuned(tmp_path_factory, bank, tones):
    """(outcome, loaded module) of a whole run."""
    output = tmp_path_factory.mktemp("tuned") / "tuned"
    recordings = read_recordings(tones)
    outcome = finetune(bank, recordings, output, settings=TRAINING, interface=KNOWN)
    return outcome, tf.saved_model.load(str(output))


def by_name(variables):
    return {variable.name.split(":")[0]: variable.numpy() for variable in variables}


def embedding_of(waveforms, filters):
    """The closed form of `FilterBank`."""
    padded = np.pad(waveforms, [(0, 0), (2, 2)])
    pieces = np.lib.stride_tricks.sliding_window_view(padded, 5, axis=1)
    return np.log(np.mean((pieces @ filters[:, 0]) ** 2, axis=1) + 1e-5)


def noise(batch, samples):
    return np.random.default_rng(3).normal(0, 0.2, (batch, samples)).astype(np.float32)


def test_it_learns_what_the_frozen_features_do_not_hold(tuned):
    results = tuned[0].report["results"]
    assert results["frozen_head"]["accuracy"] < 90
    assert results["fine_tuned"]["accuracy"] == 100
    assert results["fine_tuned"]["clips"] == 8
    training = tuned[0].report["training"]
    best = training["history"][training["best_epoch"] - 1]
    assert best["validation_accuracy"] == max(e["validation_accuracy"] for e in training["history"])


def test_only_trainable_variables_change(tuned, bank):
    before = by_name(tf.saved_model.load(str(bank)).variables)
    after = by_name(tuned[1].variables)
    assert not np.allclose(after["filters"], before["filters"])
    # Nothing leads to one of them, and the other is not to be trained.
    assert after["shift"] == before["shift"] and after["untouched"] == before["untouched"]
    assert [v.name for v in tuned[1].trainable_variables] == ["filters:0", "shift:0"]
    assert by_name(tuned[1].head_variables).keys() == {"head_kernel", "head_bias"}
    assert "old_head" not in after


def test_the_written_module_is_the_closed_form(tuned):
    variables = by_name(tuned[1].variables)
    for batch, samples in ((1, 5), (3, 777)):
        waveform = noise(batch, samples)
        embedding = embedding_of(waveform, variables["filters"])
        logits = embedding @ variables["head_kernel"] + variables["head_bias"]
        served = tuned[1].signatures["serving_default"](waveform=tf.constant(waveform))
        louder = tuned[1].signatures["with_gain"](
            waveform=tf.constant(waveform / 2), gain=tf.fill([batch], 2.0)
        )
        for actual in (tuned[1](waveform), served["embedding"], louder["embedding"]):
            np.testing.assert_allclose(actual, embedding, atol=1e-4)
        for actual in (tuned[1].logits(waveform), served["logits"], louder["logits"]):
            np.testing.assert_allclose(actual, logits, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(tuned[1](waveform[0]), embedding[:1], atol=1e-4)
    assert tuned[1].signatures["words"](waveform=tf.zeros([2, 9]))["word"].numpy()[0] == b"zero"
    assert len(tuned[1].regularization_losses) == 1
    gradients = tf.GradientTape()
    with gradients:
        loss = tf.reduce_sum(tuned[1].train_fn(noise(2, 400)))
    assert gradients.gradient(loss, tuned[1].trainable_variables[0]) is not None


def test_classes_are_in_the_order_of_the_logits(tuned, tones):
    with open(tuned[1].class_map.asset_path.numpy(), encoding="utf-8", newline="") as file:
        names = [row["display_name"] for row in csv.DictReader(file)]
    assert names == ["high", "low"]
    for number in range(3):
        for label, name in enumerate(names):
            waveform, _ = soundfile.read(tones / name / f"{number}.wav", dtype="float32")
            assert int(np.argmax(tuned[1].logits(waveform))) == label


def test_the_table_of_test_clips_is_what_the_module_says(tuned, tones):
    outcome, module = tuned
    with open(outcome.report_folder / "held_out.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 and {row["label"] for row in rows} == {"high", "low"}
    for row in rows:
        waveform, _ = soundfile.read(tones / row["id"], dtype="float32")
        probability = tf.nn.softmax(module.logits(waveform))[0].numpy()
        assert row["predicted"] == ("high", "low")[int(probability.argmax())]
        assert float(row["probability"]) == pytest.approx(probability.max(), abs=1e-3)


def test_the_module_is_a_layer_like_its_source(tuned):
    outcome, module = tuned
    waveform = noise(3, 400)
    np.testing.assert_allclose(HubLayer(outcome.output)(waveform), module(waveform), rtol=1e-5)
    logits = HubLayer(outcome.output, output_key="logits")
    np.testing.assert_allclose(logits(waveform), module.logits(waveform), rtol=1e-5, atol=1e-5)
    layer = HubLayer(outcome.output, trainable=True)
    assert len(layer.trainable_variables) == 2 and len(layer.losses) == 1
    keras_layer = pytest.importorskip("tensorflow_hub").KerasLayer(
        str(outcome.output), trainable=True
    )
    np.testing.assert_allclose(keras_layer(waveform), module(waveform), rtol=1e-5)
    assert len(keras_layer.trainable_variables) == 2


def test_the_card_says_where_it_comes_from(tuned, bank):
    module = locate(tuned[0].output)
    card = module.card
    assert (card["name"], card["classes"], card["sample_rate"]) == ("bank_finetuned", 2, RATE)
    weights = card["weights"]
    assert weights["from"] == {"name": "bank", "content_hash": locate(bank).content_hash()}
    assert weights["data"]["clips"] == {"train": 26, "validation": 6, "test": 8}
    assert weights["data"]["clips_by_class"] == {"high": 20, "low": 20}
    assert weights["settings"]["seed"] == 0 and weights["held_out"]["accuracy"] == 100
    assert "logits" in card["interface"]["with_gain"]
    report = json.loads((tuned[0].report_folder / "report.json").read_text())
    assert report == json.loads(json.dumps(tuned[0].report))
    # It is a handle like any other, whose logits can be asked for.
    stated, source = stated_interface(module, Interface(output_key="logits"))
    assert stated.sample_rate == RATE and "card" in source
    waveform = noise(2, 300)
    actual = open_encoder(module, stated).embed(waveform)
    np.testing.assert_allclose(actual, tuned[1].logits(waveform), rtol=1e-4, atol=1e-4)


def test_the_same_seed_gives_the_same_module(tuned, tmp_path, bank, tones):
    recordings = read_recordings(tones)
    outcome = finetune(bank, recordings, tmp_path / "o", settings=TRAINING, interface=KNOWN)
    again = by_name(tf.saved_model.load(str(outcome.output)).variables)
    for name, value in by_name(tuned[1].variables).items():
        np.testing.assert_allclose(again[name], value, rtol=1e-2, atol=1e-2)


def test_worse_epochs_are_not_kept(tmp_path, bank, tones, monkeypatch):
    """The head of that time comes back, and all variables of the encoder."""
    from hares_tf.finetune import pipeline
    from hares_tf.finetune.head import Score

    scored = []

    def badly(run, head):
        scored.append(by_name(run._encoder.hub.module.variables)["filters"])
        return Score(0.0, 9.0)

    monkeypatch.setattr(pipeline._Run, "_validate", badly)
    settings = Settings(learning_rate=0.05, epochs=2)
    recordings = read_recordings(tones)
    outcome = finetune(bank, recordings, tmp_path / "o", settings=settings, interface=KNOWN)
    before = by_name(tf.saved_model.load(str(bank)).variables)
    after = by_name(tf.saved_model.load(str(outcome.output)).variables)
    assert len(scored) == 2 and not np.allclose(scored[1], before["filters"])
    np.testing.assert_array_equal(after["filters"], before["filters"])
    results = outcome.report["results"]
    assert results["fine_tuned"] == results["frozen_head"]
    assert (
        outcome.report["training"]["best_epoch"] == 0 and "kept: the frozen encoder" in outcome.text
    )


class Strange(tf.Module):
    """One waveform of one length at a time; frames of an embedding in a tuple; no mode."""

    variables = None
    trainable_variables = None

    def __init__(self):
        super().__init__()
        self.gain = tf.Variable([[1.0, 2.0, 3.0]], name="gain")
        self.variables = self.trainable_variables = [self.gain]

    @tf.function(input_signature=[tf.TensorSpec([400], tf.float32)])
    def __call__(self, waveform):
        frames = tf.abs(tf.reshape(waveform, [4, 100]))
        return tf.reduce_max(frames), tf.reduce_mean(frames, axis=1)[:, tf.newaxis] * self.gain


def test_any_interface_is_wrapped_into_the_usual_one(tmp_path, tones):
    strange = Strange()
    tf.saved_model.save(strange, str(tmp_path / "strange"))
    known = Interface(sample_rate=RATE, output_key=1)
    settings = Settings(epochs=1)
    recordings = read_recordings(tones)
    outcome = finetune(
        tmp_path / "strange", recordings, tmp_path / "o", settings=settings, interface=known
    )
    module = tf.saved_model.load(str(outcome.output))
    waveform = noise(2, 600)
    gain = by_name(module.variables)["gain"]
    tiles = np.abs(np.pad(waveform, [(0, 0), (0, 200)])).reshape(2, 2, 400)
    expected = tiles.mean(axis=2).mean(axis=1, keepdims=True) * gain
    np.testing.assert_allclose(module(waveform), expected, rtol=1e-5)
    assert outcome.report["window_seconds"] == 400 / RATE
    assert any("no training mode" in note for note in outcome.report["notes"])
    stated, _ = stated_interface(locate(outcome.output), Interface())
    np.testing.assert_allclose(
        open_encoder(locate(outcome.output), stated).embed(waveform), expected, rtol=1e-5
    )


def test_a_module_without_trainable_variables_gets_a_head(tmp_path, tones):
    frozen = save_filter_bank(tmp_path / "frozen", trainable=False)
    settings = Settings(window_seconds=0.04)
    recordings = read_recordings(tones)
    outcome = finetune(frozen, recordings, tmp_path / "o", settings=settings, interface=KNOWN)
    assert "no trainable variables" in outcome.report["training"]["skipped"]
    module = tf.saved_model.load(str(outcome.output))
    assert list(module.trainable_variables) == [] and not hasattr(module, "train_fn")
    # A clip of 0.1 s has three windows of 0.04 s, the last one half empty; the score is their mean.
    with open(outcome.report_folder / "held_out.csv", encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    waveform, _ = soundfile.read(tones / row["id"], dtype="float32")
    windows = np.pad(waveform, (0, 160)).reshape(3, 320)
    variables = by_name(module.variables)
    embedding = embedding_of(windows, variables["filters"])
    logits = embedding @ variables["head_kernel"] + variables["head_bias"]
    probability = tf.nn.softmax(logits.mean(axis=0)).numpy()
    assert float(row["probability"]) == pytest.approx(probability.max(), abs=2e-3)


def test_a_module_that_was_written_wrongly_is_found(tuned):
    output = tuned[0].output
    stated, _ = stated_interface(locate(output), Interface())
    interface = open_encoder(locate(output), stated).interface
    encoder = open_module(locate(output), interface, trainable=True)
    classes = ("high", "low")
    kernel, bias = (variable.numpy() for variable in encoder.hub.module.head_variables)
    export.check_written(encoder, (kernel, bias), classes, RATE, output)
    for head, names, words in (
        ((kernel, bias + 1e-2), classes, "logits .* deviates"),
        ((kernel, bias), ("low", "high"), "class map"),
        ((kernel[:, :1], bias[:1]), classes, "variables"),
    ):
        with pytest.raises(FinetuneError, match=f"conformance check: .*{words}.* Nothing was kept"):
            export.check_written(encoder, head, names, RATE, output)
    encoder.hub.module.trainable_variables[0].assign_add(tf.fill([5, 1, 4], 1e-2))
    with pytest.raises(FinetuneError, match=r"embedding.* deviates"):
        export.check_written(encoder, (kernel, bias), classes, RATE, output)


def run(bank, tones, output, *more):
    arguments = (f"--handle={bank}", f"--audio={tones}", f"--output={output}")
    return command.main([*arguments, f"--sample_rate={RATE}", "--progress=none", *more])


@pytest.mark.parametrize("where", ["training", "writing"])
def test_killed_in_the_middle_it_leaves_nothing(where, tmp_path, bank, tones, monkeypatch, capsys):
    from hares_tf.finetune import training

    def kill(*_):
        signal.raise_signal(signal.SIGTERM)
        return 1.0

    target = (
        (training.BestEpoch, "on_epoch_end") if where == "training" else (export, "check_written")
    )
    monkeypatch.setattr(*target, kill)
    before = signal.getsignal(signal.SIGTERM)
    assert run(bank, tones, tmp_path / "o", "--epochs=1") == 143
    assert "nothing was written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [] and signal.getsignal(signal.SIGTERM) is before


def test_training_that_diverges_is_a_sentence(tmp_path, bank, tones, capsys):
    assert run(bank, tones, tmp_path / "o", "--learning_rate=1e30", "--epochs=2") == 2
    printed = capsys.readouterr().err
    assert "not finite in epoch 1" in printed and "smaller --learning_rate (it is 1e+30)" in printed
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_overwritten_unasked(
    tuned, tmp_path, bank, tones, monkeypatch, capsys
):
    output = tmp_path / "o"
    shutil.copytree(tuned[0].output, output)
    shutil.copytree(tuned[0].report_folder, tmp_path / "o-report")
    assert run(bank, tones, output, "--epochs=0") == 2
    assert "--overwrite" in capsys.readouterr().err
    named, rename = [], os.rename

    def note(source, destination):
        named.append(Path(destination).name)
        rename(source, destination)

    monkeypatch.setattr(os, "rename", note)
    assert run(bank, tones, output, "--epochs=0", "--overwrite", "--name=again") == 0
    # A kill between the two leaves a module, never a report of none.
    assert [name for name in named if name in ("o", "o-report")] == ["o", "o-report"]
    printed = capsys.readouterr().out
    assert (
        "held-out accuracy" in printed and "skipped: --epochs=0 asks for the head alone" in printed
    )
    assert locate(output).card["name"] == "again"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o", "o-report"]
    # And without epochs the encoder is the old one.
    before = by_name(tf.saved_model.load(str(bank)).variables)
    after = by_name(tf.saved_model.load(str(output)).variables)
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--handle=/no/such", "--output=module"], "module exists already"),
        (["--handle=/no/such", "--output=o", "--report=report"], "report exists already"),
        (["--handle=/no/such", "--output=report", "--overwrite"], "is no exported module"),
        (["--handle=/no/such", "--output=o", "--report=module", "--overwrite"], "is not a report"),
        (["--handle=/no/such", "--output=o", "--report=o/r"], "lie in each other"),
        (["--handle=module", "--output=module", "--overwrite"], "where the module itself lies"),
    ],
)
def test_destinations_are_checked_before_recordings_and_tensorflow(arguments, words, tmp_path):
    for name, content in (("module", "saved_model.pb"), ("report", "report.json")):
        (tmp_path / name).mkdir()
        (tmp_path / name / content).touch()
    code = (
        "import sys, hares_tf.commands.finetune as c; code = c.main(sys.argv[1:]); "
        "assert not {'tensorflow', 'keras'} & set(sys.modules); sys.exit(code)"
    )
    command_line = [sys.executable, "-c", code, "--audio=/no/such/audio", *arguments]
    process = subprocess.run(command_line, cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 2 and words in process.stderr, process.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["--handle"]),
        (["--handle=x"], ["--audio"]),
        (["--handle=BANK", "--audio=/no/such", "--output=o"], ["/no/such", "no such folder"]),
        (["--handle=/no/such", "--audio=TONES", "--output=o"], ["/no/such", "no such folder"]),
        (["--handle=BANK", "--audio=TONES", "--output=o"], ["--sample_rate"]),
        (
            ["--handle=BANK", "--audio=TONES", "--output=BANK", "--overwrite"],
            ["where the module itself lies"],
        ),
        (["--handle=BANK", "--audio=TONES", "--output=o", "--report=o"], ["in each other"]),
        (["--handle=python:math:sin", "--audio=TONES", "--output=o"], ["Python function"]),
        (["--handle=x", "--audio=y", "--output=o", "--split_column=s"], ["--labels=FILE.csv"]),
        (["--handle=x", "--audio=y", "--output=o", "--epochs=-1"], ["epochs is -1"]),
        (["--handle=x", "--audio=y", "--output=o", "--window_seconds=0"], ["window_seconds"]),
        (["--handle=x", "--audio=y", "--output=o", "--labels=t", "--where=x"], ["COLUMN=VALUE"]),
        (["--handle=x", "--audio=y", "--output=o", "--sample_rate=1"], ["sample_rate"]),
    ],
)
def test_wrong_use_is_one_sentence_and_code_2(
    arguments, words, bank, tones, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    filled = [a.replace("BANK", str(bank)).replace("TONES", str(tones)) for a in arguments]
    if not any(a.startswith("--sample_rate") for a in filled) and words != ["--sample_rate"]:
        filled += [f"--sample_rate={RATE}"] * bool(filled)
    assert command.main(filled) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err
    for word in words:
        assert word in captured.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_recorded_digits_with_an_exported_network(tmp_path, tiny_module, shared_dir):
    """The tiny network fits in, whatever it learns in two epochs of a few recordings."""
    digits = shared_dir / "data" / "fsdd"
    recordings = read_recordings(
        digits,
        digits / "metadata.csv",
        where=[("label", ("0", "1", "7")), ("index", tuple(map(str, range(5))))],
    )
    settings = Settings(epochs=2, learning_rate=1e-3)
    outcome = finetune(tiny_module, recordings, tmp_path / "o", settings=settings)
    module, source = (tf.saved_model.load(str(p)) for p in (outcome.output, tiny_module))
    assert outcome.report["results"]["fine_tuned"]["clips"] == 18
    assert outcome.report["results"]["frozen_head"]["accuracy"] > 40
    assert len(module.trainable_variables) == len(source.trainable_variables)
    waveform = noise(2, 8000)
    logits = module.signatures["serving_default"](waveform=tf.constant(waveform))["logits"]
    np.testing.assert_allclose(module.logits(waveform), logits, rtol=1e-4, atol=1e-4)
    for name, signature in source.signatures.items():
        given = set(signature.structured_outputs) | {"logits"}
        assert set(module.signatures[name].structured_outputs) == given
    card, old = locate(outcome.output).card, locate(tiny_module).card
    assert card["frontend"] == old["frontend"]
    assert card["weights"]["from"]["weights"] == old["weights"]
    assert card["parameters"] == old["parameters"]
