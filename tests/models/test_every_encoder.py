"""One suite for every registered encoder, small ones quickly and full-size ones as slow tests."""

import batch_norm_encoder
import keras
import numpy as np
import pytest
import tensorflow as tf

from hares_tf.audio import LogMel, Standardize
from hares_tf.commands import export as export_command
from hares_tf.models import (
    Encoder,
    EncoderSpec,
    ModelError,
    create_model,
    list_models,
    register,
)
from hares_tf.models.registry import get_spec

SPECS = [
    pytest.param(name, marks=[pytest.mark.slow] if get_spec(name).full_size else [])
    for name in list_models()
]
every_encoder = pytest.mark.parametrize("name", SPECS)


@pytest.fixture(scope="module")
def make_encoder():
    """Creates an encoder whose branches all have an effect, once for the tests of this file."""
    encoders: dict[str, Encoder] = {}

    def make(name: str) -> Encoder:
        if name not in encoders:
            keras.utils.set_random_seed(0)
            encoders[name] = create_model(name)
            with encoders[name].awake() as changed:
                values = [(variable, np.asarray(variable) / 2) for variable in changed]
            for variable, value in values:
                variable.assign(value)
        return encoders[name]

    return make


def _waveform(batch, samples, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (batch, samples)).astype(np.float32)


@every_encoder
@pytest.mark.parametrize("samples", ["min_samples", 399, 16_000, 47_523])
def test_any_length_gives_one_embedding_per_clip(make_encoder, name, samples):
    encoder = make_encoder(name)
    samples = encoder.min_samples if samples == "min_samples" else max(samples, encoder.min_samples)
    embedding = np.asarray(encoder(_waveform(2, samples), training=False))
    assert embedding.shape == (2, encoder.embedding_size) and np.isfinite(embedding).all()
    if samples > 1:  # standardization makes all single samples equal
        assert np.abs(embedding[0] - embedding[1]).max() > 1e-6
    if encoder.frame_hop is not None:
        again, frames = encoder.embedding_and_frames(_waveform(2, samples))
        np.testing.assert_allclose(np.asarray(again), embedding, atol=2e-5)
        steps = max(1, -(-samples // encoder.frame_hop))
        assert frames.shape[:2] == (2, steps)


@every_encoder
def test_silence_is_finite(make_encoder, name):
    assert np.isfinite(np.asarray(make_encoder(name)(np.zeros((1, 8000), np.float32)))).all()


@every_encoder
def test_a_batch_equals_its_members(make_encoder, name):
    encoder, batch = make_encoder(name), _waveform(3, 8000)
    single = np.concatenate([np.asarray(encoder(clip[None], training=False)) for clip in batch])
    np.testing.assert_allclose(np.asarray(encoder(batch, training=False)), single, atol=2e-5)


@every_encoder
def test_examples_are_independent_in_training_where_it_says_so(make_encoder, name):
    encoder, batch = make_encoder(name), _waveform(3, 8000)
    if encoder.is_stochastic:
        (masks,) = encoder.training_draws.values()
        draws = [{"residual_masks": np.ones((len(masks.rates), n), np.float32)} for n in (3, 1)]
    else:
        draws = [None, None]
    before = encoder.get_weights()
    together = np.asarray(encoder(batch, training=True, draws=draws[0]))[:1]
    alone = np.asarray(encoder(batch[:1], training=True, draws=draws[1]))
    encoder.set_weights(before)
    equal = np.abs(together - alone).max() < 1e-4
    assert equal == encoder.examples_independent


@every_encoder
def test_training_is_stochastic_where_it_says_so(make_encoder, name):
    encoder, waveform = make_encoder(name), _waveform(8, 8000)
    before = encoder.get_weights()
    calls = [np.asarray(encoder(waveform, training=True)) for _ in range(6)]
    encoder.set_weights(before)
    assert encoder.is_stochastic == any(np.abs(call - calls[0]).max() > 1e-6 for call in calls)


@every_encoder
def test_parameters_are_as_many_as_declared(make_encoder, name):
    encoder, declared = make_encoder(name), get_spec(name).parameters
    trained = sum(int(np.prod(v.shape)) for v in encoder.trainable_variables)
    assert declared in (None, trained)


@every_encoder
def test_keras_file_round_trip(make_encoder, name, tmp_path):
    encoder, waveform = make_encoder(name), _waveform(2, 6000)
    encoder.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert type(loaded) is type(encoder) and loaded.name == encoder.name
    again = type(encoder).from_config(loaded.get_config())
    assert again.get_config() == loaded.get_config()
    np.testing.assert_allclose(
        np.asarray(loaded(waveform, training=False)),
        np.asarray(encoder(waveform, training=False)),
        atol=1e-6,
    )


@every_encoder
def test_every_weight_gets_a_gradient(make_encoder, name):
    encoder = make_encoder(name)
    before = encoder.get_weights()
    with encoder.awake(), tf.GradientTape() as tape:
        loss = tf.reduce_mean(encoder(_waveform(2, 8000), training=True) ** 2)
    gradients = tape.gradient(loss, [v.value for v in encoder.trainable_variables])
    encoder.set_weights(before)
    assert all(g is not None and np.isfinite(g).all() for g in gradients)


@every_encoder
@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "float64"])
def test_precisions(name, dtype):
    encoder = create_model(name, dtype=dtype)
    embedding = encoder(_waveform(1, 4000), training=False)
    expected = "float64" if dtype == "float64" else "float32"
    assert keras.backend.standardize_dtype(embedding.dtype) == expected
    assert {keras.backend.standardize_dtype(v.dtype) for v in encoder.trainable_variables} <= {
        expected
    }
    assert np.isfinite(np.asarray(embedding, np.float64)).all()


