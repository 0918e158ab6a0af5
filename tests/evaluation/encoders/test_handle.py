"""The adapter: what it finds is stated, what it cannot choose is an error.

The stand-in modules have the interfaces of public ones; their embedding of a waveform is (mean,
maximum), so that the right answer is known.
"""

import gc
import json
import tarfile

import numpy as np
import pytest
import tensorflow as tf

from hares_tf.evaluation import EvaluationError
from hares_tf.evaluation.encoders.handle import open_encoder, stated_interface
from hares_tf.evaluation.encoders.interface import Interface, preset_for
from hares_tf.hub import HubError, load, locate

SAMPLES = 800
NOTHING = Interface()


def _pair(x):
    return tf.stack([tf.reduce_mean(x, -1), tf.reduce_max(x, -1)], -1)


def _spec(*shape):
    return tf.TensorSpec(shape, tf.float32, name="waveform")


def _module(folder, function, *specs, signature=False, name="__call__"):
    """Saves a module whose function `name` (or only its signature) is `function`."""
    module = tf.Module()
    traced = tf.function(function, input_signature=list(specs))
    if signature:
        tf.saved_model.save(module, str(folder), signatures=traced.get_concrete_function())
    else:
        setattr(module, name, traced)
        # TensorFlow makes a signature of an only function by itself; not here.
        tf.saved_model.save(module, str(folder), signatures={})
    return locate(folder)


def _waveform(samples=SAMPLES, batch=3):
    return np.random.default_rng(0).uniform(-1, 1, (batch, samples)).astype(np.float32)


def _expected(waveform):
    return np.stack([waveform.mean(axis=1), waveform.max(axis=1)], axis=1)


def _open(module, **flags):
    stated, _ = stated_interface(module, Interface(**{"sample_rate": 16_000, **flags}))
    return open_encoder(module, stated)


def _check(module, **flags):
    """Opens, embeds, compares; gives what the adapter chose."""
    encoder, waveform = _open(module, **flags), _waveform()
    np.testing.assert_allclose(encoder.embed(waveform), _expected(waveform), atol=1e-5)
    assert encoder.interface["embedding_size"] == 2 and "2 features" in encoder.description
    return encoder.interface


def test_batch_to_tensor(tmp_path):
    found = _check(_module(tmp_path / "m", _pair, _spec(None, None)))
    assert (found["entry_point"], found["input_rank"], found["pool"]) == ("__call__", 2, None)


def test_dictionary_with_embedding(tmp_path):
    both = lambda x: {"embedding": _pair(x), "other": 2 * _pair(x)}  # noqa: E731
    assert _check(_module(tmp_path / "m", both, _spec(None, None)))["output_key"] == "embedding"


def test_dictionary_with_one_entry(tmp_path):
    module = _module(tmp_path / "m", lambda x: {"features": _pair(x)}, _spec(None, None))
    assert _check(module)["output_key"] == "features"


def test_time_axis_is_averaged(tmp_path):
    in_time = lambda x: tf.stack([_pair(x) - 1, _pair(x) + 1], axis=1)  # noqa: E731
    module = _module(tmp_path / "m", in_time, _spec(None, None))
    assert _check(module)["pool"] == "mean"
    top = _open(module, pool="max")
    np.testing.assert_allclose(top.embed(_waveform()), _expected(_waveform()) + 1, atol=1e-5)


def test_a_new_length_is_no_new_graph(tmp_path):
    """Optimizing one takes about a second for a large network."""
    for name, spec in (("batch", _spec(None, None)), ("single", _spec(None))):
        module = _module(tmp_path / name, _pair, spec)
        encoder = _open(module)
        loaded = load(module)
        traced = [f.experimental_get_tracing_count() for f in (encoder.graph, loaded.__call__)]
        for samples in (3, SAMPLES, SAMPLES + 1):
            waveform = _waveform(samples, batch=1 + samples % 3)
            found = encoder.embed(waveform)
            np.testing.assert_allclose(found, _expected(waveform), atol=1e-5)
            one = waveform if name == "batch" else waveform[0]
            np.testing.assert_allclose(np.atleast_2d(loaded(one))[0], found[0], atol=1e-5)
        counts = [f.experimental_get_tracing_count() for f in (encoder.graph, loaded.__call__)]
        assert counts == traced == [1, 1]


