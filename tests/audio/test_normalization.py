"""Normalization of waveforms, in NumPy and in TensorFlow's graph alike."""

import numpy as np
import pytest
import tensorflow as tf

from hares_tf.audio.normalization import normalized


@pytest.mark.parametrize("deviation", [0.0, 1e-9, 1e-4, 0.1])
@pytest.mark.parametrize("kind", ["standard", "peak_quarter", None])
def test_numpy_and_tensorflow_agree(kind, deviation):
    noise = np.random.default_rng(0).normal(0.01, 1, (2, 1000)).astype(np.float32)
    waveforms = (deviation * noise).astype(np.float32)
    array = normalized(waveforms, kind)
    tensor = tf.function(lambda x: normalized(x, kind, tf.experimental.numpy))(waveforms)
    assert array.dtype == np.float32 and tensor.dtype == tf.float32
    np.testing.assert_allclose(tensor, array, rtol=1e-4, atol=1e-6)


def test_values():
    noise = np.random.default_rng(0).normal(0, 1, (1, 100_000)).astype(np.float32)
    # 1e-4 / sqrt(1e-8 + 1e-7), as in the feature extractor of wav2vec 2.0.
    assert normalized(1e-4 * noise, "standard").std() == pytest.approx(0.3015, rel=0.01)
    assert normalized(0.1 * noise, "standard").std() == pytest.approx(1.0, rel=1e-4)
    assert np.abs(normalized(1e-9 * noise, "peak_quarter")).max() == pytest.approx(0.25)
    assert not normalized(np.zeros((1, 10), np.float32), "peak_quarter").any()