@every_encoder
@pytest.mark.slow
def test_export_and_conformance(name, tmp_path):
    """The command checks outputs, signatures, gradients and training in a fresh process."""
    weights = [] if not create_model(name).weights else ["--random_weights"]
    assert export_command.main([f"--model={name}", *weights, f"--output={tmp_path / 'm'}"]) == 0


def test_batch_normalization_is_exported_with_its_statistics(tmp_path):
    output = tmp_path / "m"
    flags = [f"--model={batch_norm_encoder.NAME}", "--random_weights", f"--output={output}"]
    assert export_command.main(flags) == 0
    module = tf.saved_model.load(str(output))
    assert (len(module.variables), len(module.trainable_variables)) == (5, 3)
    (mean,) = (v for v in module.variables if "moving_mean" in v.name)
    waveform = tf.constant(_waveform(4, 8000))
    before, inference = mean.numpy(), module(waveform).numpy()
    np.testing.assert_array_equal(module(waveform).numpy(), inference)
    np.testing.assert_array_equal(mean.numpy(), before)
    module(waveform, training=True)
    assert np.abs(mean.numpy() - before).max() > 1e-3


def test_an_encoder_of_ones_own_is_registered_once():
    spec = EncoderSpec("own_encoder_of_a_test", batch_norm_encoder.create, "Own.", {"size": 2})
    assert register(spec) is register(spec) is spec
    assert create_model(spec.name).embedding_size == 2
    with pytest.raises(ModelError, match="another encoder"):
        register(EncoderSpec(spec.name, batch_norm_encoder.create, "Other."))


def test_stages_compose():
    """The encoder is nothing but its stages: what mixing between them relies on."""
    keras.utils.set_random_seed(0)
    model = create_model("slowfast_nfnet_tiny")
    waveform = _waveform(2, 8000)
    by_hand = model.network(Standardize()(LogMel()(waveform)))
    np.testing.assert_allclose(np.asarray(model(waveform)), np.asarray(by_hand), atol=1e-6)


def test_residual_masks_reach_the_network():
    keras.utils.set_random_seed(0)
    model = create_model("slowfast_nfnet_tiny")
    with model.awake() as gains:
        pass
    for gain in gains:
        gain.assign(0.5)
    waveform, rows = _waveform(2, 8000), len(model.network.residual_mask_rows)
    keep = np.ones((rows, 2), np.float32)
    all_kept = np.asarray(model(waveform, training=True, draws={"residual_masks": keep}))
    np.testing.assert_allclose(all_kept, np.asarray(model(waveform)), atol=1e-5)
    keep[:, 1] = 0
    second_dropped = np.asarray(model(waveform, training=True, draws={"residual_masks": keep}))
    np.testing.assert_allclose(second_dropped[0], all_kept[0], atol=1e-5)
    assert np.abs(second_dropped[1] - all_kept[1]).max() > 1e-3


def test_statistics_against_numpy():
    waveform = _waveform(2, 9000)
    bins = np.asarray(LogMel()(waveform), np.float64)[..., 0]
    expected = np.concatenate([bins.mean(axis=1), bins.std(axis=1)], axis=1)
    model = create_model("log_mel_statistics")
    np.testing.assert_allclose(np.asarray(model(waveform)), expected, atol=1e-4)
    assert model.count_params() == 0 and model.embedding_size == 160


def test_statistics_know_loudness():
    """They are taken before the standardization, which would erase the level."""
    model = create_model("log_mel_statistics")
    quiet, loud = np.asarray(model(_waveform(1, 8000) * np.array([[0.01], [1.0]], np.float32)))
    assert np.all(loud[:80] > quiet[:80] + 1)


def test_unknown_names_get_a_hint():
    with pytest.raises(ModelError, match="slowfast_nfnet_f0"):
        create_model("slowfast_f0")
