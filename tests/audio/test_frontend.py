"""LogMel and Standardize against an independent float64 computation, and their edge cases."""

import resource
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from hares_tf.audio import AudioError, LogMel, Standardize
from hares_tf.audio.frontend import mel_matrix

DEFAULTS = LogMel().get_config()
SETTINGS = [
    {},
    {"sample_rate": 8000, "frame_length": 200, "frame_step": 80, "fft_length": 256,
     "num_bins": 40, "lower_hz": 125.0, "upper_hz": 3800.0},
    {"sample_rate": 22050, "frame_length": 512, "frame_step": 128, "upper_hz": 11025.0,
     "lower_hz": 0.0, "log_scale": 100.0},
    {"frame_length": 100, "frame_step": 160, "fft_length": 128, "num_bins": 20},  # gaps
    {"frame_length": 401, "frame_step": 37, "fft_length": 601, "num_bins": 64},  # odd everything
]  # fmt: skip


def settings(**changes) -> dict:
    return {**{name: DEFAULTS[name] for name in DEFAULTS if name not in ("name", "dtype",
            "trainable")}, **changes}  # fmt: skip


def expected_mel(waveform: np.ndarray, s: dict) -> np.ndarray:
    """Linear mel `[frames, bins]` of `[samples]`, one frame and one filter at a time, float64."""
    waveform = np.asarray(waveform, np.float64)
    frames = max(1, int(np.ceil(len(waveform) / s["frame_step"])))
    extended = np.concatenate([waveform, np.zeros(frames * s["frame_step"] + s["frame_length"])])
    window = np.sin(np.pi * np.arange(s["frame_length"]) / s["frame_length"]) ** 2
    spectra = np.stack([
        np.abs(np.fft.fft(extended[begin : begin + s["frame_length"]] * window, s["fft_length"]))
        for begin in range(0, frames * s["frame_step"], s["frame_step"])
    ])  # fmt: skip

    def mel(hertz):
        return 1127.0 * np.log(1.0 + hertz / 700.0)

    low, high = mel(s["lower_hz"]), mel(s["upper_hz"])
    width = (high - low) / (s["num_bins"] + 1)
    result = np.zeros((frames, s["num_bins"]))
    for line in range(1, s["fft_length"] // 2 + 1):
        position = mel(line * s["sample_rate"] / s["fft_length"])
        for band in range(s["num_bins"]):
            weight = 1.0 - abs(position - (low + width * (band + 1))) / width
            if weight > 0:
                result[:, band] += weight * spectra[:, line]
    return result


def sound(samples: int, seed: int = 0) -> np.ndarray:
    """Noise, a tone, a chirp and a silent stretch: quiet and loud parts in one clip."""
    t = np.arange(samples) / 16000
    signal = 0.3 * np.sin(2 * np.pi * 440 * t) + 0.2 * np.sin(2 * np.pi * (100 + 2000 * t) * t)
    signal += 0.1 * np.random.default_rng(seed).standard_normal(samples)
    signal[samples // 3 : samples // 2] = 0.0
    return np.clip(signal, -1, 1)


@pytest.mark.parametrize("changes", SETTINGS)
@pytest.mark.parametrize(
    # float32: rounding of the transform and of the filter weights, 1e-7 each, over some tens of
    # terms. float64: eight digits better would still pass, a float32 step anywhere would not.
    ("dtype", "tolerance"),
    [("float32", 1e-6), ("float64", 1e-13)],
)
def test_equals_an_independent_computation(changes, dtype, tolerance):
    s = settings(**changes)
    waveform = sound(20000)
    layer = LogMel(**changes, dtype=dtype)
    # The layer's own input precision: what float32 rounds away is not the frontend's error.
    expected = expected_mel(waveform.astype(dtype), s)
    linear = layer.linear_mel(waveform[None].astype(dtype)).numpy()[0, :, :, 0]
    assert linear.shape == expected.shape
    assert np.abs(linear - expected).max() <= tolerance * expected.max()
    output = layer(waveform[None].astype(dtype)).numpy()
    assert output.dtype == dtype
    expected_log = np.log(1.0 + s["log_scale"] * expected)
    heard = expected > 1e-3 * expected.max()
    # 1e-6 of the maximum is at most 1e-3 of such a value; typical errors are far smaller.
    error = np.abs(output[0, :, :, 0] - expected_log)[heard].max()
    assert error <= (1e-4 if dtype == "float32" else 1e-10)


@pytest.mark.parametrize("changes", [c for c in SETTINGS if c.get("fft_length", 512) % 2 == 0])
def test_mel_matrix_is_that_of_tf_signal(changes):
    s = settings(**changes)
    expected = tf.signal.linear_to_mel_weight_matrix(
        s["num_bins"], s["fft_length"] // 2 + 1, s["sample_rate"], s["lower_hz"], s["upper_hz"],
        dtype=tf.float64,
    ).numpy()  # fmt: skip
    ours = mel_matrix(
        s["sample_rate"], s["fft_length"], s["num_bins"], s["lower_hz"], s["upper_hz"]
    )
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)
    assert (ours.max(axis=0) > 0).all()


def test_close_to_tf_signal_end_to_end():
    """The same stages from tf.signal, in float32 themselves, hence the wider tolerance."""
    waveform = sound(48000).astype(np.float32)[None]
    spectrum = tf.abs(tf.signal.stft(waveform, 400, 160, 512, pad_end=True))
    matrix = tf.signal.linear_to_mel_weight_matrix(80, 257, 16000, 80.0, 7600.0)
    expected = tf.matmul(spectrum, matrix).numpy()[..., None]
    assert expected.shape == (1, 300, 80, 1)
    error = np.abs(LogMel().linear_mel(waveform).numpy() - expected).max()
    # tf.signal computes its matrix in float32, off by up to 1e-4 where mel values cancel.
    assert error < 3e-4 * expected.max()


@pytest.mark.parametrize(
    ("samples", "frames"),
    [(0, 1), (1, 1), (159, 1), (160, 1), (161, 2), (400, 3), (47841, 300), (48000, 300),
     (48001, 301)],
)  # fmt: skip
def test_number_of_frames(samples, frames):
    layer = LogMel()
    waveform = sound(samples).astype(np.float32)[None]
    output = layer(waveform).numpy()
    assert output.shape == (1, frames, 80, 1)
    assert np.isfinite(output).all()
    assert layer.compute_output_shape((None, samples)) == (None, frames, 80, 1)
    assert np.isfinite(Standardize()(output).numpy()).all()


def test_static_and_unknown_shapes():
    layer = LogMel()
    fixed = keras.Input((48000,))
    assert layer(fixed).shape == (None, 300, 80, 1)
    assert layer(keras.Input((None,))).shape == (None, None, 80, 1)
    known = tf.function(layer, input_signature=[tf.TensorSpec([4, 48000])])
    assert known.get_concrete_function().output_shapes == (4, 300, 80, 1)
    dynamic = tf.function(layer, input_signature=[tf.TensorSpec([None, None])])
    assert dynamic.get_concrete_function().output_shapes.as_list() == [None, None, 80, 1]
    for batch, samples in ((1, 0), (2, 1), (3, 12345), (0, 16000)):
        waveform = np.stack([sound(samples, seed) for seed in range(batch)] or
                            [np.zeros(samples)])[:batch].astype(np.float32)  # fmt: skip
        np.testing.assert_allclose(dynamic(waveform), layer(waveform), rtol=0, atol=1e-5)


def test_graph_has_only_plain_operations():
    """No Python callback and nothing that must be compiled: other runtimes can load it."""
    function = tf.function(
        lambda waveform: Standardize()(LogMel()(waveform)),
        input_signature=[tf.TensorSpec([None, None])],
    )
    graph = function.get_concrete_function().graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    assert "RFFT" in {node.op for node in nodes}
    assert not [node.op for node in nodes if "PyFunc" in node.op]
    must_compile = "_XlaMustCompile"
    assert not [node.name for node in nodes if must_compile in node.attr]
    assert not [f for f in graph.library.function if must_compile in f.attr and
                f.attr[must_compile].b]  # fmt: skip


def test_silence_is_zero():
    silence = np.zeros((2, 4000), np.float32)
    # The smallest magnitude is 1e-19; times log_scale and the filters' width below 1e-13.
    assert np.abs(LogMel()(silence).numpy()).max() < 1e-13
    assert np.abs(Standardize()(LogMel()(silence)).numpy()).max() < 1e-7


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_are_finite_and_right(dtype):
    frontend, standardize = LogMel(dtype=dtype), Standardize(dtype=dtype)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 4000)
    clips = np.stack([np.zeros(4000), noise, np.where(np.arange(4000) == 2000, 0.5, 0)])
    waveform = tf.Variable(clips, dtype=dtype)
    weights = np.random.default_rng(1).standard_normal((3, 25, 80, 1))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(standardize(frontend(waveform)) * tf.constant(weights, dtype))
    gradient = tape.gradient(loss, waveform).numpy()
    assert np.isfinite(gradient).all()
    assert np.abs(gradient[1]).max() > 0
    if dtype == "float64":  # a central difference along a random direction
        direction = np.random.default_rng(2).standard_normal(4000)

        def loss_at(step):
            moved = (clips[1] + step * direction)[None]
            return np.sum(standardize(frontend(moved)).numpy() * weights[1])

        numeric = (loss_at(1e-7) - loss_at(-1e-7)) / 2e-7
        # Truncation falls with the square of the step, cancellation costs 1e-16 / 1e-7.
        assert numeric == pytest.approx(gradient[1] @ direction, rel=1e-5)


