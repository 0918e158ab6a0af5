"""Interleaved timings and the machine's own matmul peak.

Machines are shared and change speed from minute to minute: what is compared is timed in turn, and
ratios are taken pair by pair; their median is what counts.
"""

import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

MATMUL_SIZE = 4096
# Multiply-adds of Slowfast NFNet-F0 for 3 s (300 x 80), from the official description, times two.
F0_FLOPS_3S = 2 * 3.719e9


def interleaved(functions: dict[str, Callable], rounds: int, warm_up: int = 2) -> dict[str, list]:
    """Seconds of each function, called in turn `rounds` times after `warm_up` uncounted rounds."""
    seconds: dict[str, list] = {name: [] for name in functions}
    for turn in range(warm_up + rounds):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            if turn >= warm_up:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def matmul() -> Callable:
    """A float32 product of two 4096 x 4096 matrices, by whoever is faster here.

    TensorFlow's own takes nearly twice as long as NumPy's where it leaves oneDNN off.
    """
    import tensorflow as tf

    left, right = (tf.random.normal([MATMUL_SIZE, MATMUL_SIZE]) for _ in range(2))
    product = tf.function(lambda: tf.matmul(left, right))
    arrays = left.numpy(), right.numpy()
    candidates = {
        "TensorFlow": lambda: product().numpy()[0, 0],
        "NumPy": lambda: (arrays[0] @ arrays[1])[0, 0],
    }
    seconds = interleaved(candidates, rounds=3)
    return candidates[min(candidates, key=lambda name: statistics.median(seconds[name]))]


def median_ratio(above: list, below: list) -> float:
    """Median of the pairwise ratios."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def share_of_peak(seconds: list, matmul_seconds: list, flops: float) -> float:
    """Median share of the matmul peak that work of `flops` reached."""
    return flops / (2 * MATMUL_SIZE**3) * median_ratio(matmul_seconds, seconds)


def milliseconds(seconds: list, per: int = 1) -> str:
    """The median, for people."""
    return f"{1000 * statistics.median(seconds) / per:.1f} ms"


def verdict(name: str, value: float, target: float, unit: str = "", at_most: bool = False) -> None:
    """Prints one measured ratio beside its target."""
    good = value <= target if at_most else value >= target
    bound = "at most" if at_most else "at least"
    print(
        f"{'ok  ' if good else 'MISS'} {name}: {value:.2f}{unit} (target: {bound} {target}{unit})"
    )
