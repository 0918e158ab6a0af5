"""Embedding 3-second clips with the exported Slowfast NFNet-F0, as a share of the matmul peak."""

import tempfile
from pathlib import Path

import numpy as np
from modules import export_random
from timing import F0_FLOPS_3S, interleaved, matmul, milliseconds, share_of_peak, verdict


def main() -> None:
    from hares_tf.hub import load

    with tempfile.TemporaryDirectory() as scratch:
        module = load(export_random("slowfast_nfnet_f0", Path(scratch) / "export"))
        random = np.random.default_rng(0)
        clips = {n: random.uniform(-1, 1, (n, 48_000)).astype(np.float32) for n in (16, 1)}
        seconds = interleaved(
            {
                "peak": matmul(),
                "batch 16": lambda: module(clips[16]).numpy(),
                "batch 1": lambda: module(clips[1]).numpy(),
            },
            rounds=11,
        )
    peak = 2 * 4096**3 / np.median(seconds["peak"]) / 1e9
    print(f"     matmul peak: {peak:.0f} GFLOP/s in float32")
    for batch in (16, 1):
        values = seconds[f"batch {batch}"]
        share = 100 * share_of_peak(values, seconds["peak"], batch * F0_FLOPS_3S)
        text = f"f0 at batch {batch}: {milliseconds(values, batch)} a clip, share of the peak"
        if batch == 16:
            verdict(text, share, 45, "%")
        else:
            print(f"     {text}: {share:.1f}%")


if __name__ == "__main__":
    main()
