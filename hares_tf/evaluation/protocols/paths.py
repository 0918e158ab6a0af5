"""Heads with one strength of regularization: choose it on held-out clips, then fit on all."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from hares_tf.evaluation.heads.examples import Examples
from hares_tf.evaluation.heads.scaling import Standardizer
from hares_tf.evaluation.protocols.base import (
    Outcome,
    Protocol,
    Work,
    every_nth,
    first_best,
    held_out,
)
from hares_tf.evaluation.tasks.declaration import Task

# Above so many windows, strengths are chosen with heads that are fitted on a part of the clips: a
# strength that is best for one part is best for all within noise (benchmarks/results/heads.md).
SAMPLE_WINDOWS = 50_000


def choose_and_refit(
    make_path: Callable, strengths: Sequence[float], name: str
) -> Callable[..., Outcome]:
    """Returns a function that trains and scores a head on one split, for `base.by_fold`.

    Args:
        make_path: `(standardized embeddings, row targets, labels)` -> something with
            `fit(strength)`, `solution()`, `start_from(solution, convert)`, `logits(embeddings)` and
            `converged`, such as `LogisticPath`.
        strengths: to choose from, the most regularized first.
        name: of the strength, in the details.
    """

    def run_split(
        protocol: Protocol, task: Task, train: Examples, test: Examples, work: Work, fold: str
    ) -> Outcome:
        chosen_on, where = held_out(train)
        fitted_on, sampled = _sample(train, ~chosen_on)
        fitted, validation = train.select(fitted_on), train.select(chosen_on)
        standardize = Standardizer(fitted.embeddings)
        path = make_path(standardize(fitted.embeddings), fitted.row_targets, train.labels)
        windows = standardize(validation.embeddings)
        validation_scores: list[float] = []
        with work.progress.phase(task.id, f"head {fold}".strip(), len(strengths) + 1, "fit") as bar:
            for strength in strengths:
                path.fit(strength)
                scores = protocol.clip_scores(path.logits(windows), validation)
                validation_scores.append(work.metric(scores, validation.targets, train.labels))
                if first_best(validation_scores) == len(validation_scores) - 1:
                    solution = path.solution()
                bar.update()
            best = first_best(validation_scores)
            del path, fitted, validation, windows  # large, in memory or on disk

            whole = train.select(np.ones(len(train), bool))
            standardize_whole = Standardizer(whole.embeddings)
            rows = standardize_whole(whole.embeddings)
            path = make_path(rows, whole.row_targets, train.labels)
            path.start_from(solution, partial(standardize.converted, other=standardize_whole))
            path.fit(strengths[best])
            bar.update()
        windows = standardize_whole(test.select(np.ones(len(test), bool)).embeddings)
        return Outcome(
            scores=protocol.clip_scores(path.logits(windows), test),
            test=test,
            details={
                name: strengths[best],
                f"{name}_chosen_on": where + sampled,
                "validation_scores": dict(zip(map(str, strengths), validation_scores, strict=True)),
                "converged": path.converged,
            },
        )

    return run_split


def _sample(train: Examples, among: np.ndarray) -> tuple[np.ndarray, str]:
    """Returns the clips that heads are fitted on to choose a strength, and a clause about them."""
    windows = int(train.rows_per_clip[among].sum())
    step = -(-windows // SAMPLE_WINDOWS)
    if step == 1:
        return among, ""
    return every_nth(train, among, step, place=1), f", by heads fitted on every {step}th other clip"
