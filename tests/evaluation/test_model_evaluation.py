"""Protocols through the whole path: views, mixing, online crops, native heads, parts of data."""

import dataclasses
import json

import numpy as np
import pytest
import soundfile

from hares_tf.commands import evaluate as command
from hares_tf.evaluation import EvaluationError, Interface, evaluate, task_evaluation
from hares_tf.evaluation.embeddings import preview
from hares_tf.evaluation.protocols import Options
from hares_tf.evaluation.tasks.declaration import Clip, Manifest, Schedule, Task, Windows
from hares_tf.evaluation.tasks.labels import Labels
from hares_tf.recordings.sound import FileSound

PLUG_IN = """
import numpy as np


def spectrum(batch):
    spectrum = np.abs(np.fft.rfft(batch))[:, : 30 * 40]
    return np.log1p(spectrum.reshape(len(batch), 30, -1).mean(-1)) - 1


spectrum.sample_rate = 16000
spectrum.fingerprint = "1"


def loudness(batch):
    # A classifier of its own: the power in three bands.
    power = np.abs(np.fft.rfft(batch)) ** 2
    return np.stack([power[:, a:b].sum(1) for a, b in ((30, 115), (115, 300), (300, 1200))], 1)


loudness.sample_rate = 16000
loudness.fingerprint = "1"
"""
TAGS = ("low", "middle", "high")
FREQUENCIES = (250, 700, 2200)


@pytest.fixture
def plug_in(tmp_path, monkeypatch):
    (tmp_path / "model_plug_in.py").write_text(PLUG_IN)
    monkeypatch.syspath_prepend(tmp_path)
    return "python:model_plug_in:spectrum"


def _write(folder, name, tags, seed, seconds):
    random = np.random.default_rng(seed)
    clock = np.arange(round(seconds * 16000)) / 16000
    sound = 0.02 * random.normal(size=len(clock))
    for tag in tags:
        frequency = FREQUENCIES[TAGS.index(tag)] * 2 ** random.normal(0, 0.2)
        sound += 0.15 * np.sin(2 * np.pi * frequency * clock)
    soundfile.write(folder / name, sound, 16000, "PCM_16")
    return FileSound(str(folder / name))


@pytest.fixture
def tags_task(tmp_path):
    """A miniature AudioSet: several tags, long clips, spread windows, mixing, an MLP."""
    sets = [(), ("low",), ("middle",), ("high",), ("low", "high"), ("low", "middle")]
    clips = [
        Clip(
            f"clip{i}",
            _write(tmp_path, f"{i}.wav", sets[i % 6], i, 1.0),
            sets[i % 6],
            "test" if i // 6 % 4 == 3 else "train",
        )
        for i in range(72)
    ]
    return Task(
        "tones",
        1,
        "environment",
        Windows(0.25, "spread", 5, "crops"),
        "mlp",
        "mean_average_precision",
        read=lambda places: Manifest(tuple(clips), Labels.tags(TAGS)),
        schedule=Schedule(6000, 64),
        mixing=True,
        native_head=True,
    )


def _run(task, handle, folder, **options):
    options = {"output": folder / "results", "store": folder / "store", **options}
    return evaluate(handle, [task], **options)[0]


@pytest.mark.parametrize("views", [4, "grid", "online"])
def test_paper_protocol_with_every_kind_of_views(tags_task, plug_in, tmp_path, views):
    # Online embeds crops while it trains: fewer steps keep the test short.
    task = dataclasses.replace(tags_task, mixing=views != "grid")
    options = Options(views=views, standardize=views != "online", steps=6000)
    if views == "online":
        options = Options(views=views, steps=300)
    result = _run(task, plug_in, tmp_path, protocol="paper", options=options)
    windows = result.embeddings["windows"]
    assert windows["test"] == {"kind": "spread", "seconds": 0.25, "count": 5}
    assert windows["train"]["kind"] == {4: "crops", "grid": "grid", "online": "online"}[views]
    # Chance is 33% for each of the three tags.
    assert result.score > (90 if views != "online" else 60)
    low, high = result.interval
    assert 0 <= low <= result.score <= high <= 100
    embedded = {4: 72, "grid": 72, "online": 18}[views]
    assert result.seconds["clips_embedded"] == embedded
    # A clip of 1 s holds four grid windows of 0.25 s: hops of 0.25 s from 0 to 0.75.
    seconds = 0.25 * (18 * 5 + {4: 54 * 4, "grid": 54 * 4, "online": 0}[views])
    assert result.seconds["audio_seconds"] == seconds
    assert _run(task, plug_in, tmp_path, protocol="paper", options=options) == result


