"""Interfaces of modules: stated ones, probed ones, and those that nothing decides."""

import gc
import json

import numpy as np
import pytest
import tensorflow as tf
from evaluation.encoders.statistics_modules import (
    SAMPLES,
    check,
    open_module,
    pair,
    save_module,
    statistics_of,
    waveform_spec,
    waveforms,
)

from hares_tf.evaluation import EvaluationError
from hares_tf.evaluation.encoders.handle import open_encoder, stated_interface
from hares_tf.evaluation.encoders.interface import Interface, preset_for
from hares_tf.hub import load, locate

NOTHING = Interface()


def test_batch_to_tensor(tmp_path):
    found = check(save_module(tmp_path / "m", pair, waveform_spec(None, None)))
    assert (found["entry_point"], found["input_rank"], found["pool"]) == ("__call__", 2, None)


def test_dictionary_with_embedding(tmp_path):
    both = lambda x: {"embedding": pair(x), "other": 2 * pair(x)}  # noqa: E731
    assert (
        check(save_module(tmp_path / "m", both, waveform_spec(None, None)))["output_key"]
        == "embedding"
    )


def test_dictionary_with_one_entry(tmp_path):
    module = save_module(tmp_path / "m", lambda x: {"features": pair(x)}, waveform_spec(None, None))
    assert check(module)["output_key"] == "features"


def test_time_axis_is_averaged(tmp_path):
    in_time = lambda x: tf.stack([pair(x) - 1, pair(x) + 1], axis=1)  # noqa: E731
    module = save_module(tmp_path / "m", in_time, waveform_spec(None, None))
    assert check(module)["pool"] == "mean"
    top = open_module(module, pool="max")
    np.testing.assert_allclose(top.embed(waveforms()), statistics_of(waveforms()) + 1, atol=1e-5)


def test_a_new_length_does_not_trace_a_new_graph(tmp_path):
    """Optimizing one takes about a second for a large network."""
    for name, spec in (("batch", waveform_spec(None, None)), ("single", waveform_spec(None))):
        module = save_module(tmp_path / name, pair, spec)
        encoder = open_module(module)
        loaded = load(module)
        traced = [f.experimental_get_tracing_count() for f in (encoder.graph, loaded.__call__)]
        for samples in (3, SAMPLES, SAMPLES + 1):
            waveform = waveforms(samples, batch=1 + samples % 3)
            found = encoder.embed(waveform)
            np.testing.assert_allclose(found, statistics_of(waveform), atol=1e-5)
            one = waveform if name == "batch" else waveform[0]
            np.testing.assert_allclose(np.atleast_2d(loaded(one))[0], found[0], atol=1e-5)
        counts = [f.experimental_get_tracing_count() for f in (encoder.graph, loaded.__call__)]
        assert counts == traced == [1, 1]


@pytest.mark.parametrize("fixed_first", [False, True])
def test_concrete_functions_that_differ_only_in_shape(tmp_path, fixed_first):
    """TensorFlow takes the first that fits; a call must reach the same one."""
    module = tf.Module()
    module.__call__ = tf.function(lambda x: tf.fill([2], x.shape[1] or -1))
    shapes = [(1, 16), (None, None)]
    for shape in shapes if fixed_first else reversed(shapes):
        module.__call__.get_concrete_function(waveform_spec(*shape))
    tf.saved_model.save(module, str(tmp_path / "m"))
    plain, loaded = tf.saved_model.load(str(tmp_path / "m")), load(tmp_path / "m")
    for shape in ((1, 16), (1, 8), (3, 20)):
        np.testing.assert_array_equal(loaded(tf.zeros(shape)), plain(tf.zeros(shape)))


@pytest.mark.parametrize("signature", [False, True])
def test_encoder_keeps_the_variables_of_its_module_alive(tmp_path, signature):
    """Functions of a loaded module hold its variables weakly; the encoder must keep the module."""
    module = tf.Module()
    module.one = tf.Variable(1.0)
    traced = tf.function(
        lambda x: {"e": module.one * pair(x)}, input_signature=[waveform_spec(None, None)]
    )
    if signature:
        tf.saved_model.save(module, str(tmp_path / "m"), signatures=traced.get_concrete_function())
    else:
        module.__call__ = traced
        tf.saved_model.save(module, str(tmp_path / "m"), signatures={})
    encoder = open_module(locate(tmp_path / "m"))
    gc.collect()
    np.testing.assert_allclose(encoder.embed(waveforms()), statistics_of(waveforms()), atol=1e-5)


