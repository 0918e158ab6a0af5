"""Windows: the parts of a clip that are embedded in testing."""

import numpy as np


def window_samples(seconds: float, sample_rate: int) -> int:
    """Length of a window in samples."""
    return max(1, round(seconds * sample_rate))


def tile(waveform: np.ndarray, length: int) -> np.ndarray:
    """Cuts `[samples]` into `[windows, length]` from sample 0; the last window is zero-padded.

    Every clip gives at least one window. This is the cover that the paper scores clips on
    (Appendix A: consecutive non-overlapped subclips that cover the whole clip).
    """
    windows = max(1, -(-len(waveform) // length))
    padded = np.zeros(windows * length, np.float32)
    padded[: len(waveform)] = waveform
    return padded.reshape(windows, length)
