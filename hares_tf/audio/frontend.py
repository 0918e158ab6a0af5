"""The log-mel frontend and the standardization that follows it."""

import keras
import numpy as np
from keras import ops

from hares_tf.audio.errors import AudioError
from hares_tf.audio.precision import full_precision_policy

# The HTK mel scale (The HTK Book, section 5.4: 2595 log10(1 + f / 700)) in natural logarithms,
# with the rounded factor that tf.signal uses.
_MEL_FACTOR = 1127.0
_MEL_BREAK_HZ = 700.0


def mel_matrix(
    sample_rate: int, fft_length: int, num_bins: int, lower_hz: float, upper_hz: float
) -> np.ndarray:
    """Triangular filters, evenly spaced on the HTK mel scale, of peak height 1.

    The definition is that of `tf.signal.linear_to_mel_weight_matrix`: triangles are straight in
    mel, not in hertz, and the constant (0 Hz) belongs to no filter.

    Args:
        sample_rate: in Hz.
        fft_length: length of the Fourier transform in samples.
        num_bins: how many filters.
        lower_hz: where the first filter begins.
        upper_hz: where the last filter ends.

    Returns:
        `[fft_length // 2 + 1, num_bins]` float64.
    """

    def mel(hertz):
        return _MEL_FACTOR * np.log1p(np.asarray(hertz, np.float64) / _MEL_BREAK_HZ)

    frequencies = mel(np.arange(fft_length // 2 + 1) * (sample_rate / fft_length))[:, np.newaxis]
    edges = np.linspace(mel(lower_hz), mel(upper_hz), num_bins + 2)
    lower, center, upper = edges[:-2], edges[1:-1], edges[2:]
    rising = (frequencies - lower) / (center - lower)
    falling = (upper - frequencies) / (upper - center)
    matrix = np.maximum(0.0, np.minimum(rising, falling))
    matrix[0] = 0.0
    return matrix


@keras.saving.register_keras_serializable(package="hares_tf")
class LogMel(keras.layers.Layer):
    """Waveform `[batch, samples]` -> log-mel spectrogram `[batch, frames, bins, 1]`.

    Frame i covers the samples `frame_step * i ... frame_step * i + frame_length - 1`, with zeros
    after the end of the clip; there are `max(1, ceil(samples / frame_step))` frames, so that 3 s
    at 16 kHz give exactly 300. Each frame is weighted by a periodic Hann window, extended by zeros
    at its end to `fft_length`, and transformed; the magnitudes (not the powers) are summed by
    triangular mel filters (`mel_matrix`), and `log(1 + log_scale * mel)` is taken.

    The input is a float waveform in [-1, 1]; any length, also zero samples (one silent frame),
    gives finite values and finite gradients. Computes in float64 under a float64 policy, in
    float32 under every other one, half and mixed precision included; the output has that dtype.

    Args:
        sample_rate: of the waveform, in Hz.
        frame_length: length of the window in samples; 400 is 25 ms.
        frame_step: distance of two frames in samples; 160 is 10 ms.
        fft_length: length of the Fourier transform in samples, at least `frame_length`.
        num_bins: how many mel bins.
        lower_hz: where the first mel filter begins.
        upper_hz: where the last mel filter ends, at most half of `sample_rate`.
        log_scale: what mel magnitudes are multiplied with before the logarithm.
        **kwargs: those of a Keras layer.

    16 kHz, 25 ms, 10 ms and 80 bins are stated in section 3 of the HARES paper. It leaves the rest
    open: magnitudes, 80 to 7600 Hz and log(1 + 10000 x) are those of the same group's published
    BraVe code, the window and the mel filters the defaults of `tf.signal`.

    Raises:
        AudioError: the settings contradict each other, or the input has not two axes.
    """

    def __init__(
        self,
        sample_rate: int = 16_000,
        frame_length: int = 400,
        frame_step: int = 160,
        fft_length: int = 512,
        num_bins: int = 80,
        lower_hz: float = 80.0,
        upper_hz: float = 7600.0,
        log_scale: float = 10_000.0,
        *,
        dtype=None,
        **kwargs,
    ):
        super().__init__(dtype=full_precision_policy(dtype), **kwargs)
        self.sample_rate = sample_rate
        self.frame_length = frame_length
        self.frame_step = frame_step
        self.fft_length = fft_length
        self.num_bins = num_bins
        self.lower_hz = lower_hz
        self.upper_hz = upper_hz
        self.log_scale = log_scale
        self._check_settings()
        # Constants in NumPy rather than weights: checkpoints of an encoder hold what is learned.
        angles = np.arange(frame_length) * (2 * np.pi / frame_length)
        self._window = np.zeros(fft_length, self.compute_dtype)
        self._window[:frame_length] = 0.5 - 0.5 * np.cos(angles)
        self._mel_matrix = mel_matrix(sample_rate, fft_length, num_bins, lower_hz, upper_hz).astype(
            self.compute_dtype
        )

    def _check_settings(self) -> None:
        for name in ("sample_rate", "frame_length", "frame_step", "fft_length", "num_bins"):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
                raise AudioError(f"LogMel: {name} must be a positive whole number, not {value!r}.")
        if self.frame_length > self.fft_length:
            raise AudioError(
                f"LogMel: a frame of {self.frame_length} samples does not fit into fft_length="
                f"{self.fft_length}; use fft_length={1 << (self.frame_length - 1).bit_length()}."
            )
        if not 0 <= self.lower_hz < self.upper_hz:
            raise AudioError(
                "LogMel: the mel range must begin at 0 Hz or above and end above its beginning, "
                f"but lower_hz={self.lower_hz} and upper_hz={self.upper_hz}."
            )
        if self.upper_hz > self.sample_rate / 2:
            raise AudioError(
                f"LogMel: upper_hz={self.upper_hz} lies above half of the sample rate "
                f"({self.sample_rate / 2:g} Hz); lower it or set sample_rate."
            )
        if not 0 < self.log_scale < float("inf"):
            raise AudioError(f"LogMel: log_scale must be positive, not {self.log_scale!r}.")

    def call(self, waveform):
        return ops.log1p(self.log_scale * self.linear_mel(waveform))

    def linear_mel(self, waveform):
        """The mel magnitudes before the logarithm.

        Args:
            waveform: `[batch, samples]` in [-1, 1].

        Returns:
            `[batch, frames, bins, 1]`, at least 0, in the layer's dtype.
        """
        waveform = ops.cast(ops.convert_to_tensor(waveform), self.compute_dtype)
        self._check_rank(waveform.shape)
        real, imaginary = ops.rfft(
            self._frames(waveform) * ops.convert_to_tensor(self._window), self.fft_length
        )
        power = ops.square(real) + ops.square(imaginary)
        # The root's gradient at 0 is infinite, so silence takes the constant branch. The smallest
        # normal number keeps its root (1e-19 in float32) far below any rounding error.
        smallest = float(np.finfo(self._window.dtype).tiny)
        magnitude = ops.sqrt(ops.maximum(power, smallest))
        mel = ops.matmul(magnitude, ops.convert_to_tensor(self._mel_matrix))
        return ops.expand_dims(mel, -1)

    def _frames(self, waveform):
        """`[batch, samples]` -> `[batch, frames, fft_length]`, zeros after the clip's end.

        Frames have the length of the transform, the window is 0 after `frame_length`: that saves
        a padded copy of all frames (and tf.signal.rfft does not pad an empty batch). The waveform
        is cut into hops of `frame_step` samples, and a frame is put together from consecutive
        hops: slices and one concatenation, where a gather would be slow (and its gradient, a
        scatter, slower).
        """
        step = self.frame_step
        hops_per_frame = -(-self.fft_length // step)
        batch, samples = ops.shape(waveform)
        frames = (samples + step - 1) // step
        frames = max(frames, 1) if isinstance(frames, int) else ops.maximum(frames, 1)
        hops = frames + hops_per_frame - 1
        # A constant amount of zeros suffices for every length; the surplus is cut off.
        padded = ops.pad(waveform, [[0, 0], [0, hops_per_frame * step]])[:, : hops * step]
        hopped = ops.reshape(padded, (batch, hops, step))
        pieces = [
            hopped[:, first : first + frames, : self.fft_length - first * step]
            for first in range(hops_per_frame)
        ]
        return ops.concatenate(pieces, axis=-1)

    def _check_rank(self, shape) -> None:
        if len(shape) != 2:
            raise AudioError(
                f"LogMel needs a waveform [batch, samples], not one of shape {tuple(shape)}; "
                "add the batch axis to a single clip with waveform[None], and average channels."
            )

    def compute_output_shape(self, input_shape):
        self._check_rank(input_shape)
        batch, samples = input_shape
        frames = None if samples is None else max(1, -(-samples // self.frame_step))
        return (batch, frames, self.num_bins, 1)

    def compute_output_spec(self, waveform):
        return keras.KerasTensor(self.compute_output_shape(waveform.shape), self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "sample_rate": self.sample_rate,
            "frame_length": self.frame_length,
            "frame_step": self.frame_step,
            "fft_length": self.fft_length,
            "num_bins": self.num_bins,
            "lower_hz": self.lower_hz,
            "upper_hz": self.upper_hz,
            "log_scale": self.log_scale,
        }


@keras.saving.register_keras_serializable(package="hares_tf")
class Standardize(keras.layers.Layer):
    """Gives each example mean 0 and standard deviation 1 over time and bins.

    `[batch, time, freq, channel]` -> the same shape; every channel for itself. A constant example
    (silence) becomes 0. Computes in float64 under a float64 policy, in float32 under every other
    one, half and mixed precision included; the output has that dtype.

    Args:
        minimum_deviation: a smaller standard deviation is replaced by this. The paper (appendix C:
            "we standardize each input spectrogram by its mean and standard deviation") states no
            floor; 1e-5 is this package's choice, far below the deviation of any recording.
        **kwargs: those of a Keras layer.

    Raises:
        AudioError: the floor is not positive, or the input has not four axes.
    """

    def __init__(self, minimum_deviation: float = 1e-5, *, dtype=None, **kwargs):
        super().__init__(dtype=full_precision_policy(dtype), **kwargs)
        if not 0 < minimum_deviation < float("inf"):
            raise AudioError(
                f"Standardize: minimum_deviation must be positive, not {minimum_deviation!r}."
            )
        self.minimum_deviation = minimum_deviation

    def call(self, spectrogram):
        spectrogram = ops.cast(ops.convert_to_tensor(spectrogram), self.compute_dtype)
        self._check_rank(spectrogram.shape)
        # Centered twice: the first mean is rounded relative to its own size, which divided by a
        # small deviation would turn a loud constant into something else than 0.
        centered = spectrogram - ops.mean(spectrogram, axis=(1, 2), keepdims=True)
        centered = centered - ops.mean(centered, axis=(1, 2), keepdims=True)
        variance = ops.mean(ops.square(centered), axis=(1, 2), keepdims=True)
        # The floor goes under the root, so that the gradient of silence is finite.
        return centered / ops.sqrt(ops.maximum(variance, self.minimum_deviation**2))

    def _check_rank(self, shape) -> None:
        if len(shape) != 4:
            raise AudioError(
                "Standardize needs a spectrogram [batch, time, freq, channel], not one of shape "
                f"{tuple(shape)}."
            )

    def compute_output_shape(self, input_shape):
        self._check_rank(input_shape)
        return tuple(input_shape)

    def compute_output_spec(self, spectrogram):
        return keras.KerasTensor(self.compute_output_shape(spectrogram.shape), self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "minimum_deviation": self.minimum_deviation}