def test_mixed_views_are_trained_with_soft_labels(tags_task, plug_in, tmp_path, monkeypatch):
    """What the head is fed: mixtures of two clips, labeled by their shares."""
    from hares_tf.evaluation.protocols import descent

    seen = {}
    feed = descent.EmbeddingFeed

    def spy(embeddings, targets, sampler):
        seen["embeddings"], seen["targets"] = np.array(embeddings), np.array(targets)
        return feed(embeddings, targets, sampler)

    monkeypatch.setattr(descent, "EmbeddingFeed", spy)
    options = Options(views=3, steps=100)
    _run(tags_task, plug_in, tmp_path, protocol="paper", options=options)
    assert seen["embeddings"].shape == (54 * 3, 30) and seen["targets"].shape == (54 * 3, 3)
    between = (seen["targets"] > 0.01) & (seen["targets"] < 0.99)
    assert between.any(axis=1).mean() > 0.5
    task = dataclasses.replace(tags_task, mixing=False)
    _run(task, plug_in, tmp_path, protocol="paper", options=options)
    assert set(np.unique(seen["targets"])) == {0.0, 1.0}


def test_a_native_head_is_scored_without_training(tags_task, tmp_path, plug_in):
    """The function itself gives the three scores; no head is trained, none of the rest changes."""
    handle = "python:model_plug_in:loudness"
    result = _run(tags_task, handle, tmp_path, native_head="scores", protocol="paper")
    assert result.protocol["native_head"] == "scores"
    assert result.protocol["identity"] == "paper(K=4)/1"
    with np.load(
        next(tmp_path.glob("results/paper/*/tones-native_head.predictions.npz"))
    ) as predictions:
        assert predictions["scores"].shape == (18, 3)
        # Averages of the windows' own scores: the loudest band of single tones is theirs.
        single = predictions["targets"].sum(axis=1) == 1
        found = predictions["scores"][single].argmax(axis=1)
        assert (found == predictions["targets"][single].argmax(axis=1)).all()
    # Nothing is trained, so nothing but the test clips is embedded.
    assert result.seconds["clips_embedded"] == 18
    # Beside it, the score of a trained head stays its own.
    trained = _run(tags_task, handle, tmp_path, protocol="smoke")
    native = _run(tags_task, handle, tmp_path, protocol="smoke", native_head="scores")
    assert trained.key != native.key and "penalty" not in native.protocol
    assert _run(tags_task, handle, tmp_path, protocol="smoke") == trained
    with pytest.raises(EvaluationError, match="30 numbers"):
        _run(tags_task, plug_in, tmp_path, native_head="scores", protocol="paper")


def test_a_tag_without_test_clips_makes_the_result_incomplete(tags_task, plug_in, tmp_path):
    manifest = tags_task.read(None)
    rest = tuple(c for c in manifest.clips if c.part == "train" or "high" not in c.label)
    task = dataclasses.replace(tags_task, read=lambda places: Manifest(rest, manifest.labels))
    result = _run(task, plug_in, tmp_path, protocol="smoke")
    assert not result.complete and result.clips["n_labels_scored"] == 2
    assert result.incomplete_because == ("1 tag(s) occur in no test clip",)


def test_parts_of_data_are_refused_or_stamped(tags_task, plug_in, tmp_path):
    manifest = tags_task.read(None)
    partial = dataclasses.replace(manifest, missing=("clip97", "clip98"))
    task = dataclasses.replace(
        tags_task, read=lambda places: partial, expected={"train": 60, "test": 18}
    )
    with pytest.raises(EvaluationError, match="--subset") as error:
        _run(task, plug_in, tmp_path, protocol="smoke")
    assert "clip97" in str(error.value) and "54" in str(error.value)
    result = _run(task, plug_in, tmp_path, protocol="smoke", subset=True)
    assert not result.complete and len(result.incomplete_because) == 2
    assert result.clips["n_missing"] == 2 and result.clips["n_expected"] == 78
    # Stamped results are finished, too.
    assert _run(task, plug_in, tmp_path, protocol="smoke", subset=True) == result


