"""The examples, run as somebody runs them who has just found them."""

import csv
import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf

from hares_tf.hub import locate
from hares_tf.runtimes.errors import ConversionError

REPOSITORY = Path(__file__).resolve().parents[1]
NAMES = ("embed_folder", "nearest_sounds", "retrain_keras", "retrain_tf_keras")
LABELS = ("clicks", "hum", "noise")
SAMPLES = 8000


class Bands(tf.Module):
    """`[batch, samples] -> [batch, 16]`: log energies of 16 bands, and a trained layer on them."""

    variables = None
    trainable_variables = None

    def __init__(self, card: str):
        super().__init__()
        self.kernel = tf.Variable(tf.eye(16), name="kernel")
        self.variables = [self.kernel]
        self.trainable_variables = [self.kernel]
        self.regularization_losses = []
        self.card = tf.saved_model.Asset(card)

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name="waveform")])
    def __call__(self, waveform):
        power = tf.abs(tf.signal.stft(waveform, 256, 128, pad_end=True))[..., :128] ** 2
        bands = tf.reduce_mean(tf.reshape(power, [tf.shape(power)[0], -1, 16, 8]), [1, 3])
        return tf.math.log(bands + 1e-3) @ self.kernel


@pytest.fixture(scope="module")
def module(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("bands")
    card = {"name": "bands", "sample_rate": 8000}
    (root / "model_card.json").write_text(json.dumps(card), encoding="utf-8")
    tf.saved_model.save(Bands(str(root / "model_card.json")), str(root / "bands"))
    return root / "bands"


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> Path:
    """Ten recordings of each label, and something that is no sound."""
    folder = tmp_path_factory.mktemp("sounds")
    random = np.random.default_rng(0)
    time = np.arange(SAMPLES) / 8000
    for label in LABELS:
        (folder / label).mkdir()
        for number in range(10):
            waveform = {
                "clicks": lambda: (np.arange(SAMPLES) % random.integers(300, 900) == 0) * 0.9,
                "hum": lambda: np.sin(2 * np.pi * random.uniform(50, 200) * time),
                "noise": lambda: random.uniform(-1, 1, SAMPLES),
            }[label]()
            path = folder / label / f"{label}_{number}.wav"
            soundfile.write(path, random.uniform(0.3, 0.9) * waveform, 8000, subtype="FLOAT")
    return folder


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs an example in this process; gives the exit code and what it printed."""

    def run(name: str, **flags) -> tuple[int, str, str]:
        program = str(REPOSITORY / "examples" / f"{name}.py")
        monkeypatch.setattr(sys, "argv", [program, *(f"--{k}={v}" for k, v in flags.items())])
        code = 0
        try:
            runpy.run_path(program, run_name="__main__")
        except SystemExit as end:
            code = end.code
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def waveforms(sounds: Path, label: str) -> np.ndarray:
    files = sorted((sounds / label).glob("*.wav"))
    return np.stack([soundfile.read(path, dtype="float32")[0] for path in files])


def percentages(lines: list[str]) -> list[float]:
    assert [line.split(":")[0] for line in lines] == ["frozen", "fine-tuned"]
    assert all(line.endswith("% are right") for line in lines)
    return [float(line.split()[1].rstrip("%")) for line in lines]


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_short_and_explain_themselves(name):
    text = (REPOSITORY / "examples" / f"{name}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 60
    assert f"    python examples/{name}.py --handle=" in text.split('"""')[1]


@pytest.mark.slow
def test_retrain_keras(run, module, sounds, tmp_path):
    keras.utils.set_random_seed(0)  # otherwise the fine-tuning rarely loses a clip
    code, out, _ = run(
        "retrain_keras", handle=module, audio=sounds, output=tmp_path / "mine", seconds=1
    )
    first, *accuracies, last = out.splitlines()
    assert code == 0 and first == "30 recordings of 3 labels, 6 of them held out"
    assert percentages(accuracies) == [100, 100]
    assert last == f"{tmp_path / 'mine'}: waveform -> embedding, logits"
    # A plain program, without Keras or hares_tf, gets both outputs.
    serve = tf.saved_model.load(str(tmp_path / "mine")).signatures["serving_default"]
    before = tf.saved_model.load(str(module))
    for index, label in enumerate(LABELS):
        outputs = serve(tf.constant(waveforms(sounds, label)))
        assert np.all(np.argmax(outputs["logits"], 1) == index)
        assert np.any(outputs["embedding"] != before(waveforms(sounds, label)))
    card = locate(tmp_path / "mine").card
    assert dict(card) == {
        "name": "mine",
        "sample_rate": 8000,
        "classes": list(LABELS),
        "source": "bands",
    }


def test_retrain_tf_keras(run, module, sounds, tmp_path):
    pytest.importorskip("tf_keras")
    with open(tmp_path / "table.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", "label"])
        for path in sorted(sounds.rglob("*.wav")):
            table.writerow([path.relative_to(sounds).as_posix(), path.parent.name])
    code, out, _ = run(
        "retrain_tf_keras",
        handle=module,
        audio=sounds,
        labels=tmp_path / "table.csv",
        output=tmp_path / "mine",
        seconds=1,
    )
    first, *accuracies, last = out.splitlines()
    assert code == 0 and first == "30 recordings of 3 labels, 6 of them held out"
    assert percentages(accuracies) == [100, 100]
    assert last == f"{tmp_path / 'mine'}: waveform -> logits"
    serve = tf.saved_model.load(str(tmp_path / "mine")).signatures["serving_default"]
    right = [
        np.mean(
            np.argmax(next(iter(serve(tf.constant(waveforms(sounds, label))).values())), 1) == i
        )
        for i, label in enumerate(LABELS)
    ]
    assert np.mean(right) > 0.9


