"""The command `hares-check-handle`: how a module behaves, before anybody trusts its scores."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from absl import flags

from hares_tf.commands import interface_flags
from hares_tf.commands import program as command
from hares_tf.evaluation import Encoder, open_encoder, stated_interface
from hares_tf.evaluation.encoders import runtime as runtimes
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.runtimes.errors import ConversionError

NAME = "hares-check-handle"
DESCRIPTION = """
loads a module the way hares-evaluate does and reports how it behaves.

    hares-check-handle --handle=exports/slowfast_nfnet_f0
    hares-check-handle --handle=https://tfhub.dev/google/yamnet/1
    hares-check-handle --handle=exports/slowfast_nfnet_f0 --runtime=openvino

Checked: the interface that was found, determinism, whether a waveform's embedding depends on the
others in its batch, silence, very short and very long input, sensitivity to trailing silence, and
speed. Findings marked `!` spoil scores; the exit code is 1 when there is one.
"""

# Differences below this share of the embeddings' deviation are float noise.
NOISE = 1e-3
_SHORT_SECONDS, _USUAL_SECONDS, _LONG_SECONDS = 0.1, 3.0, 60.0


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        name: what was checked.
        text: what was found.
        good: False if it spoils scores.
    """

    name: str
    text: str
    good: bool = True


def check_encoder(encoder: Encoder) -> list[Finding]:
    """Runs all checks; an exception of the module is a finding, not a crash."""
    random = np.random.default_rng(0)
    usual = round(_USUAL_SECONDS * encoder.sample_rate)
    batch = random.normal(0, 0.1, (4, usual)).astype(np.float32)
    embeddings = encoder.embed(batch)
    scale = max(float(embeddings.std()), 1e-12)

    def deviation(found: np.ndarray, wanted: np.ndarray) -> float:
        return float(np.max(np.abs(found - wanted))) / scale

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
        found = encoder.embed(waveform(samples)[None].astype(np.float32))
        good = bool(np.isfinite(found).all()) and found.shape[1] == embeddings.shape[1]
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
        except Exception as error:  # whatever a foreign module raises is what is to be reported
            reason = (str(error).strip() or repr(error)).splitlines()[0]
            findings.append(Finding(name, f"fails: {reason[:150]}", good=False))
    return findings


def define_flags() -> flags.FlagValues:
    """The flags of the command."""
    values = flags.FlagValues()
    flags.DEFINE_string("handle", None, "The module to check.", flag_values=values)
    interface_flags.define(values)
    runtimes.define_flags(values)
    return values


def _main(values: flags.FlagValues) -> int:
    from hares_tf.hub.loader import locate

    if not values.handle:
        raise EvaluationError("name the module to check with --handle=...")
    runtime = runtimes.read_flags(values)
    runtime.check_available()
    module = locate(values.handle)
    stated, source = stated_interface(module, interface_flags.read(values))
    print(f"{module.name} ({module.handle})")
    try:
        encoder = open_encoder(module, stated, runtime)
    except ConversionError as error:
        print(f"  {error}; TensorFlow computes instead")
        encoder = open_encoder(module, stated)
    print(f"  {encoder.description} (stated by: {source})")
    findings = check_encoder(encoder)
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        print(f"{' ' if finding.good else '!'} {finding.name.ljust(width)}  {finding.text}")
    return 0 if all(finding.good for finding in findings) else 1


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; gives its exit code."""
    return command.run(NAME, DESCRIPTION, define_flags(), _main, argv)


if __name__ == "__main__":
    sys.exit(main())
