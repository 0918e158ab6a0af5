"""Checks of an encoder's behavior, before its scores are trusted."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hares_tf.evaluation.encoders.encoder import Encoder
from hares_tf.utils.errors import reason

# Differences below this share of the embeddings' deviation are float noise.
NOISE = 1e-3
_SHORT_SECONDS, _USUAL_SECONDS, _LONG_SECONDS = 0.1, 3.0, 60.0


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        name: the property that was checked.
        text: the result.
        good: False if it spoils scores.
    """

    name: str
    text: str
    good: bool = True


def check_encoder(encoder: Encoder) -> list[Finding]:
    """Runs all checks.

    Returns:
        A finding per check. An exception that the module raises is a finding, too.
    """
    random = np.random.default_rng(0)
    usual = round(_USUAL_SECONDS * encoder.sample_rate)
    batch = random.normal(0, 0.1, (4, usual)).astype(np.float32)
    embeddings = encoder.embed(batch)
    scale = max(float(embeddings.std()), 1e-12)

    def deviation(actual: np.ndarray, expected: np.ndarray) -> float:
        return float(np.max(np.abs(actual - expected))) / scale

    def deterministic() -> Finding:
        worst = deviation(encoder.embed(batch), embeddings)
        text = "two calls agree exactly" if worst == 0 else f"two calls differ by {worst:.1e}"
        return Finding("determinism", f"{text} (in standard deviations)", worst <= NOISE)

    def batch_invariant() -> Finding:
        one_by_one = np.concatenate([encoder.embed(waveform[None]) for waveform in batch])
        worst = deviation(one_by_one, embeddings)
        return Finding("batch invariance", f"alone and in a batch: {worst:.1e}", worst <= NOISE)

    def distinct() -> Finding:
        tone = np.sin(np.arange(usual) * 2 * np.pi * 440 / encoder.sample_rate)
        other = encoder.embed(0.1 * tone[None].astype(np.float32))
        worst = deviation(other, embeddings[:1])
        return Finding("distinctness", f"noise and a tone: {worst:.1e}", worst > NOISE)

    def of_length(name: str, seconds: float, waveform: Callable) -> Finding:
        samples = round(seconds * encoder.sample_rate)
        embedding = encoder.embed(waveform(samples)[None].astype(np.float32))
        good = bool(np.isfinite(embedding).all()) and embedding.shape[1] == embeddings.shape[1]
        return Finding(name, "finite" if good else "NaN or infinite numbers", good)

    def padding() -> Finding:
        padded = np.pad(batch, [(0, 0), (0, usual)])
        worst = deviation(encoder.embed(padded), embeddings)
        return Finding("padding", f"3 s of silence behind 3 s of sound move it by {worst:.1e}")

    def speed() -> Finding:
        seconds = []
        for _ in range(3):
            started = time.perf_counter()
            encoder.embed(batch)
            seconds.append(time.perf_counter() - started)
        factor = len(batch) * _USUAL_SECONDS / float(np.median(seconds))
        return Finding("speed", f"{factor:.0f} times real time at batch {len(batch)}")

    def noise(samples: int) -> np.ndarray:
        return random.normal(0, 0.1, samples)

    checks = {
        "determinism": deterministic,
        "batch invariance": batch_invariant,
        "distinctness": distinct,
        "silence": lambda: of_length("silence", _USUAL_SECONDS, np.zeros),
        "0.1 s": lambda: of_length("0.1 s", _SHORT_SECONDS, noise),
        "60 s": lambda: of_length("60 s", _LONG_SECONDS, noise),
        "padding": padding,
        "speed": speed,
    }
    findings = [
        Finding(
            "range",
            f"mean {embeddings.mean():.3g}, standard deviation {scale:.3g}",
            bool(np.isfinite(embeddings).all()),
        )
    ]
    for name, check in checks.items():
        try:
            findings.append(check())
        except Exception as error:  # a module may raise anything
            findings.append(Finding(name, f"fails: {reason(error, 150)}", good=False))
    return findings
