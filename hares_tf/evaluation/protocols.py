"""Protocols: how heads are trained and chosen, and how clips are scored.

`fast/1`: standardise with the fitted clips' mean and deviation. A linear head is a multinomial
logistic regression by L-BFGS; C from 1e-4 to 1000 by decades is chosen on the validation split
(where there is none: on every fifth training clip per label, by SHA-1 of its id), ties to the
smaller C; then it is refitted on training and validation clips together. An SVM head chooses C from
the paper's list (Appendix A, ESC-50) inside the training folds of each test fold. Nothing is chosen
on test clips.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.heads import Examples, LinearSVM, Standardizer, clip_scores, row_space
from hares_tf.evaluation.logistic import LogisticPath
from hares_tf.evaluation.metrics import METRICS

LINEAR_C = tuple(10.0**power for power in range(-4, 4))
SVM_C = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


@dataclass
class Outcome:
    """What a protocol found.

    Attributes:
        score: the task's score in percent.
        n_test: clips scored.
        details: choices and intermediate scores, as JSON data.
    """

    score: float
    n_test: int
    details: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Protocol:
    """A way to score tasks; `identity` goes into every result.

    Attributes:
        name: the value of --protocol.
        version: raised whenever scores may move.
        heads: how each declared head is trained and scored.
    """

    name: str
    version: int
    heads: dict[str, Callable[[Examples, Callable], Outcome]]

    @property
    def identity(self) -> str:
        """For example "fast/1"."""
        return f"{self.name}/{self.version}"

    def run(self, head: str, metric: str, examples: Examples) -> Outcome:
        """Trains and scores a head on a task's examples."""
        return self.heads[head](examples, METRICS[metric])


def _fast_linear(examples: Examples, metric: Callable) -> Outcome:
    fitted = np.isin(examples.parts, ("train", "validation"))
    validation = examples.parts == "validation"
    chosen_on = "validation split"
    if not validation.any():
        validation = every_fifth(examples, fitted)
        chosen_on = "every fifth training clip per label"
    scores = _path_scores(
        examples.select(fitted & ~validation), examples.select(validation), metric
    )
    best = _first_best(scores)
    everything, test = examples.select(fitted), examples.select(examples.parts == "test")
    standardize = Standardizer(everything.embeddings)
    path = _logistic_path(standardize, everything)
    path.fit(LINEAR_C[best])
    logits = clip_scores(path.logits(standardize(test.embeddings)), test.rows_per_clip)
    return Outcome(
        score=metric(logits, test.labels),
        n_test=len(test.labels),
        details={
            "c": LINEAR_C[best],
            "c_chosen_on": chosen_on,
            "validation_scores": dict(zip(map(str, LINEAR_C), scores, strict=True)),
            "converged": path.converged,
        },
    )


def _path_scores(train: Examples, validation: Examples, metric: Callable) -> list[float]:
    """Validation score for each C of the grid."""
    standardize = Standardizer(train.embeddings)
    held_out = standardize(validation.embeddings)
    path = _logistic_path(standardize, train)
    scores = []
    for c in LINEAR_C:
        path.fit(c)
        logits = clip_scores(path.logits(held_out), validation.rows_per_clip)
        scores.append(metric(logits, validation.labels))
    return scores


def _logistic_path(standardize: Standardizer, train: Examples) -> LogisticPath:
    return LogisticPath(standardize(train.embeddings), train.row_labels, train.n_classes)


def every_fifth(examples: Examples, among: np.ndarray) -> np.ndarray:
    """Mask of every fifth clip of each label, in the order of the SHA-1 of the clips' ids.

    Raises:
        EvaluationError: no label has five clips, so nothing could be chosen.
    """
    mask = np.zeros(len(examples.labels), bool)
    order = sorted(
        np.flatnonzero(among), key=lambda i: hashlib.sha1(examples.ids[i].encode()).digest()
    )
    seen = np.zeros(examples.n_classes, int)
    for clip in order:
        seen[examples.labels[clip]] += 1
        mask[clip] = seen[examples.labels[clip]] % 5 == 0
    if not mask.any():
        raise EvaluationError(
            "there is no validation split and no label has five training clips, so the "
            "regularisation cannot be chosen: give some clips the split 'validation'"
        )
    return mask


def _fast_svm(examples: Examples, metric: Callable) -> Outcome:
    folds = sorted(set(examples.parts.tolist()))
    # inner[i, j, c]: score on fold j of a head that saw neither fold i nor fold j. One head per
    # pair serves twice: i tested and j validating, and the other way round.
    inner = np.full((len(folds), len(folds), len(SVM_C)), np.nan)
    for i, j in combinations(range(len(folds)), 2):
        pair = [examples.select(examples.parts == folds[k]) for k in (i, j)]
        train = examples.select(~np.isin(examples.parts, (folds[i], folds[j])))
        inner[j, i], inner[i, j] = _svm_scores(train, pair, SVM_C, metric)
    fold_scores, choices = [], []
    for i, fold in enumerate(folds):
        c = SVM_C[_first_best(np.nanmean(inner[i], axis=0))]
        test = examples.select(examples.parts == fold)
        train = examples.select(examples.parts != fold)
        fold_scores.append(_svm_scores(train, [test], [c], metric)[0][0])
        choices.append(c)
    return Outcome(
        score=float(np.mean(fold_scores)),
        n_test=len(examples.labels),
        details={
            "fold_scores": dict(zip(folds, fold_scores, strict=True)),
            "c": dict(zip(folds, choices, strict=True)),
            "c_chosen_on": "the training folds of each test fold",
        },
    )


def _svm_scores(
    train: Examples, tests: list[Examples], cs: Sequence[float], metric: Callable
) -> np.ndarray:
    """Scores `[tests, cs]` of heads trained on `train`."""
    standardize = Standardizer(train.embeddings)
    basis, embeddings = row_space(standardize(train.embeddings))
    held_out = [standardize(test.embeddings) for test in tests]
    if basis is not None:
        held_out = [windows @ basis for windows in held_out]
    scores = np.empty((len(tests), len(cs)))
    for column, c in enumerate(cs):
        svm = LinearSVM(embeddings, train.row_labels, train.n_classes, c)
        for row, (test, windows) in enumerate(zip(tests, held_out, strict=True)):
            logits = clip_scores(svm.logits(windows), test.rows_per_clip)
            scores[row, column] = metric(logits, test.labels)
    return scores


def _first_best(scores) -> int:
    """Index of the best score; ties go to the first, which has the smaller C."""
    return int(np.argmax(scores))


PROTOCOLS = {
    "fast": Protocol("fast", 1, {"linear": _fast_linear, "svm": _fast_svm}),
}
