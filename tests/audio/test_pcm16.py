"""16-bit samples keep their values."""

import numpy as np

from hares_tf.audio import load_audio
from hares_tf.audio.pcm16 import FULL_SCALE, to_int16


def test_every_sample_comes_back(tmp_path):
    import soundfile

    samples = np.arange(-32_768, 32_768, dtype=np.int16)
    soundfile.write(tmp_path / "all.wav", samples, 16_000, subtype="PCM_16")
    waveform = load_audio(tmp_path / "all.wav", 16_000)
    np.testing.assert_array_equal(waveform, samples / np.float32(FULL_SCALE))
    np.testing.assert_array_equal(to_int16(waveform), samples)


def test_samples_beyond_full_scale_are_clipped():
    np.testing.assert_array_equal(
        to_int16(np.array([1.0, 2.0, -1.0, -2.0])), [32767, 32767] + 2 * [-32768]
    )
