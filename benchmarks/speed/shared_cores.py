"""Training heads of `fast` on a machine with nothing else to do, and with two busy processes.

With the real recordings (HARES_SHARED, or `shared` beside the repository): log-mel statistics on
the seven tasks of tests/real_tasks, the heads of all together. Without them, and in any case: a
head on synthetic embeddings of the shape of F0's on the task "pitch" (504 clips, 3456 features, 70
labels), which a product in several threads makes 50 times slower where a core is shared.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from timing import verdict

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("HARES_SHARED", REPOSITORY.parent / "shared"))
CLIPS, DIM, LABELS = 504, 3456, 70


@contextlib.contextmanager
def busy(processes: int = 2) -> Iterator[None]:
    """Keeps cores busy with other processes."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        time.sleep(0.5)
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def real_tasks(scratch: Path) -> None:
    """The seconds of all heads, quiet and busy."""
    from hares_tf.commands import export
    from hares_tf.evaluation import evaluate

    module = scratch / "log_mel_statistics"
    with contextlib.redirect_stdout(None), contextlib.redirect_stderr(None):
        export.main(["--model=log_mel_statistics", f"--output={module}"])
    tasks = sorted(map(str, (REPOSITORY / "tests" / "real_tasks").glob("*.toml")))

    def seconds(name: str) -> float:
        results = evaluate(
            module,
            tasks,
            data_dir=SHARED / "data",
            output=scratch / name,
            store=scratch / "store",
            progress="none",
        )
        assert len(results) == len(tasks)
        return sum(result.seconds["head"] for result in results)

    seconds("first")  # embeds
    quiet = seconds("quiet")
    with busy():
        disturbed = seconds("busy")
    verdict("heads of seven real tasks, together", quiet, 20.0, " s", at_most=True)
    verdict("beside two busy processes: times as long", disturbed / quiet, 3.0, at_most=True)


def synthetic_pitch() -> None:
    """One head of F0's size, quiet and busy."""
    from hares_tf.evaluation.heads.examples import Examples
    from hares_tf.evaluation.heads.threads import blas_threads
    from hares_tf.evaluation.protocols import Options, Work, make_protocol
    from hares_tf.evaluation.results.metrics import accuracy
    from hares_tf.evaluation.tasks.declaration import Task, Windows
    from hares_tf.evaluation.tasks.labels import Labels
    from hares_tf.utils.progress import Progress

    random = np.random.default_rng(0)
    targets = np.arange(CLIPS, dtype=np.int32) % LABELS
    centers = random.standard_normal((LABELS, DIM)) / np.sqrt(np.arange(1, DIM + 1))
    noise = random.standard_normal((CLIPS, DIM)) / np.sqrt(np.arange(1, DIM + 1))
    embeddings = (centers[targets] + 2 * noise).astype(np.float32)
    parts = np.array(["train", "train", "train", "validation", "test"] * CLIPS)[:CLIPS]
    examples = Examples(
        embeddings,
        np.ones(CLIPS, int),
        targets[:, None],
        parts,
        np.array([f"clip{number}" for number in range(CLIPS)]),
        Labels.classes(map(str, range(LABELS))),
    )
    task = Task("pitch", 1, "music", Windows(1.0), "linear", "accuracy", read=lambda places: None)

    def seconds() -> float:
        started = time.perf_counter()
        with blas_threads(CLIPS, DIM, LABELS):
            make_protocol("fast", Options()).run(
                task,
                examples.of_parts("train", "validation"),
                examples.of_parts("test"),
                Work(accuracy, Progress("none")),
            )
        return time.perf_counter() - started

    quiet = min(seconds() for _ in range(2))
    with busy():
        disturbed = seconds()
    name = f"a head on {CLIPS} x {DIM}, {LABELS} labels"
    verdict(name, quiet, 15.0, " s", at_most=True)
    verdict("beside two busy processes: times as long", disturbed / quiet, 3.0, at_most=True)


def main() -> None:
    synthetic_pitch()
    if not (SHARED / "data").is_dir():
        print(f"     no real recordings at {SHARED}: the seven tasks are left out")
        return
    with tempfile.TemporaryDirectory() as scratch:
        real_tasks(Path(scratch))


if __name__ == "__main__":
    main()
