"""Writes shards in this process, in processes of this machine, or on a Beam runner's workers.

Workers write shards and part files to the output folder themselves, which every runner can do. A
shard that a runner repeats replaces its first version.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hares_tf.data.errors import DataError
from hares_tf.data.shard_writer import ShardJob, write_shard
from hares_tf.jobs import Runner, local_pool
from hares_tf.jobs.errors import WorkersLostError

# A pipeline's description holds its elements, and runners limit its size: more recordings than
# these are prepared by several pipelines, one after another.
_RECORDINGS_PER_PIPELINE = 250_000


def write_shards(
    jobs: Sequence[ShardJob],
    folder: Path,
    on_done: Callable[[ShardJob, dict], None],
    runner: Runner,
) -> None:
    """Writes shards; with one local worker, or one shard, no process is started.

    Args:
        jobs: the shards. All workers must reach audio and output under the same paths as here.
        folder: the folder of the part files.
        on_done: called with a shard and its part (see `write_shard`) when it is finished.
        runner: where shards are written. By default one local process per core, because decoding
            uses one core.

    Raises:
        DataError: a shard cannot be written (see `write_shard`), or workers were lost.
        JobError: the runner does not accept its options.
    """
    workers = min(runner.workers or os.cpu_count() or 1, len(jobs))
    try:
        if not runner.is_local:
            from hares_tf.jobs import beam_pipeline

            beam_pipeline.run(
                _write_part, [*_groups(jobs)], folder, runner.name, runner.beam_options, on_done
            )
        elif workers > 1:
            local_pool.run(write_shard, jobs, workers, 1, on_done)
        else:
            for job in jobs:
                on_done(job, write_shard(job))
    except WorkersLostError as error:
        raise DataError(f"{error} Finished shards are kept: run the same command again.") from error


def _write_part(job: ShardJob) -> None:
    """Writes a shard; its outcome is the part file, so nothing is returned."""
    write_shard(job)


def _groups(jobs: Sequence[ShardJob]) -> Iterator[list[ShardJob]]:
    group: list[ShardJob] = []
    recordings = 0
    for job in jobs:
        if group and recordings + len(job.recordings) > _RECORDINGS_PER_PIPELINE:
            yield group
            group, recordings = [], 0
        group.append(job)
        recordings += len(job.recordings)
    if group:
        yield group