def test_the_cost_is_told_before_the_work(tags_task, plug_in, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(preview, "_FEW_CLIPS", 10)
    _run(tags_task, plug_in, tmp_path, protocol="smoke", progress="bar")
    text = capsys.readouterr().err
    # 72 clips of five windows of a quarter of a second; 30 numbers each.
    assert "to embed: 72 clips, about 360 windows, 0.0 h of audio, 0.00 GB" in text
    assert text.index("to embed") < text.index("training")
    _run(tags_task, plug_in, tmp_path, protocol="fast", progress="json")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert not any("to embed" in record.get("text", "") for record in lines)
    phases = {(r["task"], r["phase"]) for r in lines if r["event"] == "start"}
    assert phases == {("tones", "checking files"), ("tones", "head")}


def test_clips_are_selected_and_mixed_once(tags_task, plug_in, tmp_path, monkeypatch):
    """The estimate of the cost and the run share them: AudioSet has millions."""
    plans = []

    def counted(prepared, parts, plan):
        plans.append(plan.kind)
        return select(prepared, parts, plan)

    select = task_evaluation.select
    monkeypatch.setattr(task_evaluation, "select", counted)
    monkeypatch.setattr(preview, "_FEW_CLIPS", 10)
    options = Options(views=2, steps=100)
    _run(tags_task, plug_in, tmp_path, protocol="paper", options=options, progress="json")
    assert plans == ["crops", "spread"]


def test_estimates_add_up():
    one = preview.Estimate("a", 10, 40, 2.0, 0.5, 0.25)
    two = preview.Estimate("long_name", 20, 20, 1.0, 0.25, 3.0)
    shown = preview.lines([one, two])
    assert "15 min" in shown[0] and "3.0 h" in shown[1]
    assert "30 clips, about 60 windows, 3.0 h of audio, 0.75 GB, 3.2 h" in shown[2]


def test_scores_of_tasks_that_read_the_same_audio_share_embeddings(tags_task, plug_in, tmp_path):
    first = _run(tags_task, plug_in, tmp_path, protocol="smoke")
    again = _run(tags_task, plug_in, tmp_path, protocol="fast")
    assert first.seconds["clips_embedded"] == 72 and again.seconds["clips_embedded"] == 0


def test_grid_and_mixing_do_not_go_together(tags_task, plug_in, tmp_path):
    with pytest.raises(EvaluationError, match="grid"):
        _run(tags_task, plug_in, tmp_path, protocol="paper", options=Options(views="grid"))


def test_one_broken_clip_is_counted_once_also_where_clips_are_mixed(tags_task, plug_in, tmp_path):
    (tmp_path / "0.wav").write_bytes(b"no sound")
    options = Options(views=4, steps=100)
    result = _run(tags_task, plug_in, tmp_path, protocol="paper", options=options)
    assert "1 clip(s) could not be read" in result.incomplete_because
    assert any("to be mixed" in reason for reason in result.incomplete_because)
    failures = result.clips["failures"]
    assert len(failures) > 1 and all("0.wav" in reason for reason in failures.values())


FUNCTIONS = """
import numpy as np


def view(batch):
    return batch[:, 100:116]  # not a copy


def fixed(batch):
    if batch.shape[1] != 2000:
        raise ValueError("I only take 2000 samples")
    return np.stack([batch.mean(axis=1), batch.std(axis=1)], axis=1)


def raises(batch):
    raise RuntimeError("no license")


def words(batch):
    return ["one", "two"]


calls = []


def grows(batch):
    calls.append(1)
    return np.zeros((len(batch), 3 + (len(calls) > 1)), np.float32) + batch[:, :1]


for function in (view, fixed, raises, words, grows):
    function.sample_rate = 16000
"""


@pytest.fixture
def functions(tmp_path, monkeypatch):
    (tmp_path / "functions_plug_in.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(tmp_path)
    return lambda name: f"python:functions_plug_in:{name}"


@pytest.fixture
def classes_task(tmp_path):
    clips = [
        Clip(
            str(i),
            _write(tmp_path, f"class{i}.wav", (TAGS[i % 3],), i, 0.6),
            TAGS[i % 3],
            ("train", "train", "test")[i // 3 % 3],
        )
        for i in range(54)
    ]
    return Task(
        "classes",
        1,
        "music",
        Windows(0.25),
        "linear",
        "accuracy",
        read=lambda places: Manifest(tuple(clips), Labels.classes(TAGS)),
    )


def test_a_function_may_give_a_view_of_its_input(classes_task, functions, tmp_path, monkeypatch):
    """Windows of a clip that spans two batches must not be overwritten by the next batch."""
    import functions_plug_in

    from hares_tf.evaluation.embeddings import embedding

    monkeypatch.setattr(embedding, "batch_size", lambda seconds: 4)
    monkeypatch.setattr(functions_plug_in.view, "fingerprint", "1", raising=False)
    _run(classes_task, functions("view"), tmp_path, protocol="smoke")
    seen = {}
    for path in (tmp_path / "store").glob("*/[0-9a-f]*.json"):
        rows = np.load(path.with_suffix(".npy"))
        for key, start, stop in json.loads(path.read_text())["clips"]:
            seen[key] = rows[start:stop]
    for clip in classes_task.read(None).clips:
        waveform = clip.sound.load(16000)
        windows = np.pad(waveform, (0, 12000 - len(waveform))).reshape(3, 4000)
        np.testing.assert_array_equal(seen[clip.sound.content_digest()], windows[:, 100:116])


def test_a_function_of_one_length_is_tiled_and_averaged(classes_task, functions, tmp_path):
    result = _run(
        classes_task,
        functions("fixed"),
        tmp_path,
        protocol="smoke",
        interface=Interface(window_samples=2000),
    )
    assert result.model["interface"]["window_samples"] == 2000
    with pytest.raises(EvaluationError, match="only take 2000"):
        _run(classes_task, functions("fixed"), tmp_path, protocol="smoke")


@pytest.mark.parametrize(
    ("name", "word"), [("raises", "no license"), ("words", "ValueError"), ("grows", "features")]
)
def test_functions_that_misbehave_are_a_sentence(classes_task, functions, tmp_path, name, word):
    with pytest.raises(EvaluationError, match=word):
        _run(classes_task, functions(name), tmp_path, protocol="smoke")


def test_two_functions_of_one_name_do_not_share_a_file(classes_task, tmp_path, monkeypatch):
    for module in ("one_plug_in", "two_plug_in"):
        (tmp_path / f"{module}.py").write_text(PLUG_IN.replace('fingerprint = "1"', "other = 1"))
    monkeypatch.syspath_prepend(tmp_path)
    handles = [f"python:{module}:spectrum" for module in ("one_plug_in", "two_plug_in")]
    options = {"output": tmp_path / "results", "store": tmp_path / "store", "protocol": "smoke"}
    evaluate(handles, [classes_task], **options)
    assert len(list(tmp_path.glob("results/smoke/*/classes.json"))) == 2


def test_names_of_models(classes_task, tmp_path, monkeypatch):
    """A function names itself, and a flag names any module; embeddings are shared."""
    (tmp_path / "named_plug_in.py").write_text(PLUG_IN + "\nspectrum.name = 'my spectrum'\n")
    monkeypatch.syspath_prepend(tmp_path)
    handle = "python:named_plug_in:spectrum"
    options = {"output": tmp_path / "results", "store": tmp_path / "store", "protocol": "smoke"}
    (own,) = evaluate(handle, [classes_task], **options)
    (given,) = evaluate(handle, [classes_task], names=["other"], **options)
    assert (own.model["name"], given.model["name"]) == ("my spectrum", "other")
    assert given.score == own.score and given.seconds["clips_embedded"] == 0
    with pytest.raises(EvaluationError, match=r"1 handle\(s\) have 2 name\(s\)"):
        evaluate(handle, [classes_task], names=["a", "b"], **options)


def test_tasks_of_one_id_are_refused(classes_task, plug_in, tmp_path):
    with pytest.raises(EvaluationError, match="2 tasks are called 'classes'"):
        evaluate(plug_in, [classes_task, classes_task], output=tmp_path / "results")


def test_predictions_that_are_gone_are_made_again(classes_task, plug_in, tmp_path):
    first = _run(classes_task, plug_in, tmp_path, protocol="smoke")
    (predictions,) = tmp_path.glob("results/smoke/*/classes.predictions.npz")
    with np.load(predictions) as arrays:
        assert str(arrays["key"]) == first.key
    predictions.unlink()
    assert _run(classes_task, plug_in, tmp_path, protocol="smoke").score == first.score
    assert predictions.exists()


def test_absent_data_sets_are_left_out_of_a_subset(classes_task, plug_in, tmp_path, capsys):
    from hares_tf.evaluation.tasks import load_task

    options = {"output": tmp_path / "results", "protocol": "smoke", "data_dir": tmp_path}
    with pytest.raises(EvaluationError, match=r"ESC-50-master\.zip"):
        evaluate(plug_in, [classes_task, load_task("esc50")], **options)
    results = evaluate(
        plug_in, [classes_task, load_task("esc50")], subset=True, progress="bar", **options
    )
    assert [result.task_id for result in results] == ["classes"]
    assert "esc50: left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--views=16"], "--views goes with --protocol=paper"),
        (["--seeds=3"], "--seeds"),
        (["--workers=3"], "--embed_only"),
        (["--protocol=paper", "--views=online", "--embed_only"], "online"),
    ],
)
def test_flags_without_effect_are_refused(arguments, word, capsys):
    assert command.main(["--handle=x", *arguments]) == 2
    assert word in capsys.readouterr().err
