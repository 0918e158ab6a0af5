"""The form in which an evaluation, or a user's program, calls a model."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.utils.errors import reason

_RANKS = {1: "one waveform at a time", 3: "on [batch, samples, 1]"}
# Windows of a recording that are embedded at once: bounds the memory of long recordings.
_BATCH = 8
# Lengths that are tried where a model fails, to tell why: multiples, up to this duration.
_LONGER, _PROBED_SECONDS = (2, 4, 8, 16, 32, 64), 10


@dataclass(frozen=True)
class Encoder:
    """A model as a function from waveforms to embeddings; `open_encoder` makes it from a handle.

    Attributes:
        function: `[batch, samples]` float32 in [-1, 1] -> `[batch, dim]` float32, NumPy to NumPy;
            `embed` calls it and checks what it returns.
        sample_rate: of the waveforms, in hertz.
        interface: how the model is called, as JSON data, with its `embedding_size`.
        graph: `function` as a `tf.function`, tensor to tensor; None unless TensorFlow computes.
    """

    function: Callable[[np.ndarray], np.ndarray]
    sample_rate: int
    interface: dict = field(default_factory=dict)
    graph: Callable | None = None

    def embed(self, waveforms: np.ndarray, where: str = "") -> np.ndarray:
        """Returns the embeddings of a batch of waveforms, float32 `[batch, dim]`.

        Args:
            waveforms: float32 `[batch, samples]` in [-1, 1] at `sample_rate`.
            where: names the first waveform in error messages.

        Raises:
            EvaluationError: the model fails, or returns an array of another shape.
        """
        shape = f"a batch of shape {waveforms.shape}" + (f" that begins with {where}" * bool(where))
        if waveforms.ndim != 2:
            raise EvaluationError(
                f"An encoder takes waveforms of shape [batch, samples], not {shape}."
            )
        try:
            embeddings = self.function(waveforms)
        except EvaluationError:
            raise
        except Exception as error:  # a foreign module may raise anything
            raise EvaluationError(
                f"The encoder fails on {shape} ({type(error).__name__}: {reason(error)}). "
                + self._length_hint(waveforms.shape[1])
            ) from error
        if embeddings.ndim != 2 or len(embeddings) != len(waveforms) or not embeddings.size:
            raise EvaluationError(
                f"The encoder returned an array of shape {embeddings.shape} for {shape}; it must "
                "return [batch, dim]."
            )
        size = self.interface.get("embedding_size")
        if size is not None and embeddings.shape[1] != size:
            raise EvaluationError(
                f"The encoder returned {embeddings.shape[1]} features for {shape}, and {size} "
                "before."
            )
        return embeddings

    def _length_hint(self, samples: int) -> str:
        """Returns a sentence about lengths that the model takes where it fails on `samples`."""

        def takes(length: int) -> bool:
            try:
                return np.asarray(self.function(np.zeros((1, length), np.float32))).size > 0
            except Exception:  # a foreign module may raise anything; whether is what is asked
                return False

        longest = max(_PROBED_SECONDS * self.sample_rate, 4 * samples)
        longer = [samples * factor for factor in _LONGER if samples * factor <= longest]
        taken = [length for length in longer if takes(length)]
        if len(taken) > 1:
            return (
                f"It takes {taken[0]} samples and more, so it needs a minimum length: "
                f"--window_samples={taken[0]} pads shorter windows with zeros."
            )
        if takes(samples // 2 or 1) and takes(samples // 4 or 1):
            return (
                f"It takes {samples // 2} samples, so it has a maximum length: give a shorter one "
                "with --window_samples."
            )
        return "If it takes one length only, give that with --window_samples."

    def embed_recording(
        self, waveform: np.ndarray, window_seconds: float = 3.0, where: str = ""
    ) -> np.ndarray:
        """Returns the embedding of a recording of any length, float32 `[dim]`.

        The recording is cut into consecutive windows, the last one padded with zeros, as an
        evaluation cuts test clips. The result is the mean of the windows' embeddings.

        Args:
            waveform: float32 `[samples]` in [-1, 1] at `sample_rate`.
            window_seconds: length of a window.
            where: names the recording in error messages.

        Raises:
            EvaluationError: see `embed`.
        """
        length = max(1, round(window_seconds * self.sample_rate))
        windows = tiles(np.asarray(waveform, np.float32)[np.newaxis], length)
        batches = [windows[start : start + _BATCH] for start in range(0, len(windows), _BATCH)]
        return np.concatenate([self.embed(batch, where) for batch in batches]).mean(axis=0)

    def embed_file(self, path: str | os.PathLike, window_seconds: float = 3.0) -> np.ndarray:
        """Returns the embedding of an audio file, float32 `[dim]` (see `embed_recording`).

        Args:
            path: a file of any format and sample rate that `hares_tf.audio.load_audio` reads.
            window_seconds: length of a window.

        Raises:
            AudioError: the file cannot be decoded.
            EvaluationError: see `embed`.
        """
        from hares_tf.audio import load_audio

        waveform = load_audio(path, self.sample_rate)
        return self.embed_recording(waveform, window_seconds, os.fspath(path))

    @property
    def description(self) -> str:
        """The interface of the model, as one line for people."""
        interface = self.interface
        parts = [f"calls {interface['entry_point']}"]
        if interface.get("input_rank") in _RANKS:
            parts.append(_RANKS[interface["input_rank"]])
        if interface.get("window_samples"):
            parts.append(f"in windows of {interface['window_samples']} samples")
        if interface.get("output_key") is not None:
            parts.append(f"takes its output {interface['output_key']!r}")
        if interface.get("pool"):
            parts.append(f"{interface['pool']} over time")
        if "openvino" in interface:
            parts.append(
                f"in OpenVINO {interface['openvino']} ("
                f"{interface['deviation_from_tensorflow']} standard deviations from TensorFlow)"
            )
        size, rate = interface["embedding_size"], interface["sample_rate"]
        return f"{', '.join(parts)}: {size} features at {rate} Hz"


def tiles(waveforms: np.ndarray, length: int | None) -> np.ndarray:
    """Cuts waveforms into consecutive windows, the last one padded with zeros.

    Args:
        waveforms: `[batch, samples]`.
        length: of a window in samples; None: the waveforms stay whole.

    Returns:
        `[batch * windows, length]`, the windows of a waveform one after another.
    """
    if length is None:
        return waveforms
    windows = max(1, -(-waveforms.shape[1] // length))
    padding = windows * length - waveforms.shape[1]
    return np.pad(waveforms, [(0, 0), (0, padding)]).reshape(-1, length)
