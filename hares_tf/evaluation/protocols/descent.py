"""The heads that the paper trains by Adam, on cached or freshly embedded windows."""

import hashlib
from collections.abc import Callable

import numpy as np

from hares_tf.evaluation.embeddings.windows import Plan, testing_plan
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.evaluation.heads.adam import AdamConfig, scale_warning, train_heads
from hares_tf.evaluation.heads.examples import Examples, matrix
from hares_tf.evaluation.heads.sampling import EmbeddingFeed, Feed, StepSampler
from hares_tf.evaluation.heads.scaling import Standardizer
from hares_tf.evaluation.protocols.base import Options, Outcome, Protocol, Work
from hares_tf.evaluation.tasks.declaration import Task

# Appendix A, AudioSet: "one hidden layer with 512 hidden units".
HIDDEN_UNITS = 512
# Appendix A: the learning rate rises over 5k steps. A shortened training keeps the proportion of
# the shortest published one (MagnaTagATune, 5k of 20k) at most.
WARM_UP_STEPS = 5000
# Distance of the windows of `views="grid"`.
GRID_SECONDS = 0.25


def cached_crops(task: Task, options: Options) -> Plan:
    """Returns the windows that heads are trained on by Adam under `paper`."""
    seconds, views = task.windows.seconds, options.views
    if task.windows.train == "whole":
        return testing_plan(task.windows)
    if views == "grid":
        if task.mixing:
            raise EvaluationError(
                f"--views=grid and the mixed examples of {task.id} do not go together; give a "
                "number of views."
            )
        return Plan("grid", seconds, hop_seconds=GRID_SECONDS)
    if views == "online":
        return Plan("online", seconds, mixing=task.mixing)
    return Plan("crops", seconds, int(views), mixing=task.mixing)


def descend(
    protocol: Protocol,
    task: Task,
    train: Examples,
    test: Examples,
    work: Work,
    fold: str,
    hidden: int = 0,
) -> Outcome:
    """Trains one head per seed, all in one pass, and scores them.

    Args:
        protocol: its options are the number of seeds, scaling and steps.
        task: gives the schedule.
        train: training clips; without embeddings where `work.embed_crops` gives them.
        test: test clips.
        work: see `Work`.
        fold: the name of the fold that is tested, or "".
        hidden: units of the hidden layer; 0 for a linear head.

    Returns:
        The score is the mean over seeds, the clips' scores are the first seed's.
    """
    options = protocol.options
    steps = options.steps or task.schedule.steps
    config = AdamConfig(
        steps=steps,
        batch=task.schedule.batch,
        warm_up=min(WARM_UP_STEPS, steps // 4),
        hidden=hidden,
        seeds=tuple(range(options.seeds)),
        l2=(0.0,) * options.seeds,
    )
    sampler = StepSampler(train.rows_per_clip, config.batch, seed=0)
    warnings: list[str] = []
    standardize = None
    feed: Feed
    if work.embed_crops is not None:
        feed = OnlineFeed(work.embed_crops, sampler)
        identity = "online"
    else:
        embeddings = train.embeddings
        if options.standardize:
            standardize = Standardizer(embeddings)
            copy = matrix(len(embeddings), embeddings.shape[1], train.scratch)
            embeddings = standardize(embeddings, out=copy)
        elif warning := scale_warning(embeddings):
            warnings.append(warning)
        feed = stored = EmbeddingFeed(embeddings, train.targets, sampler)
        identity = stored.identity
    checkpoint = work.checkpoint
    if checkpoint is not None and fold:
        # Names of folds are the user's: a hash of them can be part of a file's name.
        name = hashlib.sha256(fold.encode()).hexdigest()[:8]
        checkpoint = checkpoint.with_name(checkpoint.name.replace(".head.", f".{name}.head."))
    with work.progress.phase(task.id, f"head {fold}".strip(), config.steps, "step") as bar:
        heads = train_heads(
            feed,
            train.labels,
            train.embeddings.shape[1],
            config,
            checkpoint=checkpoint,
            identity=identity,
            progress=cumulative(bar),
        )
    windows = test.embeddings
    if standardize is not None:
        copy = matrix(len(windows), windows.shape[1], test.scratch)
        windows = standardize(windows, out=copy)
    by_seed = [protocol.clip_scores(logits, test) for logits in heads.logits(windows)]
    scores = [work.metric(of_seed, test.targets, test.labels) for of_seed in by_seed]
    return Outcome(
        scores=by_seed[0],
        test=test,
        details={
            "steps": config.steps,
            "batch": config.batch,
            "seed_scores": scores,
            "seed_deviation": float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
            "warnings": warnings,
        },
        score=float(np.mean(scores)),
    )


class OnlineFeed:
    """Batches that are embedded when they are asked for, as `adam.train_heads` wants them."""

    def __init__(self, embed_crops: Callable, sampler: StepSampler):
        self._embed_crops, self._sampler = embed_crops, sampler

    def __call__(self, first_step: int, n_steps: int) -> tuple[np.ndarray, np.ndarray]:
        _, clips = self._sampler.rows(first_step, n_steps)
        steps = [
            self._embed_crops(of_step, first_step + number) for number, of_step in enumerate(clips)
        ]
        return np.stack([x for x, _ in steps]), np.stack([y for _, y in steps])


def cumulative(bar) -> Callable[[int], None]:
    """Reports to a bar, which wants increments, from how many steps are done."""
    done = 0

    def update(steps: int) -> None:
        nonlocal done
        bar.update(steps - done)
        done = steps

    return update
