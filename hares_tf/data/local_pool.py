"""Shards written by processes of this machine."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from hares_tf.data.errors import DataError
from hares_tf.data.shard_writer import KEPT, ShardJob, write_shard
from hares_tf.evaluation.distributed.worker_process import start


def default_workers() -> int:
    """One for every core: decoding is all they do."""
    return os.cpu_count() or 1


def run(jobs: Sequence[ShardJob], workers: int, on_done: Callable[[ShardJob, dict], None]) -> None:
    """Writes shards; one worker, or one shard, needs no process of its own.

    Processes are spawned, not forked: TensorFlow's threads do not survive a fork.

    Args:
        jobs: the shards.
        workers: processes at once.
        on_done: takes a shard and its part (see `write_shard`) when it is finished.

    Raises:
        DataError: see `write_shard`; or a worker was killed.
    """
    workers = min(workers, len(jobs))
    if workers <= 1:
        for job in jobs:
            on_done(job, write_shard(job))
        return
    context = multiprocessing.get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    try:
        with ProcessPoolExecutor(workers, context, start, (theirs, 1)) as pool:
            try:
                running = {pool.submit(write_shard, job): job for job in jobs}
                for future in as_completed(running):
                    on_done(running[future], future.result())
            except BaseException:
                ours.close()  # ends the workers; the pool would let them finish their shards
                raise
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process was killed or crashed, perhaps for lack of memory (a recording of an "
            f"hour takes a gigabyte); {KEPT}, with fewer --workers if memory is short"
        ) from error
    finally:
        ours.close()
        theirs.close()
