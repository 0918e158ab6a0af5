"""What an evaluation will cost, said before it starts: from a short probe, so roughly."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hares_tf.audio import AudioError
from hares_tf.evaluation.embeddings.embedding import Item, batch_size, embed_batch
from hares_tf.evaluation.embeddings.windows import Plan, window_samples
from hares_tf.evaluation.encoders.handle import Encoder
from hares_tf.utils.progress import Progress

# Clips decoded to learn how long clips are and how fast they decode.
_PROBED_CLIPS = 8
# Below this many missing clips the work is done sooner than it is estimated.
_FEW_CLIPS = 200


@dataclass(frozen=True)
class Estimate:
    """The embedding phase of one plan of one task.

    Attributes:
        task: its id.
        clips: that have to be embedded.
        windows: that they will give.
        audio_hours: of the windows.
        gigabytes: that the embeddings will take on disk.
        hours: that it will take.
    """

    task: str
    clips: int
    windows: int
    audio_hours: float
    gigabytes: float
    hours: float


def announce(evaluations: Sequence, progress: Progress) -> list[Estimate]:
    """Prints what the missing embeddings of `TaskEvaluation`s will cost.

    Work that several of them share is counted once. Nothing is printed where little is missing.
    """
    if progress.mode == "none":
        return []
    counted: set[tuple] = set()
    jobs: list[tuple[str, Plan, list[Item]]] = []
    for evaluation in evaluations:
        for plan, space, items in evaluation.missing(evaluation.selections()):
            new = [item for item in items if (space.directory, item.key) not in counted]
            counted |= {(space.directory, item.key) for item in new}
            jobs.append((evaluation.task.id, plan, new))
    if sum(len(items) for _, _, items in jobs) < _FEW_CLIPS:
        return []
    encoder = evaluations[0].open_encoder()
    speeds: dict[float, tuple[float, int]] = {}
    estimates = []
    for task, plan, items in jobs:
        if items:
            if plan.seconds not in speeds:
                speeds[plan.seconds] = _encoder_speed(encoder, plan.seconds)
            estimates.append(_estimate(task, plan, items, encoder, *speeds[plan.seconds]))
    for line in lines(estimates):
        progress.say(f"  {line}")
    return estimates


def lines(estimates: Sequence[Estimate]) -> list[str]:
    """The estimates as a table, with a total if there are several."""
    total = Estimate(
        "total",
        sum(e.clips for e in estimates),
        sum(e.windows for e in estimates),
        sum(e.audio_hours for e in estimates),
        sum(e.gigabytes for e in estimates),
        sum(e.hours for e in estimates),
    )
    shown = [*estimates, total] if len(estimates) > 1 else estimates
    width = max(len(e.task) for e in shown)
    return [
        f"{e.task.ljust(width)}  to embed: {e.clips} clips, about {e.windows} windows, "
        f"{e.audio_hours:.1f} h of audio, {e.gigabytes:.2f} GB, {_duration(e.hours)}"
        for e in shown
    ]


def _duration(hours: float) -> str:
    if hours < 1 / 30:
        return f"{max(1, round(3600 * hours))} s"
    return f"{60 * hours:.0f} min" if hours < 2 else f"{hours:.1f} h"


def _encoder_speed(encoder: Encoder, seconds: float) -> tuple[float, int]:
    """Seconds a window, from the second batch (the first prepares), and the embedding's size."""
    window = window_samples(seconds, encoder.sample_rate)
    batch = np.zeros((batch_size(seconds), window), np.float32)
    embed_batch(encoder, batch, "silence")
    started = time.perf_counter()
    embeddings = embed_batch(encoder, batch, "silence")
    return (time.perf_counter() - started) / len(batch), embeddings.shape[1]


def _estimate(
    task: str, plan: Plan, items: list[Item], encoder: Encoder, per_window: float, dim: int
) -> Estimate:
    window = window_samples(plan.seconds, encoder.sample_rate)
    windows, read, started = 0, 0, time.perf_counter()
    for position in np.linspace(0, len(items) - 1, _PROBED_CLIPS).astype(int):
        try:
            found = items[position].windows(plan, window, encoder.sample_rate)
        except AudioError:
            continue  # it will be counted when its turn comes
        windows, read = windows + len(found), read + 1
    decoding = (time.perf_counter() - started) / _PROBED_CLIPS
    total = round(len(items) * windows / max(1, read))
    return Estimate(
        task,
        len(items),
        total,
        total * plan.seconds / 3600,
        4e-9 * total * dim,
        (total * per_window + len(items) * decoding) / 3600,
    )
