"""What the linear head of `fast` would take on a task of VoxCeleb1's size: hours, extrapolated.

400,000 windows of 3,456 features, 1,251 labels. A tenth of the rows is made, and the protocol's own
search and last fit are run on them. Every fit is a number of evaluations of the loss, each one pass
over the rows: its time is in proportion to them, and L-BFGS' own does not depend on them. So the
search on all rows and the last fit are extrapolated by passes x seconds of a pass x 10, and the
search on 50,000 rows is taken as twice and a half what half of the tenth took.
"""

import tempfile
import time
from pathlib import Path

import fast_protocol
import numpy as np
from timing import verdict

ROWS, LABELS = 40_000, 1251
ALL_ROWS = 400_000
# Of the classes, see fast_protocol.
DISTANCE = 0.12


def main() -> None:
    from hares_tf.evaluation.heads.examples import Examples
    from hares_tf.evaluation.heads.logistic import CONVERGED, LogisticPath
    from hares_tf.evaluation.protocols import Options, Work, make_protocol, paths
    from hares_tf.evaluation.protocols.heads import LINEAR_C
    from hares_tf.evaluation.results.metrics import accuracy
    from hares_tf.evaluation.tasks.declaration import Task, Windows
    from hares_tf.evaluation.tasks.labels import Labels
    from hares_tf.utils.progress import Progress

    fits: list[tuple[float, int, int, float, float]] = []

    class Timed(LogisticPath):
        """Records C, rows, passes, seconds of passes and seconds of every fit."""

        passes, seconds = 0, 0.0

        def _evaluate(self, weights, bias):
            started = time.perf_counter()
            point = super()._evaluate(weights, bias)
            self.passes += 1
            self.seconds += time.perf_counter() - started
            return point

        def fit(self, c):
            passes, seconds, started = self.passes, self.seconds, time.perf_counter()
            super().fit(c)
            rows = len(self._embeddings)
            whole = time.perf_counter() - started
            fits.append((c, rows, self.passes - passes, self.seconds - seconds, whole))
            print(f"     C = {c:g}, {rows} rows: {fits[-1][2]} passes, {whole:.0f} s", flush=True)

    fast_protocol.ROWS, fast_protocol.CLASSES, fast_protocol.DISTANCE = ROWS, LABELS, DISTANCE
    paths.SAMPLE_WINDOWS = ROWS // 2  # so that there is a search on a sample, too
    parts = np.array((["train"] * 8 + ["validation", "test"]) * (ROWS // 10))
    task = Task("voxceleb", 1, "speech", Windows(3.0), "linear", "accuracy", read=lambda p: None)
    train_and_score = paths.choose_and_refit(Timed, LINEAR_C, "c", coarse={"tolerance": CONVERGED})
    with tempfile.TemporaryDirectory() as scratch:
        rows, classes = fast_protocol.embeddings(Path(scratch) / "embeddings.npy")
        examples = Examples(
            rows,
            np.ones(ROWS, int),
            classes[:, None].astype(np.int32),
            parts,
            np.array([f"clip{number}" for number in range(ROWS)]),
            Labels.classes(map(str, range(LABELS))),
            scratch,
        )
        train, test = examples.of_parts("train", "validation"), examples.of_parts("test")
        started = time.perf_counter()
        outcome = train_and_score(
            make_protocol("fast", Options()),
            task,
            train,
            test,
            Work(accuracy, Progress("none")),
            "",
        )
        whole = time.perf_counter() - started
    score = accuracy(outcome.scores, outcome.test.targets, examples.labels)
    print(f"     C = {outcome.details['c']:g}: {score:.2f}%, {whole:.0f} s on a tenth")
    search = sum(fit[4] for fit in fits if fit[1] <= ROWS // 2)
    other = whole - sum(fit[4] for fit in fits)  # scaling, Gram matrices, logits
    on_all = sum(10 * fit[3] + fit[4] - fit[3] for fit in fits if fit[1] > ROWS // 2)
    hours = (2.5 * search + 10 * other + on_all) / 3600
    speed = 4 * 3456 * LABELS * sum(f[1] * f[2] for f in fits) / sum(f[3] for f in fits) / 1e9
    print(f"     {speed:.0f} GFLOP/s in the passes")
    name = f"fast: {ALL_ROWS} x 3456, {LABELS} labels, extrapolated from a tenth"
    verdict(name, hours, 1.0, " h", at_most=True)


if __name__ == "__main__":
    main()
