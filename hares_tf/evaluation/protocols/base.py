"""The base of the protocols: options, outcome, held-out clips, folds."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hares_tf.evaluation.embeddings.windows import Plan, testing_plan
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.heads.examples import Examples, clip_scores, probabilities
from hares_tf.evaluation.tasks.declaration import Task
from hares_tf.utils.progress import Progress

AVERAGES = ("logits", "probabilities")
AUGMENTATIONS = ("mixing", "none")
VIEWS_WORDS = ("online", "grid")


@dataclass(frozen=True)
class Options:
    """Choices that the paper leaves open, with the documented defaults.

    Attributes:
        views: random crops per training clip that are embedded once and drawn from (a number);
            "online" embeds every crop anew; "grid" embeds crops at every quarter of a second.
        seeds: heads trained from different initial weights; the score is their mean.
        average: what is averaged over the windows of a clip, "logits" or "probabilities".
        augmentation: of the training clips of SVM tasks (ESC-50): "mixing", ten mixtures of each
            clip labeled by the louder one, or "none".
        standardize: whether Adam sees features of zero mean and unit deviation.
        steps: instead of the task's number of steps.
    """

    views: int | str = 4
    seeds: int = 1
    average: str = "logits"
    augmentation: str = "mixing"
    standardize: bool = False
    steps: int | None = None

    def __post_init__(self):
        def check(name: str, good: bool, wanted: str) -> None:
            if not good:
                raise EvaluationError(f"{name} must be {wanted}, not {getattr(self, name)!r}.")

        def whole(value, high: int) -> bool:
            return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= high

        check(
            "views",
            whole(self.views, 1000) or self.views in VIEWS_WORDS,
            f"a number from 1 to 1000, or {' or '.join(VIEWS_WORDS)}",
        )
        check("seeds", whole(self.seeds, 100), "a number from 1 to 100")
        check("average", self.average in AVERAGES, " or ".join(AVERAGES))
        check("augmentation", self.augmentation in AUGMENTATIONS, " or ".join(AUGMENTATIONS))
        check("steps", self.steps is None or whole(self.steps, 10**9), "a positive whole number")


@dataclass
class Outcome:
    """The outcome of a protocol.

    Attributes:
        scores: float32 `[clips, width]` of the test clips, their windows averaged.
        test: the test clips, in the order of `scores`.
        details: choices and intermediate scores, as JSON data.
        score: in percent, where it is not the metric of `scores` (means over seeds or folds).
    """

    scores: np.ndarray
    test: Examples
    details: dict = field(default_factory=dict)
    score: float | None = None


@dataclass(frozen=True)
class Work:
    """Resources of a protocol while it trains: metric, progress, checkpoint, crops.

    Attributes:
        metric: `(scores, targets, labels) -> percent`, the task's.
        progress: reports long phases.
        checkpoint: where an unfinished head may be kept; None where nothing may be reused.
        embed_crops: for "online" views: `(positions [n] in the training examples, number of the
            draw) -> embeddings [n, dim], targets [n, ...]` of one random crop of each clip.
    """

    metric: Callable[[np.ndarray, np.ndarray, object], float]
    progress: Progress
    checkpoint: Path | None = None
    embed_crops: Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]] | None = None


class Protocol:
    """A way to train and score heads; `identity` decides which scores may be compared.

    Attributes:
        name: the value of --protocol.
        version: raised whenever scores may move.
        uses_validation: whether validation clips are embedded for training.
        trains: whether training clips are needed at all.
    """

    name: str
    version: int
    uses_validation = True
    trains = True

    def __init__(self, options: Options):
        self.options = options

    @property
    def identity(self) -> str:
        """Name, options that move scores, and version, such as "fast/2"."""
        changed = self.changed_options()
        inside = f"({','.join(f'{k}={v}' for k, v in changed.items())})" if changed else ""
        return f"{self.name}{inside}/{self.version}"

    @property
    def folder(self) -> str:
        """Folder of the results: the name, and options that make scores stand apart."""
        changed = {
            key: value
            for key, value in self.changed_options().items()
            if (key, value) != ("K", Options.views)
        }
        if "seeds" in self.options_data() and self.options.seeds != Options.seeds:
            changed["seeds"] = self.options.seeds
        return "-".join([self.name, *(f"{key}={value}" for key, value in changed.items())])

    def changed_options(self) -> dict:
        """Options that move scores here and are not the default, by name."""
        return {} if self.options.average == "logits" else {"average": self.options.average}

    def options_data(self) -> dict:
        """Options that mean something here, as JSON data."""
        return {"average": self.options.average}

    def training_plan(self, task: Task) -> Plan:
        """The windows that heads are trained on."""
        return testing_plan(task.windows)

    def testing_plan(self, task: Task) -> Plan:
        """The windows that clips are scored on."""
        return testing_plan(task.windows)

    def run(self, task: Task, train: Examples, test: Examples, work: Work) -> Outcome:
        """Trains and scores a head.

        Args:
            task: declares the head.
            train, test: the clips of each; for tasks of folds, both hold all clips.
            work: what may be used.
        """
        raise NotImplementedError

    def clip_scores(self, logits: np.ndarray, examples: Examples) -> np.ndarray:
        """Scores of clips from logits of their windows."""
        if self.options.average == "probabilities":
            logits = probabilities(logits, examples.labels)
        return clip_scores(logits, examples.rows_per_clip)


def by_fold(run_split: Callable[..., Outcome]) -> Callable[..., Outcome]:
    """Returns a function with the arguments of `Protocol.run`, after the protocol.

    For tasks of folds, every fold is the test split once; the score is the mean of the folds'
    scores.

    Args:
        run_split: trains and scores a head on one split; its last argument is the name of the
            fold, or "".
    """

    def run(protocol: Protocol, task: Task, train: Examples, test: Examples, work: Work) -> Outcome:
        if {"train", "test"} & set(test.parts.tolist()):
            return run_split(protocol, task, train, test, work, "")

        def run_fold(train: Examples, test: Examples, fold: str) -> Outcome:
            return run_split(protocol, task, train, test, work, fold)

        return _over_folds(train, test, run_fold, work)

    return run


def _over_folds(
    train: Examples,
    test: Examples,
    run_fold: Callable[[Examples, Examples, str], Outcome],
    work: Work,
) -> Outcome:
    folds = sorted(set(test.parts.tolist()))
    fold_scores: dict[str, float] = {}
    details: dict[str, dict] = {}
    pieces, clips, warnings = [], [], []
    for fold in folds:
        outcome = run_fold(
            train.of_parts(*(f for f in folds if f != fold)), test.of_parts(fold), fold
        )
        pieces.append(outcome.scores)
        clips.append(np.flatnonzero(test.parts == fold))
        fold_scores[fold] = work.metric(outcome.scores, outcome.test.targets, test.labels)
        for key, value in outcome.details.items():
            details.setdefault(key, {})[fold] = value
        warnings += outcome.details.get("warnings", [])
    order = np.argsort(np.concatenate(clips))
    return Outcome(
        scores=np.concatenate(pieces)[order],
        test=test,
        details={
            "fold_scores": fold_scores,
            **details,
            "warnings": list(dict.fromkeys(warnings)),
        },
        score=float(np.mean(list(fold_scores.values()))),
    )


def every_nth(examples: Examples, among: np.ndarray, n: int, place: int = 0) -> np.ndarray:
    """Returns a mask of every n-th clip of each label, in the order of the SHA-1 of the clips' ids.

    Clips of slots count by the combination of their labels; clips of tags all together, and so do
    those of any kind where no label has n.

    Args:
        examples: the clips.
        among: mask of the clips to choose from.
        n: one of so many is chosen.
        place: 0 chooses the last of each n, so that labels with fewer lose none; 1 the first, so
            that every label is chosen from.
    """
    if examples.labels.kind == "tags":
        group = np.zeros(len(examples), np.int64)
    else:
        group = np.unique(examples.targets, axis=0, return_inverse=True)[1].reshape(-1)
        if np.bincount(group[among]).max(initial=0) < n:
            group = np.zeros(len(examples), np.int64)
    mask = np.zeros(len(examples), bool)
    ids = examples.ids.tolist()
    order = sorted(np.flatnonzero(among), key=lambda i: hashlib.sha1(ids[i].encode()).digest())
    seen = np.zeros(group.max() + 1, np.int64)
    for clip in order:
        seen[group[clip]] += 1
        mask[clip] = seen[group[clip]] % n == place
    return mask


def held_out(train: Examples) -> tuple[np.ndarray, str]:
    """Returns a mask of the training clips to choose settings on, and its name."""
    chosen, where = train.parts == "validation", "validation split"
    if not chosen.any():
        chosen = every_nth(train, np.ones(len(train), bool), 5)
        if not chosen.any():
            raise EvaluationError(
                "There is no validation split and there are fewer than five training clips, so the "
                "regularization cannot be chosen: give some clips the split 'validation'."
            )
        where = "every fifth training clip per label"
    if train.labels.kind == "tags" and not (train.targets[chosen] > 0.5).any():
        raise EvaluationError(
            f"No clip that choices are made on carries a tag ({where}): give clips with tags the "
            "split 'validation'."
        )
    return chosen, where


def first_best(scores) -> int:
    """Index of the best score; ties go to the first, which is the most regularized."""
    return int(np.argmax(scores))