@pytest.mark.parametrize("fixed_first", [False, True])
def test_forms_that_differ_in_sizes_alone(tmp_path, fixed_first):
    """TensorFlow takes the first that fits; a call must reach the same one."""
    module = tf.Module()
    module.__call__ = tf.function(lambda x: tf.fill([2], x.shape[1] or -1))
    shapes = [(1, 16), (None, None)]
    for shape in shapes if fixed_first else reversed(shapes):
        module.__call__.get_concrete_function(_spec(*shape))
    tf.saved_model.save(module, str(tmp_path / "m"))
    plain, loaded = tf.saved_model.load(str(tmp_path / "m")), load(tmp_path / "m")
    for shape in ((1, 16), (1, 8), (3, 20)):
        np.testing.assert_array_equal(loaded(tf.zeros(shape)), plain(tf.zeros(shape)))


@pytest.mark.parametrize("signature", [False, True])
def test_variables_outlive_the_loading(tmp_path, signature):
    """Functions of a loaded module hold its variables weakly; the encoder must keep the module."""
    module = tf.Module()
    module.one = tf.Variable(1.0)
    traced = tf.function(
        lambda x: {"e": module.one * _pair(x)}, input_signature=[_spec(None, None)]
    )
    if signature:
        tf.saved_model.save(module, str(tmp_path / "m"), signatures=traced.get_concrete_function())
    else:
        module.__call__ = traced
        tf.saved_model.save(module, str(tmp_path / "m"), signatures={})
    encoder = _open(locate(tmp_path / "m"))
    gc.collect()
    np.testing.assert_allclose(encoder.embed(_waveform()), _expected(_waveform()), atol=1e-5)


def test_four_axes_as_speech_embedding(tmp_path):
    def function(x):
        return {"default": tf.stack([_pair(x) - 1, _pair(x) + 1], axis=1)[:, :, tf.newaxis]}

    module = _module(tmp_path / "m", function, _spec(None, None), signature=True)
    assert _check(module)["output_key"] == "default"


def test_rank_one_with_a_tuple_as_yamnet(tmp_path):
    def function(x):
        frames = tf.stack([_pair(x) - 1, _pair(x) + 1])
        return tf.zeros([2, 521]), frames, tf.zeros([4, 64])

    module = _module(tmp_path / "m", function, _spec(None))
    with pytest.raises(EvaluationError, match=r"0: \(2, 521\).*--output_key"):
        _open(module)
    found = _check(module, output_key="1")
    assert (found["input_rank"], found["pool"], found["output_key"]) == (1, "mean", 1)


def test_rank_one_as_vggish(tmp_path):
    module = _module(tmp_path / "m", lambda x: _pair(x)[tf.newaxis], _spec(None))
    assert _check(module)["input_rank"] == 1


def test_both_ranks_prefer_the_batch(tmp_path):
    module = tf.Module()
    module.__call__ = tf.function(_pair)
    for shape in ([None], [None, None]):
        module.__call__.get_concrete_function(_spec(*shape))
    tf.saved_model.save(module, str(tmp_path / "m"))
    assert _check(locate(tmp_path / "m"))["input_rank"] == 2


def test_required_sample_rate_as_trill(tmp_path):
    def function(samples, sample_rate):
        return {"embedding": _pair(samples) * tf.cast(sample_rate, tf.float32) / 16_000}

    rate = tf.TensorSpec([], tf.int32, name="sample_rate")
    assert _check(_module(tmp_path / "m", function, _spec(None, None), rate))


def test_required_sample_rate_of_a_signature(tmp_path):
    def function(waveform, sample_rate):
        return {"embedding": _pair(waveform) * tf.cast(sample_rate, tf.float32) / 16_000}

    rate = tf.TensorSpec([], tf.int32, name="sample_rate")
    module = _module(tmp_path / "m", function, _spec(None, None), rate, signature=True)
    assert _check(module)["entry_point"] == "serving_default"


def test_channel_axis_as_humpback_whale(tmp_path):
    module = _module(tmp_path / "m", lambda x: _pair(x[..., 0]), _spec(None, None, 1))
    assert _check(module)["input_rank"] == 3