def test_a_batch_equals_its_clips():
    clips = np.stack([sound(16000, seed) * scale for seed, scale in enumerate((1, 0.01, 0))])
    frontend, standardize = LogMel(dtype="float64"), Standardize(dtype="float64")
    together = standardize(frontend(clips)).numpy()
    for index, clip in enumerate(clips):
        alone = standardize(frontend(clip[None])).numpy()[0]
        np.testing.assert_allclose(together[index], alone, rtol=0, atol=1e-12)


def test_standardize_against_numpy():
    values = np.random.default_rng(0).gamma(2.0, 3.0, (3, 70, 80, 2))
    expected = (values - values.mean((1, 2), keepdims=True)) / values.std((1, 2), keepdims=True)
    exact = Standardize(dtype="float64")(values).numpy()
    np.testing.assert_allclose(exact, expected, rtol=0, atol=1e-12)
    single = Standardize()(values.astype(np.float32)).numpy()
    assert single.dtype == np.float32
    # Float32 sums of 5600 values are good to about 1e-6, and scale every output.
    np.testing.assert_allclose(single, expected, rtol=3e-6, atol=3e-6)


def test_standardize_floor_and_large_offsets():
    values = np.zeros((3, 300, 80, 1))
    values[0] = 13.7  # a constant, which float32 does not hold exactly
    values[1] = 1e-6 * np.random.default_rng(0).standard_normal((300, 80, 1))
    # 1000 and a deviation of 1: a one-pass variance would lose all but one digit in float32.
    values[2] = 1000 + np.random.default_rng(1).standard_normal((300, 80, 1))
    output = Standardize()(values.astype(np.float32)).numpy()
    assert np.abs(output[0]).max() < 1e-3
    np.testing.assert_allclose(output[1], (values[1] - values[1].mean()) / 1e-5, atol=1e-5)
    rounded = values[2].astype(np.float32).astype(np.float64)
    expected = (rounded - rounded.mean()) / rounded.std()
    np.testing.assert_allclose(output[2], expected, rtol=0, atol=1e-5)
    wide = Standardize(minimum_deviation=0.5, dtype="float64")(values).numpy()
    np.testing.assert_allclose(wide[1], (values[1] - values[1].mean()) / 0.5, atol=1e-15)


