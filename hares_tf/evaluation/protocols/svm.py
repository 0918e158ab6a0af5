"""The SVM head of ESC-50: how the regularization is chosen, honestly and as published."""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from hares_tf.evaluation.heads.examples import Examples
from hares_tf.evaluation.heads.scaling import Standardizer, row_space
from hares_tf.evaluation.heads.svm import LinearSVM
from hares_tf.evaluation.protocols.base import Outcome, Work, first_best

# Appendix A, ESC-50.
SVM_C = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


def nested(
    train: Examples, test: Examples, clip_scores: Callable, work: Work, task_id: str
) -> Outcome:
    """C is chosen inside the training folds of each test fold."""
    folds = sorted(set(test.parts.tolist()))
    pairs = list(combinations(range(len(folds)), 2))
    # inner[i, j, c]: score on fold j of a head that saw neither fold i nor fold j. One head per
    # pair serves twice: i tested and j validating, and the other way round.
    inner = np.full((len(folds), len(folds), len(SVM_C)), np.nan)
    with work.progress.phase(task_id, "SVM", len(pairs) + len(folds), "fit") as bar:
        for i, j in pairs:
            seen = train.select(~np.isin(train.parts, (folds[i], folds[j])))
            held = [test.of_parts(folds[k]) for k in (i, j)]
            scores = _scores(seen, held, SVM_C, clip_scores)
            inner[j, i], inner[i, j] = _metrics(scores, held, work)
            bar.update()
        choices = [SVM_C[first_best(np.nanmean(inner[i], axis=0))] for i in range(len(folds))]
        pieces = []
        for fold, c in zip(folds, choices, strict=True):
            held = [test.of_parts(fold)]
            pieces.append(_scores(train.select(train.parts != fold), held, [c], clip_scores)[0][0])
            bar.update()
    outcome = _joined(pieces, folds, test, work)
    outcome.details |= {
        "c": dict(zip(folds, choices, strict=True)),
        "c_chosen_on": "the training folds of each test fold",
    }
    return outcome


def published(
    train: Examples, test: Examples, clip_scores: Callable, work: Work, task_id: str
) -> Outcome:
    """Appendix A: the C that scores best on the first fold, as a test fold, is used for all.

    That chooses on test clips: the first fold's score, a fifth of the total, is a little too good.
    """
    folds = sorted(set(test.parts.tolist()))
    by_fold, scores = [], []
    with work.progress.phase(task_id, "SVM", len(folds), "fold") as bar:
        for fold in folds:
            held = [test.of_parts(fold)]
            found = _scores(train.select(train.parts != fold), held, SVM_C, clip_scores)
            by_fold.append(found[0])
            scores.append(_metrics(found, held, work)[0])
            bar.update()
    best = first_best(scores[0])
    outcome = _joined([found[best] for found in by_fold], folds, test, work)
    outcome.details |= {
        "c": SVM_C[best],
        "c_chosen_on": f"test fold {folds[0]} (as published; mild leakage)",
        "sweep": {str(c): [float(s[i]) for s in scores] for i, c in enumerate(SVM_C)},
    }
    return outcome


def _scores(
    train: Examples, tests: list[Examples], cs: Sequence[float], clip_scores: Callable
) -> list[list[np.ndarray]]:
    """For each test set and C the scores of its clips."""
    standardize = Standardizer(train.embeddings)
    basis, embeddings = row_space(standardize(train.embeddings))
    held_out = [standardize(test.embeddings.copy()) for test in tests]
    if basis is not None:
        held_out = [windows @ basis for windows in held_out]
    targets = train.row_targets[:, 0]
    found: list[list[np.ndarray]] = [[] for _ in tests]
    for c in cs:
        svm = LinearSVM(embeddings, targets, train.labels.width, c)
        for scores, test, windows in zip(found, tests, held_out, strict=True):
            scores.append(clip_scores(svm.logits(windows), test))
    return found


def _metrics(found: list[list[np.ndarray]], tests: list[Examples], work: Work) -> np.ndarray:
    """`[tests, cs]` scores in percent."""
    return np.array(
        [
            [work.metric(scores, test.targets, test.labels) for scores in of_test]
            for of_test, test in zip(found, tests, strict=True)
        ]
    )


def _joined(pieces: list[np.ndarray], folds: list[str], test: Examples, work: Work) -> Outcome:
    """The folds' scores in the order of the clips."""
    clips = [np.flatnonzero(test.parts == fold) for fold in folds]
    scores = np.empty((len(test), test.labels.width), pieces[0].dtype)
    for piece, chosen in zip(pieces, clips, strict=True):
        scores[chosen] = piece
    fold_scores = {
        fold: work.metric(piece, test.targets[chosen], test.labels)
        for fold, piece, chosen in zip(folds, pieces, clips, strict=True)
    }
    return Outcome(
        scores, test, {"fold_scores": fold_scores}, float(np.mean(list(fold_scores.values())))
    )
