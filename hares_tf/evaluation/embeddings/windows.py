"""Windows: the parts of a clip that are embedded."""

import hashlib
from dataclasses import asdict, dataclass

import numpy as np

from hares_tf.evaluation.tasks.declaration import Windows

# Example mixing (paper, Section 2.2 and Appendix C): the share of the clip itself is drawn from
# Beta(5, 2).
MIXING_BETA = (5.0, 2.0)


@dataclass(frozen=True)
class Plan:
    """The windows of a clip that are embedded; with the clip's content it decides its embeddings.

    Attributes:
        kind: "tiles": consecutive from sample 0, the last one zero-padded; "spread": `count`
            equally spaced ones from the first to the last possible; "crops": `count` random ones;
            "grid": one every `hop_seconds`, as far as they fit; "online": a new random one at
            every training step, never stored.
        seconds: length of a window.
        count: number of windows, where the kind needs it.
        hop_seconds: distance of grid windows.
        seed: of random windows.
        mixing: whether every window is mixed with one of another clip (see `mixing.py`).

    A clip shorter than a window is zero-padded at its end under every kind, the same in training
    and testing.
    """

    kind: str
    seconds: float
    count: int = 0
    hop_seconds: float = 0.0
    seed: int = 0
    mixing: bool = False

    @property
    def stored(self) -> bool:
        """Whether embeddings under this plan are kept."""
        return self.kind != "online"

    def as_data(self) -> dict:
        """Returns the fields that are set, as JSON data."""
        return {key: value for key, value in asdict(self).items() if value or key == "kind"}

    def starts(self, samples: int, window: int, sample_rate: int, key: str) -> np.ndarray:
        """Returns the first sample of each window of a clip.

        Args:
            samples: length of the clip.
            window: length of a window, in samples.
            sample_rate: in hertz.
            key: name of the clip; random windows are a pure function of it and the seed.
        """
        room = max(0, samples - window)
        if self.kind == "tiles":
            return np.arange(max(1, -(-samples // window))) * window
        if self.kind == "spread":
            return np.round(np.linspace(0, room, self.count)).astype(np.int64)
        if self.kind == "grid":
            return np.arange(0, room + 1, max(1, round(self.hop_seconds * sample_rate)))
        return random_of(key, self.seed).integers(0, room + 1, self.count)


def testing_plan(windows: Windows) -> Plan:
    """Returns the windows that clips of a task are scored on."""
    return Plan(windows.test, windows.seconds, windows.count)


def random_of(key: str, seed: int) -> np.random.Generator:
    """Returns a generator that is a pure function of a text and a seed."""
    digest = hashlib.sha256(f"{key} {seed}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "little")))


def window_samples(seconds: float, sample_rate: int) -> int:
    """Returns the length of a window in samples."""
    return max(1, round(seconds * sample_rate))


def cut(waveform: np.ndarray, starts: np.ndarray, window: int) -> np.ndarray:
    """Cuts windows out of a waveform, zero-padded behind its end.

    Args:
        waveform: `[samples]`.
        starts: `[windows]` first sample of each.
        window: length of a window in samples.

    Returns:
        float32 `[windows, window]`.
    """
    windows = np.zeros((len(starts), window), np.float32)
    for padded, start in zip(windows, starts, strict=True):
        part = waveform[start : start + window]
        padded[: len(part)] = part
    return windows