def test_tf_keras_may_be_absent(run, module, sounds, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf_keras", None)
    code, _, _ = run("retrain_tf_keras", handle=module, audio=sounds, output=tmp_path / "mine")
    assert str(code).startswith("skipped: ") and "pip install tf_keras" in code


def test_what_openvino_does_not_take_is_embedded_by_tensorflow(
    run, module, sounds, tmp_path, monkeypatch
):
    def refuse(*_):
        raise ConversionError("OpenVINO does not take the graph")

    monkeypatch.setattr("hares_tf.runtimes.openvino.convert", refuse)
    tables = [tmp_path / "openvino.csv", tmp_path / "tensorflow.csv"]
    for table in tables:
        flags = {"handle": module, "audio": sounds, "output": table, "runtime": table.stem}
        code, _, err = run("embed_folder", **flags)
        assert code == 0
        assert ("does not take the graph; TensorFlow computes" in err) == (table is tables[0])
    assert tables[0].read_bytes() == tables[1].read_bytes()


def test_embed_and_search(run, module, sounds, tmp_path):
    sounds = shutil.copytree(sounds, tmp_path / "sounds")
    (sounds / "notes.txt").write_text("no sound")
    (sounds / "noise" / "noise_a.wav").write_text("no sound")
    table = tmp_path / "table.csv"
    code, out, err = run("embed_folder", handle=module, audio=sounds, output=table, seconds=1)
    assert code == 0 and out.splitlines() == [
        "calls __call__: 16 features at 8000 Hz",
        f"{table}: 30 recordings, 1 left out",
    ]
    assert err.startswith("left out: ") and "noise_a.wav" in err
    with open(table, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["file", *(f"f{i}" for i in range(16))]
    (sounds / "noise" / "noise_a.wav").unlink()
    assert [row[0] for row in rows] == [
        path.relative_to(sounds).as_posix() for path in sorted(sounds.rglob("*.wav"))
    ]
    expected = tf.saved_model.load(str(module))(waveforms(sounds, "clicks"))
    np.testing.assert_allclose(np.array(rows[:10])[:, 1:].astype(float), expected, atol=1e-5)

    # Half a second more of the same noise, so two windows; the nearest recordings are noise, too.
    samples, rate = soundfile.read(sounds / "noise" / "noise_3.wav")
    soundfile.write(tmp_path / "query.wav", np.concatenate([samples, samples[:4000]]), rate)
    query = {"handle": module, "table": table, "query": tmp_path / "query.wav", "seconds": 1}
    code, out, _ = run("nearest_sounds", **query, top=4)
    found = [line.split("  ") for line in out.splitlines()]
    assert code == 0 and len(found) == 4 and all(name.startswith("noise/") for _, name in found)
    similarities = [float(value) for value, _ in found]
    assert similarities == sorted(similarities, reverse=True) and similarities[-1] > 0.5
    query["query"] = sounds / "noise" / "noise_3.wav"
    assert run("nearest_sounds", **query, top=1)[1] == "1.000  noise/noise_3.wav\n"

    (tmp_path / "other.csv").write_text("file,f0\na.wav,1\n", encoding="utf-8")
    code, _, err = run("nearest_sounds", **(query | {"table": tmp_path / "other.csv"}))
    assert code == 2 and "has 1 features: it was made with another module" in err
    (tmp_path / "ragged.csv").write_text("file,f0\n\na.wav,1\nb.wav\n", encoding="utf-8")
    for other in (sounds / "notes.txt", tmp_path / "ragged.csv"):
        code, _, err = run("nearest_sounds", **(query | {"table": other}))
        assert code == 2 and "is not a table of embed_folder.py" in err
    for other, said in (
        ({"query": tmp_path / "no.wav"}, "no.wav"),
        ({"query": sounds / "notes.txt"}, "is not a sound"),
        ({"query": sounds}, str(sounds)),
        ({"table": tmp_path / "no.csv"}, "no.csv"),
        ({"table": sounds}, str(sounds)),
    ):
        code, _, err = run("nearest_sounds", **(query | other))
        assert code == 2 and said in err.splitlines()[-1]


@pytest.mark.parametrize("name", NAMES)
def test_mistakes_get_a_sentence(run, name, sounds, tmp_path):
    flags = {"handle": tmp_path / "nothing"}
    flags |= (
        {"table": tmp_path / "t.csv", "query": tmp_path / "q.wav"}
        if name == "nearest_sounds"
        else {"audio": sounds, "output": tmp_path / "out"}
    )
    code, _, err = run(name, **flags)
    assert code == 2 and err.splitlines()[-1].endswith("nothing: there is no such folder or file.")


@pytest.fixture
def untouched(monkeypatch):
    """Fails where a module is loaded, or looked for, before the flags were looked at."""

    def refuse(*_, **__):
        raise AssertionError("the module is loaded")

    # Names that are copies of others first: their first use must not find `refuse`.
    for name in ("hub.load", "hub.locate", "hub.hub_layer.load", "hub.loader.load"):
        monkeypatch.setattr(f"hares_tf.{name}", refuse)
    monkeypatch.setattr("hares_tf.hub.loader.locate", refuse)


@pytest.mark.parametrize("wrong", [0, -1, "nan", "inf"])
@pytest.mark.parametrize("name", NAMES)
def test_windows_have_a_length(run, untouched, name, wrong, module, sounds, tmp_path):
    pytest.importorskip("tf_keras")
    flags = {"handle": module, "seconds": wrong}
    flags |= (
        {"table": tmp_path / "t.csv", "query": tmp_path / "q.wav"}
        if name == "nearest_sounds"
        else {"audio": sounds, "output": tmp_path / "out"}
    )
    code, _, err = run(name, **flags)
    assert code == 2 and "--seconds" in err.splitlines()[-1] and "between 0 and 3600" in err
    assert not list(tmp_path.iterdir())


def test_search_shows_at_least_one(run, untouched, module, tmp_path):
    code, _, err = run("nearest_sounds", handle=module, table=tmp_path, query=tmp_path, top=0)
    assert code == 2 and "--top at least 1" in err


@pytest.mark.parametrize("kind", ["missing", "empty", "other files"])
def test_embedding_needs_audio(run, untouched, kind, module, tmp_path):
    audio = tmp_path / "audio"
    if kind != "missing":
        audio.mkdir()
    if kind == "other files":
        (audio / "notes.txt").write_text("no sound")
    code, _, err = run("embed_folder", handle=module, audio=audio, output=tmp_path / "e.csv")
    assert code == 2 and str(audio) in err.splitlines()[-1]
    assert not list(tmp_path.glob("*.csv"))


def test_embedding_needs_audio_that_can_be_decoded(run, module, tmp_path):
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "broken.wav").write_text("no sound")
    flags = {"handle": module, "audio": tmp_path / "audio", "output": tmp_path / "e.csv"}
    code, _, err = run("embed_folder", **flags)
    assert code == 2 and err.endswith("none of its 1 audio files can be decoded\n")
    assert [path.name for path in tmp_path.iterdir()] == ["audio"]


def test_embedding_needs_a_place_for_its_table(run, untouched, module, sounds, tmp_path):
    flags = {"handle": module, "audio": sounds, "output": tmp_path / "nodir" / "e.csv"}
    code, _, err = run("embed_folder", **flags)
    assert code == 2 and f"no folder for {tmp_path}/nodir/e.csv" in err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_interrupted_embedding_leaves_no_table(run, module, sounds, tmp_path, monkeypatch):
    def interrupt(encoder, waveform, seconds, where):
        # Not only afterwards: a kill runs no clean-up.
        assert not (tmp_path / "e.csv").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr("hares_tf.evaluation.encoders.encoder.Encoder.embed_recording", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run("embed_folder", handle=module, audio=sounds, output=tmp_path / "e.csv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["retrain_keras", "retrain_tf_keras"])
def test_retraining_replaces_nothing(run, untouched, name, module, sounds, tmp_path):
    pytest.importorskip("tf_keras")
    (tmp_path / "kept.txt").write_text("mine")
    code, _, err = run(name, handle=module, audio=sounds, output=tmp_path)
    assert code == 2 and f"{tmp_path} exists" in err.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


@pytest.mark.parametrize("name", ["retrain_keras", "retrain_tf_keras"])
def test_failed_export_leaves_no_module(run, name, module, sounds, tmp_path, monkeypatch):
    keras = pytest.importorskip("tf_keras" if name == "retrain_tf_keras" else "keras")

    def fail(self, path, **_):
        (Path(path) / "saved_model.pb").write_text("half")
        raise OSError("the disk is full")

    # Training would be lost time here.
    monkeypatch.setattr(keras.Model, "fit", lambda *_, **__: None)
    monkeypatch.setattr(keras.Model, "evaluate", lambda *_, **__: (0, 0))
    monkeypatch.setattr(keras.Model, "export", fail)
    with pytest.raises(OSError, match="the disk is full"):
        run(name, handle=module, audio=sounds, output=tmp_path / "mine", seconds=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_sample_rates_are_not_guessed(run, name, module, sounds, tmp_path, monkeypatch):
    pytest.importorskip("tf_keras")
    shutil.copytree(module, tmp_path / "cardless", ignore=shutil.ignore_patterns("assets"))
    for place in ("loader", "hub_layer"):
        monkeypatch.setattr(f"hares_tf.hub.{place}.load", lambda *_: pytest.fail("it was loaded"))
    flags = {"handle": tmp_path / "cardless"}
    flags |= (
        {"table": tmp_path / "t.csv", "query": sounds / "hum" / "hum_0.wav"}
        if name == "nearest_sounds"
        else {"audio": sounds, "output": tmp_path / "out"}
    )
    code, _, err = run(name, **flags)
    assert code == 2 and "does not state its sample rate" in err.splitlines()[-1]
    # What the sentence advises is there; a rate that cannot be is refused, too.
    code, _, err = run(name, **flags, sample_rate=5)
    assert code == 2 and "sample_rate must be 1000 to 384000" in err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_real_recordings(shared_dir, micro_module, tmp_path):
    """Everything on some of ESC-10, with an exported encoder, in processes of their own."""
    with open(shared_dir / "data/esc10/metadata.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] in ("dog", "rain")]
    for label in ("dog", "rain"):
        (tmp_path / "esc" / label).mkdir(parents=True)
        for row in [row for row in rows if row["label"] == label][:8]:
            source = shared_dir / "data/esc10" / row["file"]
            (tmp_path / "esc" / label / source.name).symlink_to(source)

    def run(name: str, **flags) -> list[str]:
        program = str(REPOSITORY / "examples" / f"{name}.py")
        arguments = [f"--{key}={value}" for key, value in flags.items()]
        done = subprocess.run(
            [sys.executable, program, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout.splitlines()

    common = {"handle": micro_module, "audio": "esc", "seconds": 0.5}
    for name in ("retrain_keras", "retrain_tf_keras"):
        first, *accuracies, _ = run(name, **common, output=name, epochs=1)
        assert first == "16 recordings of 2 labels, 4 of them held out"
        percentages(accuracies)
        serve = tf.saved_model.load(str(tmp_path / name)).signatures["serving_default"]
        outputs = serve(tf.zeros([3, 8000]))
        assert [3, 2] in [value.shape.as_list() for value in outputs.values()]
    assert (
        run("embed_folder", **common, output="esc.csv")[-1] == "esc.csv: 16 recordings, 0 left out"
    )
    one = sorted((tmp_path / "esc" / "dog").iterdir())[0].name
    # The module that was just retrained is a handle like any other; its table is another one.
    mine = {"handle": "retrain_keras", "seconds": 0.5}
    run("embed_folder", **mine, audio="esc", output="mine.csv")
    nearest = run("nearest_sounds", **mine, table="mine.csv", query=f"esc/dog/{one}", top=1)
    assert nearest == [f"1.000  dog/{one}"]