@pytest.mark.parametrize(
    ("policy", "dtype"),
    [("mixed_bfloat16", "float32"), ("mixed_float16", "float32"), ("float16", "float32"),
     ("bfloat16", "float32"), ("float32", "float32"), ("float64", "float64")],
)  # fmt: skip
def test_never_half_precision(policy, dtype):
    waveform = sound(8000).astype(np.float32)[None]
    reference = Standardize(dtype=dtype)(LogMel(dtype=dtype)(waveform)).numpy()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        frontend, standardize = LogMel(), Standardize()
        assert frontend.compute_dtype == standardize.compute_dtype == dtype
        output = standardize(frontend(waveform)).numpy()
        symbolic = standardize(frontend(keras.Input((8000,), dtype="float32")))
    finally:
        keras.config.set_dtype_policy(before)
    assert output.dtype == dtype and symbolic.dtype == dtype
    np.testing.assert_array_equal(output, reference)


def test_saved_model_comes_back(tmp_path):
    changes = dict(SETTINGS[1], log_scale=500.0)
    waveform = keras.Input((None,))
    model = keras.Model(waveform, Standardize(1e-3)(LogMel(**changes, name="mel")(waveform)))
    model.save(tmp_path / "frontend.keras")
    loaded = keras.models.load_model(tmp_path / "frontend.keras")
    clip = sound(8000).astype(np.float32)[None]
    np.testing.assert_array_equal(loaded(clip), model(clip))
    assert loaded.get_layer("mel").get_config() == model.get_layer("mel").get_config()
    assert not model.weights


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"upper_hz": 8001.0}, "upper_hz=8001.0"),
        ({"sample_rate": 8000}, "upper_hz"),
        ({"frame_length": 513}, "fft_length=1024"),
        ({"frame_step": 0}, "frame_step"),
        ({"frame_step": 160.0}, "frame_step"),
        ({"num_bins": -1}, "num_bins"),
        ({"lower_hz": 7600.0}, "lower_hz"),
        ({"lower_hz": -1.0}, "lower_hz"),
        ({"upper_hz": float("nan")}, "upper_hz"),
        ({"log_scale": 0.0}, "log_scale"),
        ({"log_scale": float("nan")}, "log_scale"),
    ],
)
def test_wrong_settings_are_refused(changes, message):
    with pytest.raises(AudioError, match=message):
        LogMel(**changes)


