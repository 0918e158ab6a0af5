"""Training heads by Adam on stored embeddings: share of the matmul peak, steps per second.

What is counted: 4 x batch x dim x width operations a step, two products of multiply-adds: the
logits and the derivative by the weights. The usual count of 6 has a third product, the derivative
by the input, which frozen embeddings do not need. Adam itself is not counted: it makes no products,
and reads and writes the weights and both moments at every step.
The time is that of the whole of `train_heads` without its start: gathering rows from a memory map
in random order included.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from timing import MATMUL_SIZE, matmul, verdict

DIM, BATCH, ROWS = 3456, 64, 20_000
ROUNDS = 7
# Width of the logits: VoxCeleb1, where products dominate; ESC-50, where everything else does.
WIDE, NARROW = 1251, 50


def embeddings(folder: Path) -> np.ndarray:
    """Random rows in a file, as a memory map."""
    path = folder / "embeddings.npy"
    rows = np.lib.format.open_memmap(path, "w+", np.float32, (ROWS, DIM))
    random = np.random.default_rng(0)
    for start in range(0, ROWS, 1000):
        rows[start : start + 1000] = random.standard_normal((1000, DIM), np.float32)
    rows.flush()
    return np.load(path, mmap_mode="r")


def step_seconds(rows: np.ndarray, width: int, steps: int) -> float:
    """Seconds per step from the first chunk's end to the last one's."""
    from hares_tf.evaluation.heads.adam import AdamConfig, train_heads
    from hares_tf.evaluation.heads.sampling import EmbeddingFeed, StepSampler
    from hares_tf.evaluation.tasks.labels import Labels

    targets = (np.arange(ROWS, dtype=np.int32) % width)[:, None]
    feed = EmbeddingFeed(rows, targets, StepSampler(np.ones(ROWS, int), BATCH, seed=0))
    config = AdamConfig(steps=steps, batch=BATCH, warm_up=10)
    done = []
    labels = Labels.classes(map(str, range(width)))
    train_heads(feed, labels, DIM, config, progress=lambda n: done.append((n, time.perf_counter())))
    (first, started), (last, ended) = done[0], done[-1]
    return (ended - started) / (last - first)


def main() -> None:
    product = matmul()
    product()
    with tempfile.TemporaryDirectory() as scratch:
        rows = embeddings(Path(scratch))
        shares, narrow_shares, speeds, peaks = [], [], [], []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            product()
            peak = 2 * MATMUL_SIZE**3 / (time.perf_counter() - started)
            wide = step_seconds(rows, WIDE, steps=160)
            shares.append(4 * BATCH * DIM * WIDE / wide / peak)
            narrow = step_seconds(rows, NARROW, steps=1000)
            narrow_shares.append(4 * BATCH * DIM * NARROW / narrow / peak)
            speeds.append(1 / narrow)
            peaks.append(peak)
    best, median = max(peaks) / 1e9, np.median(peaks) / 1e9
    print(f"     matmul peak: {best:.0f} GFLOP/s at best, {median:.0f} in the median")
    verdict(f"width {WIDE}: share of the matmul peak (median of {ROUNDS})", np.median(shares), 0.2)
    verdict(f"width {NARROW}: the same", np.median(narrow_shares), 0.2)
    # On a shared machine the best round is the one that was disturbed least.
    verdict(f"width {NARROW}: steps per second (best of {ROUNDS})", max(speeds), 1500)


if __name__ == "__main__":
    main()