def test_four_axes_as_speech_embedding(tmp_path):
    def function(x):
        return {"default": tf.stack([pair(x) - 1, pair(x) + 1], axis=1)[:, :, tf.newaxis]}

    module = save_module(tmp_path / "m", function, waveform_spec(None, None), signature=True)
    assert check(module)["output_key"] == "default"


def test_rank_one_with_a_tuple_as_yamnet(tmp_path):
    def function(x):
        frames = tf.stack([pair(x) - 1, pair(x) + 1])
        return tf.zeros([2, 521]), frames, tf.zeros([4, 64])

    module = save_module(tmp_path / "m", function, waveform_spec(None))
    with pytest.raises(EvaluationError, match=r"0: \(2, 521\).*--output_key"):
        open_module(module)
    found = check(module, output_key="1")
    assert (found["input_rank"], found["pool"], found["output_key"]) == (1, "mean", 1)


def test_rank_one_as_vggish(tmp_path):
    module = save_module(tmp_path / "m", lambda x: pair(x)[tf.newaxis], waveform_spec(None))
    assert check(module)["input_rank"] == 1


def test_both_ranks_prefer_the_batch(tmp_path):
    module = tf.Module()
    module.__call__ = tf.function(pair)
    for shape in ([None], [None, None]):
        module.__call__.get_concrete_function(waveform_spec(*shape))
    tf.saved_model.save(module, str(tmp_path / "m"))
    assert check(locate(tmp_path / "m"))["input_rank"] == 2


def test_required_sample_rate_as_trill(tmp_path):
    def function(samples, sample_rate):
        return {"embedding": pair(samples) * tf.cast(sample_rate, tf.float32) / 16_000}

    rate = tf.TensorSpec([], tf.int32, name="sample_rate")
    assert check(save_module(tmp_path / "m", function, waveform_spec(None, None), rate))


def test_required_sample_rate_of_a_signature(tmp_path):
    def function(waveform, sample_rate):
        return {"embedding": pair(waveform) * tf.cast(sample_rate, tf.float32) / 16_000}

    rate = tf.TensorSpec([], tf.int32, name="sample_rate")
    module = save_module(tmp_path / "m", function, waveform_spec(None, None), rate, signature=True)
    assert check(module)["entry_point"] == "serving_default"


def test_channel_axis_as_humpback_whale(tmp_path):
    module = save_module(tmp_path / "m", lambda x: pair(x[..., 0]), waveform_spec(None, None, 1))
    assert check(module)["input_rank"] == 3


