"""Checks of encoders: sound encoders pass, and every defect is found."""

import numpy as np
import pytest

from hares_tf.evaluation import Encoder
from hares_tf.evaluation.encoders.checking import check_encoder

_RANDOM = np.random.default_rng(0)


def _sound(batch):
    """Mean level and spectral centroid: finite, deterministic, each waveform for itself."""
    spectrum = np.abs(np.fft.rfft(batch, 1024, axis=1)) + 1e-6
    centroid = (spectrum * np.arange(spectrum.shape[1])).sum(1) / spectrum.sum(1)
    return np.stack([np.abs(batch).mean(1), centroid], axis=1).astype(np.float32)


def _bad(encoder):
    return {f.name for f in check_encoder(Encoder(encoder, 8000)) if not f.good}


def test_a_sound_encoder_has_no_defect():
    assert _bad(_sound) == set()


@pytest.mark.parametrize(
    ("defect", "names"),
    [
        (lambda b: _sound(b) + _RANDOM.normal(size=(len(b), 2)), {"determinism"}),
        (lambda b: _sound(b) - _sound(b).mean(0), {"batch invariance"}),
        (lambda b: np.zeros((len(b), 2), np.float32), {"distinctness"}),
        (lambda b: _sound(b) / b.std(1, keepdims=True), {"silence"}),
        (lambda b: _sound(b) * (np.nan if b.shape[1] < 1000 else 1), {"0.1 s"}),
    ],
)
def test_defects_are_found(defect, names):
    with np.errstate(all="ignore"):
        assert names <= _bad(defect)


def test_exceptions_are_findings():
    def limited(batch):
        if batch.shape[1] > 100_000:
            raise ValueError("too long for me")
        return _sound(batch)

    findings = check_encoder(Encoder(limited, 8000))
    (failed,) = [finding for finding in findings if not finding.good]
    assert failed.name == "60 s" and "too long for me" in failed.text
