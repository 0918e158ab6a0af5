"""Anonymous memory from 10,000 to 200,000 clips, the embedding and the head phase apart."""

import json
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from memory import anonymous_megabytes
from timing import verdict

FEW, MANY = 10_000, 200_000
DIM, CLASSES, RATE = 1024, 20, 16_000


@dataclass(frozen=True, slots=True)
class Noise:
    """A clip that is made when it is asked for, so that no disk decides the measurement."""

    number: int

    @property
    def where(self) -> str:
        return f"noise {self.number}"

    @property
    def container(self) -> str:
        return __file__

    def content_digest(self) -> str:
        return f"{self.number:064x}"

    def load(self, sample_rate: int) -> np.ndarray:
        random = np.random.default_rng(self.number)
        tone = np.sin(np.arange(1600) * (0.1 + 0.05 * (self.number % CLASSES)))
        return (0.1 * tone + random.normal(0, 0.1, 1600)).astype(np.float32)

    def decoded_bytes(self, sample_rate: int) -> int:
        return 6400


def encoder(batch: np.ndarray) -> np.ndarray:
    """Something of the right size."""
    spectrum = np.abs(np.fft.rfft(batch, n=2 * DIM))[:, :DIM]
    return np.log1p(spectrum).astype(np.float32)


encoder.sample_rate = RATE
encoder.fingerprint = "1"


def measure(clips: int) -> dict[str, float]:
    """Peak anonymous memory of each phase in megabytes; run in a process of its own."""
    from hares_tf.evaluation import evaluate
    from hares_tf.evaluation.task_evaluation import TaskEvaluation
    from hares_tf.evaluation.tasks.declaration import Clip, Manifest, Task, Windows
    from hares_tf.evaluation.tasks.labels import Labels

    labels = Labels.classes(str(number) for number in range(CLASSES))

    def read(places) -> Manifest:
        parts = ("train", "train", "train", "validation", "test")
        return Manifest(
            tuple(
                Clip(str(i), Noise(i), str(i % CLASSES), parts[i // CLASSES % 5])
                for i in range(clips)
            ),
            labels,
        )

    peaks, phase, done = {"embedding": 0.0, "head": 0.0}, ["embedding"], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            peaks[phase[0]] = max(peaks[phase[0]], anonymous_megabytes())

    original = TaskEvaluation._examples

    def marked(self):
        phase[0] = "head"
        return original(self)

    TaskEvaluation._examples = marked
    task = Task("noise", 1, "environment", Windows(0.1), "linear", "accuracy", read)
    with tempfile.TemporaryDirectory() as scratch:
        thread = threading.Thread(target=watch)
        thread.start()
        folder = Path(scratch)
        result = evaluate(
            "python:memory_growth:encoder",
            [task],
            protocol="smoke",
            output=folder / "results",
            store=folder / "store",
        )[0]
        done.set()
        thread.join()
    assert result.complete
    return peaks


def main() -> None:
    found = {}
    for clips in (FEW, MANY):
        done = subprocess.run(
            [sys.executable, __file__, str(clips)],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
        found[clips] = json.loads(done.stdout.splitlines()[-1])
        print(
            f"     {clips} clips: embedding {found[clips]['embedding']:.0f} MB, "
            f"head {found[clips]['head']:.0f} MB; embeddings: {clips * DIM * 4 / 1e6:.0f} MB"
        )
    for phase in ("embedding", "head"):
        growth = (found[MANY][phase] - found[FEW][phase]) * 1e6 / (MANY - FEW)
        verdict(f"{phase} phase, growth", growth, 1000, " bytes a clip", at_most=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(int(sys.argv[1]))))
    else:
        main()
