"""What every registered encoder must be able to do, and the registry itself."""

import keras
import numpy as np
import pytest

from hares_tf.audio import LogMel, Standardize
from hares_tf.models import ModelError, WaveformEncoder, create_model, list_models

# f0 costs seconds per call; its own tests cover it. Everything else is checked here, but for what
# other tests have added to the registry.
QUICK = [
    name for name in list_models() if name not in ("slowfast_nfnet_f0", "slowfast_nfnet_micro")
]


@pytest.fixture(scope="module", params=QUICK)
def encoder(request):
    keras.utils.set_random_seed(0)
    model = create_model(request.param)
    for variable in model.trainable_variables:
        if variable.name == "skip_gain":
            variable.assign(0.5)
    return model


def _waveform(batch, samples, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (batch, samples)).astype(np.float32)


@pytest.mark.parametrize("samples", [1, 399, 16_000, 47_523])
def test_any_length_gives_one_embedding_per_clip(encoder, samples):
    embedding = np.asarray(encoder(_waveform(2, samples)))
    assert embedding.shape == (2, encoder.embedding_size) and np.isfinite(embedding).all()


def test_silence_is_finite(encoder):
    assert np.isfinite(np.asarray(encoder(np.zeros((1, 8000), np.float32)))).all()


def test_a_batch_equals_its_members(encoder):
    batch = _waveform(3, 8000)
    single = np.concatenate([np.asarray(encoder(clip[None])) for clip in batch])
    np.testing.assert_allclose(np.asarray(encoder(batch)), single, atol=2e-5)


def test_different_sounds_differ(encoder):
    one, two = np.asarray(encoder(_waveform(2, 8000)))
    assert np.abs(one - two).max() > 1e-3


def test_keras_file_round_trip(encoder, tmp_path):
    encoder.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert isinstance(loaded, WaveformEncoder) and loaded.name == encoder.name
    waveform = _waveform(2, 6000)
    np.testing.assert_allclose(
        np.asarray(loaded(waveform)), np.asarray(encoder(waveform)), atol=1e-6
    )


def test_every_weight_gets_a_gradient(encoder):
    import tensorflow as tf

    if not encoder.trainable_variables:
        pytest.skip("no parameters")
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(encoder(_waveform(2, 8000), training=True) ** 2)
    gradients = tape.gradient(loss, [v.value for v in encoder.trainable_variables])
    assert all(g is not None and np.isfinite(g).all() for g in gradients)


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
    for variable in model.trainable_variables:
        if variable.name == "skip_gain":
            variable.assign(0.5)
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
    """They are taken before the standardisation, which would erase the level."""
    model = create_model("log_mel_statistics")
    quiet, loud = np.asarray(model(_waveform(1, 8000) * np.array([[0.01], [1.0]], np.float32)))
    assert np.all(loud[:80] > quiet[:80] + 1)


def test_float64():
    embedding = create_model("slowfast_nfnet_tiny", dtype="float64")(_waveform(1, 4000))
    assert keras.backend.standardize_dtype(embedding.dtype) == "float64"


def test_f0_has_the_papers_size():
    model = create_model("slowfast_nfnet_f0")
    assert model.count_params() == 62_970_654 and model.embedding_size == 3456


def test_unknown_names_get_a_hint():
    with pytest.raises(ModelError, match="slowfast_nfnet_f0"):
        create_model("slowfast_f0")
