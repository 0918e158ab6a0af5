"""The serving flavor of Slowfast NFNet-F0 beside the reusable one: 3-second clips.

Also what a first call costs after loading, what new lengths cost, and what the signature
`with_lengths` costs.
"""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from modules import export_random
from timing import (
    F0_FLOPS_3S,
    interleaved,
    matmul,
    median_ratio,
    milliseconds,
    share_of_peak,
    verdict,
)

SAMPLES = 48_000
FORMS = {
    "reusable": {},
    "serving float32": {"flavor": "serving"},
    "serving bfloat16": {"flavor": "serving", "precision": "bfloat16"},
}
FLOAT32, BFLOAT16 = "serving float32", "serving bfloat16"


def load_modules(folder: Path) -> tuple[dict, dict]:
    """The modules by their form, and the seconds that the first call of each took."""
    from hares_tf.hub import load

    clip = noise(1, SAMPLES)
    modules, first = {}, {}
    for form, settings in FORMS.items():
        module = load(
            export_random("slowfast_nfnet_f0", folder / form.replace(" ", "_"), **settings)
        )
        started = time.perf_counter()
        module(clip).numpy()
        modules[form], first[form] = module, time.perf_counter() - started
    return modules, first


def noise(*shape) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def processor_flags() -> set[str]:
    """What the processor can (Linux); empty where nothing says so."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())


def compare(modules: dict, batch: int, rounds: int) -> dict:
    """Prints each form's share of the peak; gives the seconds."""
    clips = noise(batch, SAMPLES)
    calls = {name: lambda module=module: module(clips).numpy() for name, module in modules.items()}
    seconds = interleaved({"peak": matmul(), **calls}, rounds)
    for name in modules:
        share = 100 * share_of_peak(seconds[name], seconds["peak"], batch * F0_FLOPS_3S)
        text = f"{name} at batch {batch}: {milliseconds(seconds[name], batch)} a clip, share"
        if name == FLOAT32 and batch == 16:
            verdict(f"{text} of the float32 peak", share, 45, "%")
        else:
            print(f"     {text} of the float32 peak: {share:.1f}%")
    return seconds


def new_lengths(module) -> None:
    """First calls at new lengths over second ones: a graph compiled anew would take seconds."""
    ratios = []
    for samples in range(20_000, 60_000, 5_003):
        clip = noise(1, samples)
        times = []
        for _ in range(2):
            started = time.perf_counter()
            module(clip).numpy()
            times.append(time.perf_counter() - started)
        ratios.append(times[0] / times[1])
    verdict(
        "serving float32, a first call at a new length over a second one",
        statistics.median(ratios),
        2,
        at_most=True,
    )


def lengths_signature(module) -> None:
    """What `with_lengths` costs against the plain batch, in the best and in the worst case."""
    import tensorflow as tf

    clips = tf.constant(noise(16, SAMPLES))
    plain, signature = (module.signatures[n] for n in ("serving_default", "with_lengths"))
    same = tf.fill([16], SAMPLES)
    different = SAMPLES - tf.range(16)
    seconds = interleaved(
        {
            "plain": lambda: plain(waveform=clips)["embedding"].numpy(),
            "same": lambda: signature(waveform=clips, lengths=same)["embedding"].numpy(),
            "different": lambda: signature(waveform=clips, lengths=different)["embedding"].numpy(),
        },
        rounds=5,
    )
    for case in ("same", "different"):
        ratio = median_ratio(seconds[case], seconds["plain"])
        text = f"with_lengths over serving_default, 16 clips, {case} lengths"
        if case == "same":
            verdict(text, ratio, 1.1, at_most=True)
        else:
            print(f"     {text}: {ratio:.2f}")


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        modules, first = load_modules(Path(scratch))
    for form, seconds in first.items():
        if form == "reusable":
            print(f"     first call after loading, {form}: {seconds:.2f} s")
        else:
            verdict(f"first call after loading, {form}", seconds, 2, " s", at_most=True)
    many, one = compare(modules, 16, rounds=9), compare(modules, 1, rounds=15)
    verdict(
        "serving float32 at batch 1, times faster than reusable",
        median_ratio(one["reusable"], one[FLOAT32]),
        1.8,
    )
    faster = median_ratio(many[FLOAT32], many[BFLOAT16])
    text = "serving bfloat16 at batch 16, times faster than serving float32"
    if "amx_bf16" in processor_flags():
        verdict(text, faster, 1.6)
    else:
        print(f"     {text}: {faster:.2f} (no target: this processor has no AMX)")
    new_lengths(modules[FLOAT32])
    lengths_signature(modules[FLOAT32])


if __name__ == "__main__":
    main()