def test_wrong_shapes_and_floor_are_refused():
    with pytest.raises(AudioError, match=r"waveform\[None\]"):
        LogMel()(np.zeros(16000, np.float32))
    with pytest.raises(AudioError, match="shape"):
        LogMel()(keras.Input((16000, 2)))
    with pytest.raises(AudioError, match="shape"):
        Standardize()(np.zeros((2, 300, 80), np.float32))
    with pytest.raises(AudioError, match="minimum_deviation"):
        Standardize(0.0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads memory from /proc")
def test_one_hour():
    """In a compiled graph, where intermediate results are freed: measured 2.1 GB and 2 to 6 s."""
    frontend = tf.function(LogMel(), input_signature=[tf.TensorSpec([None, None])])
    samples = 3600 * 16000
    one_second = tf.constant(sound(16000).astype(np.float32))
    waveform = tf.tile(one_second, [3600])[None]
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    start = time.perf_counter()
    output = frontend(waveform)
    assert time.perf_counter() - start < 20
    assert output.shape == (1, samples // 160, 80, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert peak - before < 3e9
    seconds = output[0, ..., 0].numpy().reshape(3600, 100, 80)
    assert np.isfinite(seconds).all()
    # Every second sounds the same, so the first and the last but one agree, whatever the length.
    np.testing.assert_allclose(seconds[3598], seconds[0], rtol=0, atol=1e-4)
