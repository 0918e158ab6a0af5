"""16-bit samples: one full scale everywhere, so that files come back as they were."""

import numpy as np

#: The value of a 16-bit sample that stands for 1.0, as libsndfile and TensorFlow decode it.
FULL_SCALE = 32_768


def to_int16(waveform: np.ndarray) -> np.ndarray:
    """Converts samples in [-1, 1] to little-endian int16, clipped and rounded to nearest.

    A waveform that was decoded from 16-bit samples gives exactly these samples.
    """
    # In float64 the product is exact, so that it is rounded only once.
    scaled = np.asarray(waveform, np.float64) * FULL_SCALE
    return np.rint(scaled).clip(-FULL_SCALE, FULL_SCALE - 1).astype("<i2")