@pytest.mark.parametrize("length", [300, 800, 2000])
@pytest.mark.parametrize("shape", ["batch", "one", "single batch"])
def test_fixed_lengths_are_tiled_padded_and_averaged(tmp_path, length, shape):
    spec = {"batch": _spec(None, length), "one": _spec(length), "single batch": _spec(1, length)}[
        shape
    ]
    module = _module(tmp_path / "m", _pair, spec)
    encoder, waveform = _open(module), _waveform()
    assert encoder.interface["window_samples"] == length
    tiles = -(-SAMPLES // length)
    padded = np.pad(waveform, [(0, 0), (0, tiles * length - SAMPLES)]).reshape(3, tiles, length)
    expected = np.mean([_expected(padded[:, i]) for i in range(tiles)], axis=0)
    np.testing.assert_allclose(encoder.embed(waveform), expected, atol=1e-5)


def test_named_function_with_fixed_length_as_perch(tmp_path):
    def infer(x):
        return {"label": tf.zeros([tf.shape(x)[0], 9]), "embedding": _pair(x)}

    module = _module(tmp_path / "m", infer, _spec(None, 500), name="infer_tf")
    assert _open(module).interface["entry_point"] == "infer_tf"
    with pytest.raises(EvaluationError, match="infer_tf"):
        _open(module, entry_point="infer")


def test_normalizations(tmp_path):
    module, waveform = _module(tmp_path / "m", _pair, _spec(None, None)), 0.1 * _waveform() + 0.3
    standard = (waveform - waveform.mean(1, keepdims=True)) / waveform.std(1, keepdims=True)
    found = _open(module, normalize="standard").embed(waveform)
    np.testing.assert_allclose(found, _expected(standard), atol=1e-3)
    peak = 0.25 * waveform / np.abs(waveform).max(axis=1, keepdims=True)
    found = _open(module, normalize="peak_quarter").embed(waveform)
    np.testing.assert_allclose(found, _expected(peak), atol=1e-5)
    silence = np.zeros((1, SAMPLES), np.float32)
    assert np.isfinite(_open(module, normalize="standard").embed(silence)).all()


@pytest.mark.parametrize(
    ("function", "word"),
    [
        (lambda x: {"a": _pair(x), "b": _pair(x)}, "several outputs"),
        (lambda x: (_pair(x), _pair(x)), "several outputs"),
        (lambda x: tf.reduce_sum(x), "first axis must be the batch"),
        (lambda x: tf.cast(_pair(x), tf.int32), "no tensor of floats"),
    ],
)
def test_what_cannot_be_chosen_is_an_error(tmp_path, function, word):
    with pytest.raises(EvaluationError, match=word):
        _open(_module(tmp_path / "m", function, _spec(None, None)))


def test_a_wrong_output_key_lists_the_right_ones(tmp_path):
    module = _module(tmp_path / "m", lambda x: {"features": _pair(x)}, _spec(None, None))
    with pytest.raises(EvaluationError, match="it has: features"):
        _open(module, output_key="embedding")


def test_no_function_at_all(tmp_path):
    module = tf.Module()
    module.weight = tf.Variable(1.0)
    tf.saved_model.save(module, str(tmp_path / "m"))
    with pytest.raises(EvaluationError, match="no function at all"):
        _open(locate(tmp_path / "m"))


def test_an_input_nobody_can_fill(tmp_path):
    text = tf.TensorSpec([None], tf.string)
    module = _module(tmp_path / "m", lambda words: tf.zeros([2, 3]), text)
    with pytest.raises(EvaluationError, match="takes neither"):
        _open(module)


def test_sample_rate_is_never_guessed(tmp_path, statistics_module):
    bare = _module(tmp_path / "m", _pair, _spec(None, None))
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


def test_a_preset_names_itself(tmp_path):
    module = _module(tmp_path / "yamnet", lambda x: (x, _pair(x)[tf.newaxis], x), _spec(None))
    stated, source = stated_interface(module, NOTHING)
    assert "yamnet" in source and stated.output_key == 1 and stated.sample_rate == 16_000
    waveform = _waveform()
    found = open_encoder(module, stated).embed(waveform)
    np.testing.assert_allclose(found, _expected(waveform), atol=1e-5)


@pytest.mark.parametrize(
    "bad", [{"sample_rate": -3}, {"pool": "sum"}, {"input_rank": 4}, {"window_samples": 0}]
)
def test_bad_interface_values(bad):
    with pytest.raises(EvaluationError, match=next(iter(bad))):
        Interface(**bad)


# --- handles --------------------------------------------------------------------------------------


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


def test_version_folders(tmp_path):
    for version in ("2", "10"):
        _module(tmp_path / "speech" / version, _pair, _spec(None, None))
    found = locate(tmp_path / "speech")
    assert found.path.name == "10" and found.name == "speech"
    assert locate(tmp_path / "speech" / "2").name == "speech"


def test_a_damaged_module_is_a_sentence(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "saved_model.pb").write_bytes(b"\x00garbage")
    with pytest.raises(HubError, match="cannot be loaded"):
        _open(locate(tmp_path / "m"))
    (tmp_path / "m" / "assets").mkdir()
    (tmp_path / "m" / "assets" / "model_card.json").write_text("{")
    with pytest.raises(HubError, match="not a readable model card"):
        locate(tmp_path / "m")


@pytest.mark.parametrize("top", [".", "yamnet_1"])
def test_archives(tmp_path, top):
    folder = _module(tmp_path / "m", _pair, _spec(None, None)).path
    with tarfile.open(tmp_path / "shared.tar.gz", "w:gz") as tar:
        tar.add(folder, arcname=top)
    for handle in (tmp_path / "shared.tar.gz", f"file://{tmp_path}/shared.tar.gz"):
        module = locate(handle)
        assert module.name == "shared"
        _check(module)
    assert module.content_hash() == locate(folder).content_hash()


def test_hostile_and_broken_archives(tmp_path):
    def archive(name, **member):
        with tarfile.open(tmp_path / name, "w:gz") as tar:
            info = tarfile.TarInfo(member["path"])
            info.type, info.linkname = member.get("type", tarfile.REGTYPE), member.get("to", "")
            tar.addfile(info)
        return tmp_path / name

    for name, word, member in [
        ("up.tar.gz", "leads out", {"path": "../evil"}),
        ("root.tar.gz", "leads out", {"path": "/etc/evil"}),
        ("link.tar.gz", "no plain file", {"path": "a", "type": tarfile.SYMTYPE, "to": "/etc"}),
        ("device.tar.gz", "no plain file", {"path": "a", "type": tarfile.CHRTYPE}),
        ("other.tar.gz", "no saved_model.pb", {"path": "readme"}),
    ]:
        with pytest.raises(HubError, match=word):
            locate(archive(name, **member))
    (tmp_path / "cut.tar.gz").write_bytes((tmp_path / "other.tar.gz").read_bytes()[:40])
    with pytest.raises(HubError, match="cannot be unpacked"):
        locate(tmp_path / "cut.tar.gz")
    assert not (tmp_path.parent / "evil").exists()


def test_keras_files(tmp_path):
    from hares_tf.models import create_model

    model = create_model("log_mel_statistics")
    model.save(tmp_path / "floor.keras")
    encoder, waveform = _open(locate(tmp_path / "floor.keras")), _waveform()
    np.testing.assert_allclose(encoder.embed(waveform), model(waveform), atol=1e-5)


PLUG_IN = """
import numpy as np

def encode(batch):
    return np.stack([batch.mean(1), batch.max(1)], 1)

encode.sample_rate = 16000
encode.fingerprint = "1"

def wrong(batch):
    return batch.mean()

wrong.sample_rate = 16000
number = 3
"""


def test_python_functions(tmp_path, monkeypatch):
    (tmp_path / "plug_in_for_hares.py").write_text(PLUG_IN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    module = locate("python:plug_in_for_hares:encode")
    stated, _ = stated_interface(module, NOTHING)
    waveform = _waveform()
    found = open_encoder(module, stated).embed(waveform)
    np.testing.assert_allclose(found, _expected(waveform), atol=1e-6)
    assert len(module.content_hash()) == 64
    module.function.fingerprint = "2"
    assert module.content_hash() != locate("python:plug_in_for_hares:wrong").content_hash()
    with pytest.raises(EvaluationError, match=r"\(\).*\[batch, dim\]"):
        _open(locate("python:plug_in_for_hares:wrong"))
    module.function.embedding_size = 7
    with pytest.raises(EvaluationError, match="embedding_size 7"):
        open_encoder(module, stated)


@pytest.mark.parametrize(
    ("handle", "word"),
    [
        ("python:nowhere_to_be_found:f", "cannot be imported"),
        ("python:json:nothing", "cannot be imported"),
        ("python:json", "python:package.module:function"),
        ("python:json:__doc__", "not a function"),
    ],
)
def test_functions_that_are_none(handle, word):
    with pytest.raises(HubError, match=word):
        locate(handle)


def test_remote_handles_go_through_tensorflow_hub(tmp_path, monkeypatch):
    folder = _module(tmp_path / "cached", _pair, _spec(None, None)).path
    monkeypatch.setattr("tensorflow_hub.resolve", lambda handle: str(folder))
    module = locate("https://tfhub.dev/google/frill/1")
    assert module.path == folder and module.name == "frill"
    (folder / "saved_model.pb").unlink()
    with pytest.raises(HubError, match=r"is broken .no saved_model.pb"):
        locate("https://tfhub.dev/google/frill/1")

    def unreachable(handle):
        raise OSError("no route to host")

    monkeypatch.setattr("tensorflow_hub.resolve", unreachable)
    with pytest.raises(HubError, match=r"cannot be fetched .no route"):
        locate("https://tfhub.dev/google/frill/1")
