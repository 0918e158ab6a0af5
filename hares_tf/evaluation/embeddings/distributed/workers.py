"""Embeds shards on processes of this machine, or on workers of a Beam runner."""

import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from hares_tf.evaluation.embeddings.distributed.shards import (
    SHARD_ITEMS,
    Shard,
    Target,
    cut,
    run_shard,
    shard_size,
)
from hares_tf.evaluation.embeddings.embedding import Item
from hares_tf.evaluation.errors import EvaluationError
from hares_tf.jobs import Runner, local_pool
from hares_tf.jobs.errors import JobError, WorkersLostError
from hares_tf.utils.errors import reason

# Runners limit the size of a pipeline's description, which holds all its elements: more shards than
# this are embedded by several pipelines, one after another.
_SHARDS_PER_PIPELINE = 2000


def default_workers() -> int:
    """Returns one for every four cores, but at least two: each process holds a whole model."""
    return max(2, (os.cpu_count() or 1) // 4)


def embed_on_workers(
    work: Sequence[tuple[Target, Sequence[Item]]],
    on_done: Callable[[Shard, dict[str, str]], None],
    runner: Runner,
) -> None:
    """Embeds items into the store.

    Args:
        work: items to embed, by target; not empty.
        on_done: called with each finished shard and its failures (see `run_shard`).
        runner: the processes or machines; local processes share the cores evenly.

    Raises:
        EvaluationError, HubError: see `run_shard`; or workers were lost.
    """
    try:
        if runner.is_local:
            workers = runner.workers or default_workers()
            total = sum(len(items) for _, items in work)
            shards = [*cut(work, shard_size(total, workers))]
            workers = min(workers, len(shards))
            threads = max(1, (os.cpu_count() or 1) // workers)
            local_pool.run(run_shard, shards, workers, threads, on_done)
        else:
            _on_beam([*cut(work, SHARD_ITEMS)], runner, on_done)
    except WorkersLostError as error:
        raise EvaluationError(
            f"{reason(error, 500)}. What was embedded is kept: run the same command again."
        ) from error
    except JobError as error:
        raise EvaluationError(str(error)) from error


def _on_beam(shards: list[Shard], runner: Runner, on_done: Callable) -> None:
    from hares_tf.jobs import beam_pipeline

    store: Path = shards[0].target.directory.parent
    folder = store / "scratch" / f"beam-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    starts = range(0, len(shards), _SHARDS_PER_PIPELINE)
    groups = [shards[start : start + _SHARDS_PER_PIPELINE] for start in starts]
    try:
        beam_pipeline.run(run_shard, groups, folder, runner.name, runner.beam_options, on_done)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
