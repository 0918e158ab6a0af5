"""Who writes the shards: this process, processes of this machine, or a Beam runner's workers.

Workers write to the folder themselves, and their part files say what they did: every runner can do
that, and a repeated shard (runners try again) replaces its own.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hares_tf.data.errors import DataError
from hares_tf.data.shard_writer import KEPT, ShardJob, write_shard
from hares_tf.jobs import local_pool
from hares_tf.jobs.choices import LOCAL
from hares_tf.jobs.errors import JobError, WorkersLostError

# A pipeline's description holds its elements, and runners limit its size: more recordings than
# these are prepared by several pipelines, one after another.
_RECORDINGS_PER_PIPELINE = 250_000


def write_shards(
    jobs: Sequence[ShardJob],
    folder: Path,
    on_done: Callable[[ShardJob, dict], None],
    *,
    runner: str = LOCAL,
    workers: int | None = None,
    beam_options: Sequence[str] = (),
) -> None:
    """Writes shards; one worker, or one shard, needs no process of its own.

    Args:
        jobs: the shards. All workers must reach audio and output under the paths that they have
            here.
        folder: of the part files.
        on_done: takes a shard and its part (see `write_shard`) when it is finished.
        runner: "local", or as Beam names it: "DirectRunner", "FlinkRunner", "DataflowRunner", ...
        workers: local processes at once; default: one for every core, since decoding is all they
            do.
        beam_options: further options of the pipeline, each "--key=value".

    Raises:
        DataError: see `write_shard`; or workers were lost.
    """
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    try:
        if runner != LOCAL:
            from hares_tf.jobs import beam_pipeline

            beam_pipeline.run(_leave_part, [*_groups(jobs)], folder, runner, beam_options, on_done)
        elif workers > 1:
            local_pool.run(write_shard, jobs, workers, 1, on_done)
        else:
            for job in jobs:
                on_done(job, write_shard(job))
    except WorkersLostError as error:
        raise DataError(f"{error}; {KEPT}") from error
    except JobError as error:
        raise DataError(str(error)) from error


def _leave_part(job: ShardJob) -> None:
    write_shard(job)


def _groups(jobs: Sequence[ShardJob]) -> Iterator[list[ShardJob]]:
    group, recordings = [], 0
    for job in jobs:
        if group and recordings + len(job.clips) > _RECORDINGS_PER_PIPELINE:
            yield group
            group, recordings = [], 0
        group.append(job)
        recordings += len(job.clips)
    if group:
        yield group
