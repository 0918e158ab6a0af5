"""Example mixing against closed forms."""

import functools

import keras
import numpy as np
import pytest
from scipy import stats

from hares_tf.audio import LogMel
from hares_tf.models import ModelError, WaveformEncoder
from hares_tf.objectives import MixingObjective, ObjectiveError, beta_5_2, mix


def test_beta_5_2_follows_its_distribution():
    uniforms = np.random.default_rng(0).uniform(size=(200_000, 6)).astype(np.float32)
    ratios = keras.ops.convert_to_numpy(beta_5_2(uniforms))
    beta = stats.beta(5, 2)
    # Four standard errors of each estimate.
    assert abs(ratios.mean() - 5 / 7) < 4 * beta.std() / np.sqrt(len(ratios))
    assert abs(ratios.var() - 5 * 2 / (7**2 * 8)) < 1e-3
    assert abs((ratios < 0.5).mean() - 0.109375) < 4 * np.sqrt(0.109 * 0.891 / len(ratios))
    # Kolmogorov-Smirnov: the whole distribution, at one in ten thousand.
    assert stats.kstest(ratios[:20_000], beta.cdf).pvalue > 1e-4


def test_beta_5_2_takes_the_fifth_smallest():
    assert float(beta_5_2(np.array([0.6, 0.1, 0.5, 0.2, 0.4, 0.3]))) == 0.5


def test_beta_5_2_wants_six_numbers():
    with pytest.raises(ObjectiveError, match="6 uniform numbers"):
        beta_5_2(np.zeros((3, 5)))


def test_mix_is_a_blend_with_the_partner():
    examples = np.arange(12.0).reshape(3, 2, 2)
    partners, ratios = np.array([2, 0, 1]), np.array([1.0, 0.25, 0.5])
    mixed = keras.ops.convert_to_numpy(mix(examples, partners, ratios))
    expected = np.stack(
        [
            examples[0],
            0.25 * examples[1] + 0.75 * examples[0],
            0.5 * examples[2] + 0.5 * examples[1],
        ]
    )
    np.testing.assert_allclose(mixed, expected, rtol=1e-6)


def test_ratios_are_used_as_drawn():
    """Below one half the partner is the louder one; nothing turns the ratio round."""
    mixed = mix(np.array([[0.0], [1.0]]), np.array([1, 0]), np.array([0.1, 0.1]))
    np.testing.assert_allclose(mixed, [[0.9], [0.1]], rtol=1e-6)


@pytest.mark.parametrize("domain", ["log_mel", "mel", "waveform", "none"])
def test_domains_mix_where_they_say(domain):
    frontend = LogMel()
    waveform = np.random.default_rng(0).normal(0, 0.1, (3, 1600)).astype(np.float32)
    partners, ratios = np.array([1, 2, 0]), np.array([0.7, 0.6, 0.9], np.float32)
    encoder = WaveformEncoder(frontend, keras.layers.Flatten(), standardize=False)
    mixer = functools.partial(mix, partners=partners, ratios=ratios)
    got = keras.ops.convert_to_numpy(encoder.inputs(waveform, mixer, domain))

    def blend(x):
        r = ratios.reshape(-1, *[1] * (x.ndim - 1))
        return r * x + (1 - r) * x[partners]

    log_mel = np.asarray(frontend(waveform))
    expected = {
        "log_mel": lambda: blend(log_mel),
        "mel": lambda: np.log1p(1e4 * blend(np.expm1(log_mel.astype(np.float64)) / 1e4)),
        "waveform": lambda: np.asarray(frontend(blend(waveform))),
        "none": lambda: log_mel,
    }[domain]()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_unknown_domain():
    with pytest.raises(ObjectiveError, match="log_mel, mel, waveform, none"):
        MixingObjective("spectrum")
    with pytest.raises(ModelError, match="log_mel, mel, waveform, none"):
        WaveformEncoder(LogMel(), keras.layers.Flatten()).inputs(np.zeros((1, 400)), None, "mfcc")
