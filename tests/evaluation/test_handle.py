"""The adapter: what it finds is stated, what it cannot choose is an error."""

import numpy as np
import pytest
import tensorflow as tf

from hares_tf.evaluation import EvaluationError
from hares_tf.evaluation.handle import open_encoder, sample_rate_of
from hares_tf.hub import HubError, locate


def _save(folder, output, rank=2):
    """A stand-in module whose embedding is (mean, maximum) of the waveform, shaped by `output`."""

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None] * rank, tf.float32, name="x")])
        def __call__(self, x):
            pair = tf.stack([tf.reduce_mean(x, -1), tf.reduce_max(x, -1)], -1)
            return output(pair)

    tf.saved_model.save(Module(), str(folder))
    return locate(folder)


def _embed(module):
    waveform = np.random.default_rng(0).uniform(-1, 1, (3, 800)).astype(np.float32)
    encoder = open_encoder(module, 16000)
    expected = np.stack([waveform.mean(axis=1), waveform.max(axis=1)], axis=1)
    return encoder, encoder.embed(waveform), expected


@pytest.mark.parametrize(
    ("output", "key", "pooling"),
    [
        (lambda e: e, None, None),
        (lambda e: {"embedding": e, "other": 2 * e}, "embedding", None),
        (lambda e: {"features": e}, "features", None),
        (lambda e: tf.stack([e - 1, e + 1], axis=1), None, "mean"),
    ],
    ids=["tensor", "dictionary", "only entry", "time axis"],
)
def test_outputs(tmp_path, output, key, pooling):
    encoder, found, expected = _embed(_save(tmp_path / "m", output))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert encoder.interface["output_key"] == key
    assert encoder.interface["time_pooling"] == pooling
    assert encoder.interface["embedding_size"] == 2


def test_signature_of_a_module_that_cannot_be_called(tmp_path):
    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name="audio")])
        def infer(self, audio):
            return {"out": tf.stack([tf.reduce_mean(audio, -1), tf.reduce_max(audio, -1)], -1)}

    module = Module()
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.infer)
    encoder, found, expected = _embed(locate(tmp_path / "m"))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert encoder.interface["entry_point"] == "serving_default"


@pytest.mark.parametrize(
    "output", [lambda e: {"a": e, "b": e}, lambda e: tf.reduce_sum(e), lambda e: (e, e)]
)
def test_what_cannot_be_chosen_is_an_error(tmp_path, output):
    with pytest.raises(EvaluationError, match="no entry point"):
        open_encoder(_save(tmp_path / "m", output), 16000)


def test_sample_rate_is_never_guessed(tmp_path, statistics_module):
    bare = _save(tmp_path / "m", lambda e: e)
    with pytest.raises(EvaluationError, match="--sample_rate"):
        sample_rate_of(bare)
    assert sample_rate_of(bare, 22050) == 22050
    assert sample_rate_of(locate(statistics_module)) == 16000
    with pytest.raises(EvaluationError, match="cannot be used"):
        sample_rate_of(bare, -3)


def test_handles_that_name_nothing(tmp_path):
    (tmp_path / "notes.txt").touch()
    (tmp_path / "empty").mkdir()
    for handle, word in {
        "nowhere": "no such folder",
        "notes.txt": "is a file",
        "empty": "holds: nothing",
        ".": "notes.txt",
    }.items():
        with pytest.raises(HubError, match=word):
            locate(tmp_path / handle)
    for handle in ("https://tfhub.dev/x/1", "python:a.b:c", "m.tar.gz", "m.keras"):
        with pytest.raises(HubError, match="only folders"):
            locate(handle)


def test_version_folders(tmp_path):
    for version in ("2", "10"):
        _save(tmp_path / "speech" / version, lambda e: e)
    found = locate(tmp_path / "speech")
    assert found.directory.name == "10" and found.name == "speech"
    assert locate(tmp_path / "speech" / "2").name == "speech"


def test_a_damaged_module_is_a_sentence(tmp_path, statistics_module):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "saved_model.pb").write_bytes(b"\x00garbage")
    with pytest.raises(HubError, match="cannot load"):
        open_encoder(locate(tmp_path / "m"), 16000)
    (tmp_path / "m" / "assets").mkdir()
    (tmp_path / "m" / "assets" / "model_card.json").write_text("{")
    with pytest.raises(HubError, match="not a readable model card"):
        locate(tmp_path / "m")
