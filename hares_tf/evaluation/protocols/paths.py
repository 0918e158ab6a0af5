"""Heads with one strength of regularization: choose it on held-out clips, then fit on all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

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

# Above so many windows, a part of the clips says first which strengths are worth a fit on all.
SAMPLE_WINDOWS = 50_000


def choose_and_refit(
    make_path: Callable,
    strengths: Sequence[float],
    name: str,
    coarse: Mapping[str, Any] = MappingProxyType({}),
) -> Callable[..., Outcome]:
    """Returns a function that trains and scores a head on one split, for `base.by_fold`.

    Args:
        make_path: `(standardized embeddings, row targets, labels)` -> something with
            `fit(strength)`, `solution()`, `start_from(solution, convert)`, `logits(embeddings)` and
            `converged`, such as `LogisticPath`.
        strengths: to choose from, the most regularized first.
        name: of the strength, in the details.
        coarse: further arguments of `make_path` where clips have more than `SAMPLE_WINDOWS`
            windows, while the strength is chosen.
    """

    def run_split(
        protocol: Protocol, task: Task, train: Examples, test: Examples, work: Work, fold: str
    ) -> Outcome:
        chosen_on, where = held_out(train)

        def score(path: Any, windows: np.ndarray, clips: Examples) -> float:
            scores = protocol.clip_scores(path.logits(windows), clips)
            return work.metric(scores, clips.targets, train.labels)

        step = -(-int(train.rows_per_clip[~chosen_on].sum()) // SAMPLE_WINDOWS)
        with work.progress.phase(task.id, f"head {fold}".strip(), len(strengths) + 1, "fit") as bar:
            search = _Search(strengths, score, bar.update)
            if step == 1:
                search.run(make_path, train, ~chosen_on, chosen_on)
            else:
                # With fewer rows less regularization seems best, by up to two decades. Fits get
                # longer with less regularization, so that a search upwards costs little.
                sample = every_nth(train, ~chosen_on, step, place=1)
                make_coarse = partial(make_path, **coarse)
                search.run(make_coarse, train, sample, chosen_on, patience=2)
                first = max(search.best - 2, 0)
                search.run(make_coarse, train, ~chosen_on, chosen_on, first, patience=1)
                where += f", after a search on every {step}th other clip"

            whole = train.select(np.ones(len(train), bool))
            standardize = Standardizer(whole.embeddings)
            path = make_path(standardize(whole.embeddings), whole.row_targets, train.labels)
            search.start(path, search.best, standardize)
            path.fit(strengths[search.best])
            bar.update()
        windows = standardize(test.select(np.ones(len(test), bool)).embeddings)
        return Outcome(
            scores=protocol.clip_scores(path.logits(windows), test),
            test=test,
            details={
                name: strengths[search.best],
                f"{name}_chosen_on": where,
                "validation_scores": {
                    str(strengths[index]): value for index, value in search.scores.items()
                },
                "converged": path.converged,
            },
        )

    return run_split


@dataclass
class _Search:
    """The search for the best strength on some clips.

    Attributes:
        strengths: the most regularized first.
        score: `(path, standardized windows, clips) -> score`.
        on_fit: called after every fit.
        scores: of the last run, by the indexes of the strengths that were tried.
    """

    strengths: Sequence[float]
    score: Callable[[Any, np.ndarray, Examples], float]
    on_fit: Callable[[], None]
    scores: dict[int, float] = field(default_factory=dict)
    _solutions: dict[int, Any] = field(default_factory=dict)
    _standardize: Standardizer | None = None

    @property
    def best(self) -> int:
        """Index of the best strength of the last run; ties go to the most regularized."""
        return list(self.scores)[first_best(list(self.scores.values()))]

    def run(
        self,
        make_path: Callable,
        examples: Examples,
        fitted_on: np.ndarray,
        chosen_on: np.ndarray,
        first: int = 0,
        patience: int | None = None,
    ) -> None:
        """Fits one strength after another, from index `first`; scores each on other clips.

        Args:
            make_path: see `choose_and_refit`.
            examples: all clips.
            fitted_on, chosen_on: masks of clips.
            first: where to begin; from the solution there of an earlier run, if there was one.
            patience: the search ends after so many strengths in a row that are worse than the best:
                the least regularized ones take longest. None: all are tried, since scores of
                few clips are noisy.
        """
        fitted, validation = examples.select(fitted_on), examples.select(chosen_on)
        standardize = Standardizer(fitted.embeddings)
        path = make_path(standardize(fitted.embeddings), fitted.row_targets, examples.labels)
        windows = standardize(validation.embeddings)
        self.start(path, first, standardize)
        self.scores, self._solutions, self._standardize = {}, {}, standardize
        for index in range(first, len(self.strengths)):
            path.fit(self.strengths[index])
            self.scores[index] = self.score(path, windows, validation)
            self._solutions[index] = path.solution()
            self.on_fit()
            latest = list(self.scores.values())[-patience:] if patience else []
            if latest and len(latest) == patience and max(latest) < self.scores[self.best]:
                break

    def start(self, path: Any, index: int, standardize: Standardizer) -> None:
        """Starts a path for rows scaled by `standardize` from a solution of the last run."""
        if self._standardize is not None and index in self._solutions:
            convert = partial(self._standardize.converted, other=standardize)
            path.start_from(self._solutions[index], convert)
