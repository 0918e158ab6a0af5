"""Anonymous memory of the embedding phase: bounded, and flat in the number of clips."""

import multiprocessing
import tempfile
import threading
from pathlib import Path

import numpy as np
from evaluation import write_task
from modules import export_random
from timing import verdict

CLIPS = 480


def anonymous_megabytes() -> float:
    """RssAnon of this process (Linux)."""
    with open("/proc/self/status", encoding="utf-8") as file:
        for line in file:
            if line.startswith("RssAnon"):
                return int(line.split()[1]) / 1024
    raise RuntimeError("no RssAnon in /proc/self/status")


def main() -> None:
    from hares_tf.evaluation import evaluate

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        # A process of its own exports: its memory is not what is measured.
        context = multiprocessing.get_context("spawn")
        with context.Pool(1) as pool:
            handle = pool.apply(export_random, ("slowfast_nfnet_f0", folder / "export"))
        task = write_task(folder / "data", CLIPS)
        samples, done = [], threading.Event()

        def watch() -> None:
            while not done.wait(0.2):
                samples.append(anonymous_megabytes())

        threading.Thread(target=watch, daemon=True).start()
        options = {"output": folder / "results", "store": folder / "store"}
        result = evaluate(handle, [str(task)], **options)[0]
        done.set()

    used = np.array(samples)
    print(
        f"     {CLIPS} clips: embedding {result.seconds['embedding']:.0f} s, "
        f"head {result.seconds['head']:.0f} s"
    )
    verdict("peak anonymous memory", used.max() / 1024, 3.0, " GiB", at_most=True)
    # Loading and the first batches come first; from then on nothing may grow.
    middle, late = used[len(used) // 3 : len(used) // 2], used[-len(used) // 4 :]
    verdict("late memory relative to the middle", late.max() / middle.max(), 1.1, at_most=True)


if __name__ == "__main__":
    main()