@pytest.mark.parametrize("length", [300, 800, 2000])
@pytest.mark.parametrize("shape", ["batch", "one", "single batch"])
def test_fixed_lengths_are_tiled_padded_and_averaged(tmp_path, length, shape):
    spec = {
        "batch": waveform_spec(None, length),
        "one": waveform_spec(length),
        "single batch": waveform_spec(1, length),
    }[shape]
    module = save_module(tmp_path / "m", pair, spec)
    encoder, waveform = open_module(module), waveforms()
    assert encoder.interface["window_samples"] == length
    tiles = -(-SAMPLES // length)
    padded = np.pad(waveform, [(0, 0), (0, tiles * length - SAMPLES)]).reshape(3, tiles, length)
    expected = np.mean([statistics_of(padded[:, i]) for i in range(tiles)], axis=0)
    np.testing.assert_allclose(encoder.embed(waveform), expected, atol=1e-5)


def test_named_function_with_fixed_length_as_perch(tmp_path):
    def infer(x):
        return {"label": tf.zeros([tf.shape(x)[0], 9]), "embedding": pair(x)}

    module = save_module(tmp_path / "m", infer, waveform_spec(None, 500), name="infer_tf")
    assert open_module(module).interface["entry_point"] == "infer_tf"
    with pytest.raises(EvaluationError, match="infer_tf"):
        open_module(module, entry_point="infer")


def test_normalizations(tmp_path):
    module, waveform = (
        save_module(tmp_path / "m", pair, waveform_spec(None, None)),
        0.1 * waveforms() + 0.3,
    )
    standard = (waveform - waveform.mean(1, keepdims=True)) / waveform.std(1, keepdims=True)
    found = open_module(module, normalize="standard").embed(waveform)
    np.testing.assert_allclose(found, statistics_of(standard), atol=1e-3)
    peak = 0.25 * waveform / np.abs(waveform).max(axis=1, keepdims=True)
    found = open_module(module, normalize="peak_quarter").embed(waveform)
    np.testing.assert_allclose(found, statistics_of(peak), atol=1e-5)
    silence = np.zeros((1, SAMPLES), np.float32)
    assert np.isfinite(open_module(module, normalize="standard").embed(silence)).all()


@pytest.mark.parametrize(
    ("function", "word"),
    [
        (lambda x: {"a": pair(x), "b": pair(x)}, "several outputs"),
        (lambda x: (pair(x), pair(x)), "several outputs"),
        (lambda x: tf.reduce_sum(x), "first axis must be the batch"),
        (lambda x: tf.cast(pair(x), tf.int32), "no tensor of floats"),
    ],
)
def test_ambiguous_or_unusable_outputs_are_errors(tmp_path, function, word):
    with pytest.raises(EvaluationError, match=word):
        open_module(save_module(tmp_path / "m", function, waveform_spec(None, None)))


def test_a_wrong_output_key_lists_the_right_ones(tmp_path):
    module = save_module(tmp_path / "m", lambda x: {"features": pair(x)}, waveform_spec(None, None))
    with pytest.raises(EvaluationError, match="it has: features"):
        open_module(module, output_key="embedding")


def test_a_module_without_functions_is_an_error(tmp_path):
    module = tf.Module()
    module.weight = tf.Variable(1.0)
    tf.saved_model.save(module, str(tmp_path / "m"))
    with pytest.raises(EvaluationError, match="no function at all"):
        open_module(locate(tmp_path / "m"))


def test_an_input_that_is_not_audio_is_an_error(tmp_path):
    text = tf.TensorSpec([None], tf.string)
    module = save_module(tmp_path / "m", lambda words: tf.zeros([2, 3]), text)
    with pytest.raises(EvaluationError, match="takes neither"):
        open_module(module)


def test_sample_rate_is_never_guessed(tmp_path, statistics_module):
    bare = save_module(tmp_path / "m", pair, waveform_spec(None, None))
    with pytest.raises(EvaluationError, match="--sample_rate"):
        stated_interface(bare, NOTHING)
    assert stated_interface(locate(statistics_module), NOTHING)[0].sample_rate == 16_000
    (tmp_path / "m" / "model_card.json").write_text(json.dumps({"sample_rate": 8000}))
    stated, source = stated_interface(locate(tmp_path / "m"), Interface(pool="max"))
    assert (stated.sample_rate, stated.pool, source) == (8000, "max", "flags, card")
    (tmp_path / "m" / "model_card.json").write_text(json.dumps({"sample_rate": "fast"}))
    with pytest.raises(EvaluationError, match=r"card of .*sample_rate"):
        stated_interface(locate(tmp_path / "m"), NOTHING)


@pytest.mark.parametrize(
    ("handle", "name"),
    [
        ("https://tfhub.dev/google/yamnet/1", "yamnet"),
        ("https://www.kaggle.com/models/google/yamnet/tensorFlow2/yamnet/1", "yamnet"),
        ("/data/modules/vggish", "vggish"),
        ("https://tfhub.dev/google/nonsemantic-speech-benchmark/trill-distilled/3", "trill"),
        ("https://tfhub.dev/google/trillsson5/1", "trillsson"),
        ("https://tfhub.dev/vasudevgupta7/wav2vec2-960h/1", "wav2vec2"),
        ("exports/my_yamnet_copy", None),
    ],
)
def test_presets(handle, name):
    assert preset_for(handle)[0] == name


def test_a_preset_is_named_as_the_source(tmp_path):
    module = save_module(
        tmp_path / "yamnet", lambda x: (x, pair(x)[tf.newaxis], x), waveform_spec(None)
    )
    stated, source = stated_interface(module, NOTHING)
    assert "yamnet" in source and stated.output_key == 1 and stated.sample_rate == 16_000
    waveform = waveforms()
    found = open_encoder(module, stated).embed(waveform)
    np.testing.assert_allclose(found, statistics_of(waveform), atol=1e-5)


@pytest.mark.parametrize(
    "bad", [{"sample_rate": -3}, {"pool": "sum"}, {"input_rank": 4}, {"window_samples": 0}]
)
def test_bad_interface_values(bad):
    with pytest.raises(EvaluationError, match=next(iter(bad))):
        Interface(**bad)
