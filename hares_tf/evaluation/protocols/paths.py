"""Heads with one strength of regularization: choose it on held-out clips, then fit on all."""

from collections.abc import Callable, Sequence

import numpy as np

from hares_tf.evaluation.heads.examples import Examples
from hares_tf.evaluation.heads.scaling import Standardizer
from hares_tf.evaluation.protocols.base import Outcome, Protocol, Work, first_best, held_out
from hares_tf.evaluation.tasks.declaration import Task


def choose_and_refit(
    make_path: Callable, strengths: Sequence[float], name: str
) -> Callable[..., Outcome]:
    """Returns a function that trains and scores a head on one split, for `base.by_fold`.

    Args:
        make_path: `(standardized embeddings, row targets, labels)` -> something with
            `fit(strength)`, `logits(embeddings)` and `converged`, such as `LogisticPath`.
        strengths: to choose from, the most regularized first.
        name: of the strength, in the details.
    """

    def run_split(
        protocol: Protocol, task: Task, train: Examples, test: Examples, work: Work, fold: str
    ) -> Outcome:
        chosen_on, where = held_out(train)
        fitted, validation = train.select(~chosen_on), train.select(chosen_on)
        standardize = Standardizer(fitted.embeddings)
        path = make_path(standardize(fitted.embeddings), fitted.row_targets, train.labels)
        windows = standardize(validation.embeddings)
        validation_scores: list[float] = []
        for strength in strengths:
            path.fit(strength)
            scores = protocol.clip_scores(path.logits(windows), validation)
            validation_scores.append(work.metric(scores, validation.targets, train.labels))
        best = first_best(validation_scores)
        del path, fitted, validation, windows  # large, in memory or on disk

        whole = train.select(np.ones(len(train), bool))
        standardize = Standardizer(whole.embeddings)
        path = make_path(standardize(whole.embeddings), whole.row_targets, train.labels)
        path.fit(strengths[best])
        windows = standardize(test.select(np.ones(len(test), bool)).embeddings)
        return Outcome(
            scores=protocol.clip_scores(path.logits(windows), test),
            test=test,
            details={
                name: strengths[best],
                f"{name}_chosen_on": where,
                "validation_scores": dict(zip(map(str, strengths), validation_scores, strict=True)),
                "converged": path.converged,
            },
        )

    return run_split
