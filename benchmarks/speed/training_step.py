"""The whole SimCLR step of Slowfast NFNet-F0 on this machine, as a share of its matmul peak.

Log-mel, mixing, both views, network, projector, loss, gradients, Adam: 8 clips in two views of 3
seconds in float32, plain and with gradient caching. Then what a checkpoint costs, and whether
memory stays what it is while training goes on (with the small network, for which many steps fit
into a minute).
"""

import functools
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from timing import (
    F0_FLOPS_3S,
    interleaved,
    matmul,
    median_ratio,
    milliseconds,
    share_of_peak,
    verdict,
)

CLIPS, VIEWS, CHUNK = 8, 2, 4
# Dense 3456-4096-4096-4096-128, multiplications and additions.
PROJECTOR_FLOPS = 2 * (3456 * 4096 + 2 * 4096**2 + 4096 * 128)
# The backward pass costs twice the forward pass.
STEP_FLOPS = 3 * CLIPS * VIEWS * (F0_FLOPS_3S + PROJECTOR_FLOPS)
SMALL_STEPS = 120


def f0_steps():
    """The learner and `{"plain": step, "cached": step}`, each traced."""
    import tensorflow as tf

    from hares_tf.pretrain import load_config
    from hares_tf.pretrain.learner import create_learner
    from hares_tf.pretrain.step import training_step

    config = load_config("slowfast_nfnet_f0_simclr", ["precision=float32"])
    learner = create_learner(config, 0)
    audio = np.random.default_rng(0).integers(-9000, 9000, (CLIPS, VIEWS, 48_000))
    batch = {"audio": tf.constant(audio.astype(np.int16))}
    number = tf.constant(100)
    steps = {}
    for name, chunk in (("plain", 0), ("cached", CHUNK)):
        function = tf.function(functools.partial(training_step, learner, seed=0, chunk=chunk))
        steps[name] = lambda function=function: function(batch=batch, step=number)
        steps[name]()
    return learner, steps


def checkpoint(learner) -> None:
    """Time and size of a checkpoint of F0, its projector, and Adam's moments."""
    from hares_tf.pretrain.checkpoints import Checkpoints

    variables = learner.named_variables()
    values = sum(int(np.prod(variable.shape)) for variable in variables.values())
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder), keep=1)
        times = []
        for step in (1, 2):
            started = time.perf_counter()
            path = checkpoints.save(variables, step)
            times.append(time.perf_counter() - started)
        size = path.stat().st_size
        started = time.perf_counter()
        checkpoints.restore(variables)
        restored = time.perf_counter() - started
    print(
        f"     checkpoint of {values / 1e6:.0f}M numbers: {size / 2**20:.0f} MiB, written in "
        f"{min(times):.1f} s (synced), read in {restored:.1f} s"
    )


def memory_growth() -> None:
    """Anonymous memory after a third of the steps and at the end."""
    import tensorflow as tf

    from hares_tf.pretrain import load_config
    from hares_tf.pretrain.learner import create_learner
    from hares_tf.pretrain.step import training_step

    config = load_config("demo")
    learner = create_learner(config, 0)
    function = tf.function(functools.partial(training_step, learner, seed=0))
    random = np.random.default_rng(0)

    def run(first, last):
        for number in range(first, last):
            audio = random.integers(-9000, 9000, (32, 2, 16_000)).astype(np.int16)
            function(batch={"audio": tf.constant(audio)}, step=tf.constant(number))
        return anonymous_bytes()

    early, late = run(0, SMALL_STEPS // 3), run(SMALL_STEPS // 3, SMALL_STEPS)
    verdict(
        f"memory after {SMALL_STEPS} steps of the small network ({late / 2**20:.0f} MiB) over that "
        f"after {SMALL_STEPS // 3}",
        late / early,
        1.05,
        "",
        at_most=True,
    )


def anonymous_bytes() -> int:
    """Anonymous resident memory of this process (Linux)."""
    for line in Path(f"/proc/{os.getpid()}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the kernel does not report RssAnon")


def main() -> None:
    learner, steps = f0_steps()
    seconds = interleaved({"peak": matmul(), **steps}, rounds=5)
    peak = 2 * 4096**3 / np.median(seconds["peak"])
    print(f"     matmul peak: {peak / 1e9:.0f} GFLOP/s in float32")
    per_view = milliseconds(seconds["plain"], CLIPS * VIEWS)
    verdict(
        f"SimCLR step of f0, {CLIPS} clips: {per_view} a view, share of the peak",
        100 * share_of_peak(seconds["plain"], seconds["peak"], STEP_FLOPS),
        40,
        "%",
    )
    verdict(
        f"the same with gradient caching in chunks of {CHUNK} views, over plain",
        median_ratio(seconds["cached"], seconds["plain"]),
        1.4,
        "",
        at_most=True,
    )
    checkpoint(learner)
    del learner, steps
    memory_growth()


if __name__ == "__main__":
    main()
