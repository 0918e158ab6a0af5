"""What the linear head of `fast` would take on a task of VoxCeleb1's size: hours, extrapolated.

400,000 windows of 3,456 features, 1,251 labels. A tenth of the rows is made and fitted; every fit
costs a number of evaluations of the loss, each one pass over the rows, and a pass takes in
proportion to them. So: seconds = evaluations x seconds of a pass here x rows there / rows here,
for the choice of C on `SAMPLE_WINDOWS` windows and for the last fit on all of them, which starts
from the chosen head. The Gram matrix and the scaling are passes, too.
"""

import tempfile
import time
from pathlib import Path

import fast_protocol
import numpy as np
from timing import verdict

ROWS, LABELS = 40_000, 1251
ALL_ROWS, VALIDATION = 400_000, 0.1


def main() -> None:
    from hares_tf.evaluation.heads.logistic import LogisticPath
    from hares_tf.evaluation.heads.scaling import Standardizer
    from hares_tf.evaluation.protocols.heads import LINEAR_C
    from hares_tf.evaluation.protocols.paths import SAMPLE_WINDOWS
    from hares_tf.evaluation.results.metrics import accuracy
    from hares_tf.evaluation.tasks.labels import Labels

    class Timed(LogisticPath):
        """Counts and times the passes."""

        passes, seconds = 0, 0.0

        def _evaluate(self, weights, bias):
            started = time.perf_counter()
            point = super()._evaluate(weights, bias)
            self.passes += 1
            self.seconds += time.perf_counter() - started
            return point

    fast_protocol.ROWS, fast_protocol.CLASSES, fast_protocol.DISTANCE = ROWS, LABELS, 0.12
    labels = Labels.classes(map(str, range(LABELS)))
    with tempfile.TemporaryDirectory() as scratch:
        rows, classes = fast_protocol.embeddings(Path(scratch) / "embeddings.npy")
        targets = classes[:, None].astype(np.int32)
        fitted = round(ROWS * (1 - VALIDATION))
        started = time.perf_counter()
        Standardizer(rows[:fitted])(rows)
        scaling = (time.perf_counter() - started) / ROWS
        started = time.perf_counter()
        path = Timed(rows[:fitted], targets[:fitted], labels)
        gram = (time.perf_counter() - started - path.seconds) / fitted
        scores, solution, chosen = [], None, LINEAR_C[0]
        solving = time.perf_counter()
        before = path.seconds
        for c in LINEAR_C:
            path.fit(c)
            scores.append(accuracy(path.logits(rows[fitted:]), targets[fitted:], labels))
            print(f"     C = {c:g}: {scores[-1]:.2f}%, {path.passes} passes so far", flush=True)
            if scores[-1] > max(scores[:-1], default=-1):
                solution, chosen = path.solution(), c
        # What L-BFGS itself takes does not depend on the rows.
        own = time.perf_counter() - solving - (path.seconds - before)
        per_row = path.seconds / path.passes / fitted
        choice = path.passes * per_row * SAMPLE_WINDOWS + own
        last = Timed(rows, targets, labels)
        last.start_from(solution, lambda weights, bias: (weights, bias))
        solving, before = time.perf_counter(), last.seconds
        last.fit(chosen)
        own = time.perf_counter() - solving - (last.seconds - before)
    refit = last.passes * per_row * ALL_ROWS + own
    whole = choice + refit + (2 * scaling + gram) * ALL_ROWS + gram * SAMPLE_WINDOWS
    flops = 4 * 3456 * LABELS
    print(f"     a pass: {1e6 * per_row:.1f} us a row, {flops / per_row / 1e9:.0f} GFLOP/s")
    print(f"     choice of C: {path.passes} passes, {choice / 60:.0f} min")
    print(f"     last fit: {last.passes} passes, {refit / 60:.0f} min")
    name = f"fast: {ALL_ROWS} x 3456, {LABELS} labels, extrapolated from a tenth"
    verdict(name, whole / 3600, 1.0, " h", at_most=True)


if __name__ == "__main__":
    main()
