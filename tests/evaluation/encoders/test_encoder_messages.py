"""What is said about modules that give nothing, take certain lengths, or do not fit a preset."""

import numpy as np
import pytest
import tensorflow as tf
from evaluation.encoders.statistics_modules import open_module, pair, save_module, waveform_spec

from hares_tf.evaluation import EvaluationError
from hares_tf.evaluation.encoders.encoder import Encoder
from hares_tf.evaluation.encoders.handle import open_encoder
from hares_tf.evaluation.encoders.interface import Interface


@pytest.mark.parametrize("axes", ["[batch, 0]", "[batch, time, 0]"])
def test_a_module_without_features(axes, tmp_path):
    def empty(waveform):
        return waveform[:, :0] if axes == "[batch, 0]" else tf.zeros([tf.shape(waveform)[0], 3, 0])

    module = save_module(tmp_path / "m", empty, waveform_spec(None, None))
    with pytest.raises(EvaluationError, match="has no features"):
        open_module(module)


def test_a_function_without_features():
    def empty(waveforms):
        return np.zeros((len(waveforms), 0), np.float32)

    with pytest.raises(EvaluationError, match=r"returned shape \(2, 0\).*\[batch, dim\]"):
        open_encoder(empty, Interface(16_000))


def encoder_of_lengths(taken) -> Encoder:
    def function(waveforms):
        if not taken(waveforms.shape[1]):
            raise ValueError("The length does not fit.")
        return waveforms[:, :1]

    return Encoder(function, 16_000)


@pytest.mark.parametrize(
    ("taken", "samples", "hint"),
    [
        (lambda length: length >= 5000, 2000, "needs a minimum length: --window_samples=8000 pads"),
        (lambda length: length <= 9000, 16_000, "It takes 8000|maximum length"),
        (lambda length: length == 16_000, 8000, "If it takes one length only"),
        (lambda length: False, 8000, "If it takes one length only"),
    ],
    ids=["minimum", "maximum", "one", "none"],
)
def test_lengths(taken, samples, hint):
    with pytest.raises(EvaluationError, match=rf"The length does not fit\)\. .*({hint})"):
        encoder_of_lengths(taken).embed(np.zeros((2, samples), np.float32))


def test_a_module_that_needs_a_minimum_length(tmp_path):
    def framed(waveform):
        return pair(waveform) + tf.signal.frame(waveform, 4000, 160)[:, 0, :2]

    encoder = open_module(save_module(tmp_path / "m", framed, waveform_spec(None, None)))
    with pytest.raises(EvaluationError, match="needs a minimum length") as raised:
        encoder.embed(np.zeros((2, 1000), np.float32))
    assert "Graph execution error" not in str(raised.value)


def test_a_preset_that_does_not_fit(tmp_path):
    module = save_module(tmp_path / "yamnet", pair, waveform_spec(None, None))
    with pytest.raises(EvaluationError, match="preset 'yamnet', which states --output_key=1"):
        open_module(module)
    vggish = save_module(tmp_path / "vggish", lambda waveform: 0, waveform_spec(None))
    with pytest.raises(EvaluationError) as raised:
        open_module(vggish)
    assert "matches the preset" not in str(raised.value)  # it stated nothing that the flags had not
