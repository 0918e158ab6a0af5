"""Normalization of waveforms, as modules of others expect it."""

from types import ModuleType
from typing import Any

import numpy as np

# Added to the variance by the feature extractor of wav2vec 2.0 in transformers, which is the usual
# one of such models: noise of deviation 1e-4 comes out at 0.30, silence stays silent.
_EPSILON = 1e-7
# A tuple, because OpenVINO fails to fuse a normalization whose axes are a scalar.
_SAMPLES = (1,)


def normalized(waveforms: Any, kind: str | None, xp: ModuleType = np) -> Any:
    """Normalizes each waveform.

    Args:
        waveforms: `[batch, samples]` float32, an array or a tensor.
        kind: "standard" (mean 0, variance 1), "peak_quarter" (peak 0.25), or None.
        xp: the functions for it: `numpy`, or `tensorflow.experimental.numpy` in a graph.

    Returns:
        `[batch, samples]` of the same type; silence stays silent.
    """
    if kind == "standard":
        centered = waveforms - xp.mean(waveforms, axis=_SAMPLES, keepdims=True)
        variance = xp.mean(centered * centered, axis=_SAMPLES, keepdims=True)
        return centered / xp.sqrt(variance + _EPSILON)
    if kind == "peak_quarter":
        peak = xp.max(xp.abs(waveforms), axis=_SAMPLES, keepdims=True)
        return 0.25 * waveforms / xp.where(peak > 0, peak, xp.ones_like(peak))
    return waveforms
