"""The hidden-layer head under `fast`: weight decay chosen on held-out clips, short training."""

import numpy as np

from hares_tf.evaluation.heads.adam import AdamConfig, AdamHeads, train_heads
from hares_tf.evaluation.heads.examples import Examples
from hares_tf.evaluation.heads.sampling import EmbeddingFeed, StepSampler
from hares_tf.evaluation.heads.scaling import Standardizer
from hares_tf.evaluation.protocols.base import Outcome, Protocol, Work, first_best, held_out
from hares_tf.evaluation.protocols.descent import HIDDEN_UNITS, cumulative
from hares_tf.evaluation.tasks.declaration import Task

# Part of the version of `fast`: Adam on standardized windows, 30 epochs of windows in batches of
# 256, within bounds that keep tiny sets trained and huge ones short.
L2 = (1e-3, 1e-4, 1e-5, 1e-6)
BATCH = 256
EPOCHS = 30
FEWEST_STEPS, MOST_STEPS = 300, 20_000
LEARNING_RATE = 1e-3


def choose_and_refit(
    protocol: Protocol, task: Task, train: Examples, test: Examples, work: Work, fold: str
) -> Outcome:
    """Trains one head per L2 strength in one pass, chooses one, and trains it on all clips."""
    chosen_on, where = held_out(train)
    fitted, validation = train.select(~chosen_on), train.select(chosen_on)
    heads, standardize = _train(task, fitted, L2, work)
    scores = [
        work.metric(protocol.clip_scores(logits, validation), validation.targets, train.labels)
        for logits in heads.logits(standardize(validation.embeddings))
    ]
    best = first_best(scores)
    del fitted, validation
    heads, standardize = _train(task, train.select(np.ones(len(train), bool)), L2[best:][:1], work)
    windows = standardize(test.select(np.ones(len(test), bool)).embeddings)
    return Outcome(
        scores=protocol.clip_scores(heads.logits(windows)[0], test),
        test=test,
        details={
            "l2": L2[best],
            "l2_chosen_on": where,
            "validation_scores": dict(zip(map(str, L2), scores, strict=True)),
        },
    )


def _train(
    task: Task, train: Examples, strengths: tuple[float, ...], work: Work
) -> tuple[AdamHeads, Standardizer]:
    """Returns one head per L2 strength, and the scaling; `train` is standardized in place."""
    standardize = Standardizer(train.embeddings)
    rows = len(train.embeddings)
    steps = int(np.clip(EPOCHS * rows // BATCH, FEWEST_STEPS, MOST_STEPS))
    config = AdamConfig(
        steps=steps,
        batch=BATCH,
        warm_up=steps // 10,
        hidden=HIDDEN_UNITS,
        seeds=(0,) * len(strengths),
        peak_learning_rate=LEARNING_RATE,
        l2=strengths,
    )
    # Every window counts as a clip of its own: an epoch sees them all.
    sampler = StepSampler(np.ones(rows, np.int64), BATCH, seed=0)
    feed = EmbeddingFeed(standardize(train.embeddings), train.row_targets, sampler)
    with work.progress.phase(task.id, "head", steps, "step") as bar:
        heads = train_heads(
            feed, train.labels, train.embeddings.shape[1], config, progress=cumulative(bar)
        )
    return heads, standardize
