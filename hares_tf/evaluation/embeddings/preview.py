"""Estimates the cost of an evaluation before it starts, from a short probe."""

import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np

from hares_tf.audio import AudioError
from hares_tf.evaluation.embeddings.embedding import Item, batch_size
from hares_tf.evaluation.embeddings.windows import Plan, window_samples
from hares_tf.evaluation.encoders.encoder import Encoder
from hares_tf.utils.progress import Progress
from hares_tf.utils.tables import aligned

# Clips that are decoded to estimate length and decoding time.
_PROBED_CLIPS = 8
# With fewer missing clips than this, the estimate would take longer than the embedding.
_FEW_CLIPS = 200


@dataclass(frozen=True)
class Estimate:
    """The cost of embedding the clips of one task under one plan."""

    task: str
    clips: int
    windows: int
    audio_hours: float  # duration of the windows
    gigabytes: float  # size of the embeddings on disk
    hours: float  # duration of the work


def announce(evaluations: Sequence, progress: Progress) -> list[Estimate]:
    """Prints the cost of the missing embeddings of several tasks, unless they are few.

    Clips that several tasks share are counted once.

    Args:
        evaluations: `TaskEvaluation`s of one model.
        progress: takes the message.
    """
    if progress.mode == "none":
        return []
    counted: set[tuple] = set()
    jobs: list[tuple[str, Plan, list[Item]]] = []
    for evaluation in evaluations:
        for plan, space, items in evaluation.missing():
            new = [item for item in items if (space.directory, item.key) not in counted]
            counted |= {(space.directory, item.key) for item in new}
            jobs.append((evaluation.task.id, plan, new))
    if sum(len(items) for _, _, items in jobs) < _FEW_CLIPS:
        return []
    encoder = evaluations[0].model.open_encoder()
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
    """Returns the lines of a table of estimates, with a total if there are several."""
    rows = [astuple(estimate) for estimate in estimates]
    if len(rows) > 1:
        _, *numbers = zip(*rows, strict=True)
        rows.append(("total", *map(sum, numbers)))
    return aligned(
        [
            (
                task,
                f"to embed: {clips} clips, about {windows} windows, {audio:.1f} h of audio, "
                f"{gigabytes:.2f} GB, {_duration(hours)}",
            )
            for task, clips, windows, audio, gigabytes, hours in rows
        ]
    )


def _duration(hours: float) -> str:
    if hours < 1 / 30:
        return f"{max(1, round(3600 * hours))} s"
    return f"{60 * hours:.0f} min" if hours < 2 else f"{hours:.1f} h"


def _encoder_speed(encoder: Encoder, seconds: float) -> tuple[float, int]:
    """Returns seconds per window, and the number of features.

    Timed with the second batch, because the first one includes preparations.
    """
    window = window_samples(seconds, encoder.sample_rate)
    batch = np.zeros((batch_size(seconds), window), np.float32)
    encoder.embed(batch, "silence")
    started = time.perf_counter()
    embeddings = encoder.embed(batch, "silence")
    return (time.perf_counter() - started) / len(batch), embeddings.shape[1]


def _estimate(
    task: str, plan: Plan, items: list[Item], encoder: Encoder, per_window: float, dim: int
) -> Estimate:
    window = window_samples(plan.seconds, encoder.sample_rate)
    windows, read, started = 0, 0, time.perf_counter()
    for position in np.linspace(0, len(items) - 1, _PROBED_CLIPS).astype(int):
        try:
            cut = items[position].windows(plan, window, encoder.sample_rate)
        except AudioError:
            continue  # counted by the embedding phase
        windows, read = windows + len(cut), read + 1
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
