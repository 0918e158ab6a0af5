"""Encoders that are objects of the calling program, and the probe of a network in training."""

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hares_tf.evaluation import EvaluationError, embed_only, evaluate
from hares_tf.evaluation.tasks.declaration import Clip, Manifest, Task, Windows
from hares_tf.evaluation.tasks.labels import Labels
from hares_tf.hub import locate
from hares_tf.recordings.sound import FileSound

FREQUENCIES = (300, 900, 2700)


class Bands:
    """The power in three bands, times a weight that a training might change."""

    sample_rate = 8000
    name = "bands"

    def __init__(self, weight=1.0):
        self.weight, self.calls = weight, 0

    def __call__(self, batch):
        assert batch.ndim == 2 and batch.dtype == np.float32
        self.calls += 1
        power = np.abs(np.fft.rfft(batch, 8000)) ** 2
        edges = ((100, 600), (600, 1800), (1800, 3600))
        return self.weight * np.log1p(np.stack([power[:, a:b].sum(1) for a, b in edges], axis=1))


@pytest.fixture
def task(tmp_path):
    """Tones of three pitches."""
    clips = []
    for number in range(36):
        random = np.random.default_rng(number)
        clock = np.arange(8000) / 16000
        tone = 0.3 * np.sin(2 * np.pi * FREQUENCIES[number % 3] * clock)
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, tone + 0.01 * random.normal(size=8000), 16000, "PCM_16")
        part = "test" if number >= 24 else "train"
        clips.append(Clip(str(number), FileSound(str(path)), str(FREQUENCIES[number % 3]), part))
    return Task(
        "pitches",
        1,
        "music",
        Windows(0.5),
        "linear",
        "accuracy",
        read=lambda places: Manifest(tuple(clips), Labels.classes(map(str, sorted(FREQUENCIES)))),
    )


@pytest.fixture
def score(task, tmp_path):
    def run(encoder, **options):
        places = {"output": tmp_path / "results", "store": tmp_path / "store"}
        return evaluate(encoder, [task], protocol="smoke", **{**places, **options})

    return run


def test_an_object_is_scored_as_it_is_now(score, tmp_path):
    encoder = Bands()
    (first,) = score(encoder)
    assert first.score == 100 and first.model["fingerprint"] is None
    assert (first.model["name"], first.model["embedding_size"]) == ("bands", 3)
    assert first.model["interface"]["sample_rate"] == 8000
    # A training step later: without a fingerprint nothing of before may be used.
    encoder.weight, before = 0.0, encoder.calls
    (second,) = score(encoder)
    assert second.score < 50 and encoder.calls > before
    # What the store keeps of it is what it knows of the clips.
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["digests.sqlite"]


def test_the_database_of_digests_is_closed_after_an_evaluation(score, tmp_path):
    score(Bands())
    database = tmp_path / "store" / "digests.sqlite"
    descriptors = [path for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    assert database.is_file()
    assert str(database) not in [os.readlink(path) for path in descriptors if path.is_symlink()]


def test_the_embeddings_in_between_are_deleted(score, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    seen = []

    class Watched(Bands):
        def __call__(self, batch):
            seen.extend(scratch.iterdir())
            return super().__call__(batch)

    score(Watched())
    assert len(set(seen)) == 1 and list(scratch.iterdir()) == []


def test_a_fingerprint_makes_it_reusable(score):
    encoder = Bands()
    encoder.fingerprint = "weights-1"
    (first,) = score(encoder)
    before = encoder.calls
    assert score(encoder) == [first] and encoder.calls == before
    encoder.fingerprint = "weights-2"
    (second,) = score(encoder)
    assert encoder.calls > before
    assert second.model["fingerprint"] != first.model["fingerprint"] is not None


def test_a_plain_function_and_its_defaults(score):
    lengths = set()

    def loudness(batch):
        lengths.add(batch.shape[1])
        return np.abs(batch).mean(axis=1, keepdims=True)

    (result,) = score(loudness)
    assert result.model["name"] == "loudness"
    assert result.model["interface"]["sample_rate"] == 16000
    assert lengths == {3 * 16000, 8000}  # a trial, then the windows of half a second
    assert locate(Bands()).name == "bands" and locate(len).name == "len"


def test_several_are_told_apart_by_name(score, tmp_path):
    one, other = Bands(), Bands(0.0)
    other.name = "silent"
    results = score([one, other, one])
    assert [model[0].model["name"] for model in results] == ["bands", "silent"]
    assert len(list((tmp_path / "results" / "smoke").iterdir())) == 2
    other.name = one.name
    with pytest.raises(EvaluationError, match="Two encoders are called 'bands'"):
        score([one, other])


def test_what_is_wrong_with_an_object_is_a_sentence(score, task):
    with pytest.raises(EvaluationError, match=r"python:<lambda> returned shape \(2,\)"):
        score(lambda batch: batch.mean(axis=1))
    with pytest.raises(EvaluationError, match="Other processes cannot call bands"):
        embed_only(Bands(), [task])


class TestProbe:
    TASK = "mini_nsynth_instrument"

    @pytest.fixture(scope="class")
    def model(self):
        import keras

        from hares_tf.models import create_model

        keras.utils.set_random_seed(0)
        return create_model("slowfast_nfnet_tiny")

    def test_scores_follow_the_weights(self, model, tmp_path):
        from hares_tf.pretrain.probe import Probe

        probe = Probe([self.TASK], tmp_path / "probe", store=tmp_path / "store", protocol="smoke")
        first = probe.run(model, 10)
        assert set(first) == {self.TASK, "mean"} and first["mean"] == first[self.TASK]
        assert probe.run(model, 11) == first
        # The same graph reads the weights as they are now: a dead network knows nothing.
        for variable in model.trainable_variables:
            if "final_conv" in variable.path:
                variable.assign(0 * variable)
        dead = probe.run(model, 1200)
        assert dead["mean"] < first["mean"]
        path = next(tmp_path.glob(f"probe/step-00001200/smoke/*/{self.TASK}.json"))
        result = json.loads(path.read_text())
        assert result["score"] == dead["mean"] and result["model"]["fingerprint"] is None
        steps = sorted(folder.name for folder in (tmp_path / "probe").iterdir())
        assert steps == ["step-00000010", "step-00000011", "step-00001200"]
        assert [path.name for path in (tmp_path / "store").iterdir()] == ["digests.sqlite"]

    def test_it_embeds_as_the_model_in_inference(self, model):
        from hares_tf.pretrain.probe import _Encoder

        encoder = _Encoder(model)
        assert encoder.sample_rate == 16000 and encoder.name == "slowfast_nfnet_tiny"
        for samples in (16000, 4001):
            waveform = np.random.default_rng(0).uniform(-1, 1, (2, samples)).astype(np.float32)
            wanted = np.asarray(model(waveform, training=False))
            np.testing.assert_allclose(encoder(waveform), wanted, atol=1e-5)

    def test_what_is_missing_is_found_before_the_training(self, tmp_path):
        from hares_tf.pretrain.probe import Probe

        with pytest.raises(EvaluationError, match="did you mean mini_nsynth"):
            Probe(["mini_nsynth_instruments"], tmp_path)
        with pytest.raises(EvaluationError, match="esc50"):
            Probe(["esc50"], tmp_path, data_dir=tmp_path)
