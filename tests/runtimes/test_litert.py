"""Modules as one file for LiteRT."""

import numpy as np
import pytest
import tensorflow as tf
from runtimes.runtime_modules import Network, noise, save, tone

from hares_tf.commands import export as export_command
from hares_tf.hub import load
from hares_tf.runtimes import litert as litert


def _convert(module, output, *flags):
    flags = ["--format=tflite", f"--handle={module}", f"--output={output}", *flags]
    return export_command.main(flags)


@pytest.mark.parametrize(
    ("quantize", "limit", "size"),
    [("none", 1e-4, 1.0), ("float16", 0.01, 0.5), ("int8", 0.2, 0.25)],
)
def test_tflite_equals_the_module(two_layers, tmp_path, capsys, quantize, limit, size):
    path = tmp_path / "two.tflite"
    assert _convert(two_layers, path, f"--quantize={quantize}") == 0
    assert "checked: 9 waveforms" in capsys.readouterr().out
    kernels = 4 * (80 * 256 + 256 * 32)
    assert path.stat().st_size < size * kernels + 12_000  # the rest is the graph
    run = litert.interpreter(path.read_bytes()).get_signature_runner("serving_default")
    module = load(two_layers)
    scale = module(noise(4, 8000)).numpy().std()
    for batch in (noise(2, 8000), noise(3, 801), np.zeros((1, 500), np.float32)):
        computed, expected = run(waveform=batch)["embedding"], module(batch).numpy()
        assert np.abs(computed - expected).max() <= limit * scale
    if quantize != "none":  # it is quantized
        assert np.abs(run(waveform=noise(2, 8000))["embedding"] - module(noise(2, 8000))).max() > 0


def test_a_tflite_file_that_deviates_does_not_appear(two_layers, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(litert.TOLERANCES, "int8", 1e-6)
    assert _convert(two_layers, tmp_path / "two.tflite", "--quantize=int8") == 2
    captured = capsys.readouterr()
    assert "standard deviations from the output of the module" in captured.err
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_refusals_are_sentences(two_layers, tmp_path, capsys):
    for flags, words in {
        (f"--output={tmp_path / 'two.bin'}",): "ends in .tflite",
        (f"--output={tmp_path / 'x.tflite'}", "--model=log_mel_statistics"): "--format=saved_model",
        (f"--handle={tmp_path / 'none'}",): "there is no such folder",
    }.items():
        assert _convert(two_layers, tmp_path / "two.tflite", *flags) == 2
        assert words in capsys.readouterr().err
    assert export_command.main(["--model=log_mel_statistics", "--quantize=int8", "--output=o"]) == 2
    assert "--quantize goes with --format=tflite" in capsys.readouterr().err
    (tmp_path / "two.tflite").write_bytes(b"somebody's")
    assert _convert(two_layers, tmp_path / "two.tflite") == 2
    assert "exists already" in capsys.readouterr().err
    module = tf.Module()
    spec = tf.TensorSpec([None], tf.float32)
    serve = tf.function(lambda a, b: {"sum": a + b}, input_signature=[spec, spec])
    tf.saved_model.save(module, str(tmp_path / "sum"), signatures={"serving_default": serve})
    assert _convert(tmp_path / "sum", tmp_path / "sum.tflite") == 2
    assert "only a signature of one waveform" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("quantize", ["none", "float16", "int8"])
def test_the_network_in_tflite(tiny_module, tmp_path, quantize):
    assert _convert(tiny_module, tmp_path / "tiny.tflite", f"--quantize={quantize}") == 0


def test_int8_leaves_the_spectrogram_in_float(spectral, tmp_path):
    path = tmp_path / "spectral.tflite"
    assert _convert(spectral, path, "--quantize=int8") == 0
    run = litert.interpreter(path.read_bytes()).get_signature_runner("serving_default")
    expected, computed = load(spectral)(tone(8000)).numpy(), run(waveform=tone(8000))["embedding"]
    assert 0 < np.abs(computed - expected).max() <= 0.05 * expected.std()
    assert path.stat().st_size < 65 * 80 * 4 + (80 * 256 + 256 * 32) + 14_000


def test_int8_of_a_network_that_ends_in_a_logarithm(tmp_path):
    """Such a logarithm does not belong to a spectrogram: all kernels are quantized."""

    def log_at_the_end(network, waveform):
        return tf.math.log(tf.abs(Network.embed(network, waveform)) + 1.0)

    module, path = save(tmp_path / "late", network=log_at_the_end), tmp_path / "late.tflite"
    assert _convert(module, path, "--quantize=int8") == 0
    assert path.stat().st_size < (80 * 256 + 256 * 32) + 12_000
