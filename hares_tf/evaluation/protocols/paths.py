"""Heads with one strength of regularization: choose it on held-out clips, then fit on all."""

from collections.abc import Callable, Sequence

import numpy as np

from hares_tf.evaluation.heads.examples import Examples
from hares_tf.evaluation.heads.scaling import Standardizer
from hares_tf.evaluation.protocols.base import Outcome, Work, first_best, held_out


def choose_and_refit(
    make_path: Callable,
    strengths: Sequence[float],
    train: Examples,
    test: Examples,
    clip_scores: Callable[[np.ndarray, Examples], np.ndarray],
    work: Work,
    name: str,
) -> Outcome:
    """Scores a path of heads (see `logistic.LogisticPath`).

    Args:
        make_path: `(standardized embeddings, row targets, labels)` -> something with
            `fit(strength)`, `logits(embeddings)` and `converged`.
        strengths: to choose from, the most regularized first.
        train: training and validation clips.
        test: test clips.
        clip_scores: logits of windows -> scores of clips.
        work: see `Work`.
        name: of the strength, in the details.
    """
    chosen_on, where = held_out(train)
    fitted, validation = train.select(~chosen_on), train.select(chosen_on)
    standardize = Standardizer(fitted.embeddings)
    path = make_path(standardize(fitted.embeddings), fitted.row_targets, train.labels)
    windows = standardize(validation.embeddings)
    scores: list[float] = []
    for strength in strengths:
        path.fit(strength)
        found = clip_scores(path.logits(windows), validation)
        scores.append(work.metric(found, validation.targets, train.labels))
    best = first_best(scores)
    del path, fitted, validation, windows  # may lie on disk: give it back before the next

    whole = train.select(np.ones(len(train), bool))
    standardize = Standardizer(whole.embeddings)
    path = make_path(standardize(whole.embeddings), whole.row_targets, train.labels)
    path.fit(strengths[best])
    windows = standardize(test.select(np.ones(len(test), bool)).embeddings)
    return Outcome(
        scores=clip_scores(path.logits(windows), test),
        test=test,
        details={
            name: strengths[best],
            f"{name}_chosen_on": where,
            "validation_scores": dict(zip(map(str, strengths), scores, strict=True)),
            "converged": path.converged,
        },
    )
