"""The public form of a model: batches, recordings and files."""

import numpy as np
import pytest
import soundfile

from hares_tf.evaluation import Encoder, EvaluationError, open_encoder

RATE = 8000


def loudness(batch):
    return np.stack([np.abs(batch).max(axis=1), batch.mean(axis=1)], axis=1)


loudness.sample_rate = RATE


def test_a_handle_is_opened_and_embeds_batches():
    encoder = open_encoder(loudness)
    waveforms = np.random.default_rng(0).uniform(-1, 1, (3, 500)).astype(np.float32)
    np.testing.assert_allclose(encoder.embed(waveforms), loudness(waveforms))
    assert encoder.sample_rate == RATE
    assert encoder.description == "calls loudness: 2 features at 8000 Hz"


@pytest.mark.parametrize("samples", [1, 4000, 4001, 41_000])
def test_a_file_is_the_mean_of_its_zero_padded_windows(tmp_path, samples):
    waveform = np.random.default_rng(1).integers(-9000, 9000, samples).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", waveform, RATE, "PCM_16")
    windows = np.zeros((-(-samples // 4000), 4000), np.float32)
    windows.reshape(-1)[:samples] = waveform / np.float32(32768)
    embedding = open_encoder(loudness).embed_file(tmp_path / "a.wav", window_seconds=0.5)
    np.testing.assert_allclose(embedding, loudness(windows).mean(axis=0), rtol=1e-5, atol=1e-7)


def test_wrong_shapes_are_sentences():
    encoder = open_encoder(loudness)
    with pytest.raises(EvaluationError, match=r"\[batch, samples\]"):
        encoder.embed(np.zeros(500, np.float32))
    grows = Encoder(lambda batch: np.zeros((len(batch), 3)), RATE, {"embedding_size": 2})
    with pytest.raises(EvaluationError, match="returned 3 features .* begins with a.wav, and 2"):
        grows.embed(np.zeros((1, 500), np.float32), "a.wav")
