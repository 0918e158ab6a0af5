"""Workers as processes of this machine."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from hares_tf.evaluation.distributed.shards import Shard, run_shard
from hares_tf.evaluation.distributed.worker_process import start
from hares_tf.evaluation.errors import EvaluationError


def default_workers() -> int:
    """One for every four cores, two at least: each holds a whole model."""
    return max(2, (os.cpu_count() or 1) // 4)


def run(
    shards: Sequence[Shard], workers: int, on_done: Callable[[Shard, dict[str, str]], None]
) -> None:
    """Embeds shards in processes of their own.

    They are spawned, not forked: TensorFlow's threads do not survive a fork. So a script that calls
    this needs the usual `if __name__ == "__main__":`.

    Args:
        shards: to embed.
        workers: processes at once; the cores are shared out between them.
        on_done: takes a shard and its failures (see `run_shard`) when it is finished.

    Raises:
        EvaluationError, HubError: see `run_shard`; or a worker was killed.
    """
    workers = min(workers, len(shards))
    context = multiprocessing.get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    arguments = (theirs, max(1, (os.cpu_count() or 1) // workers))
    try:
        with ProcessPoolExecutor(workers, context, start, arguments) as pool:
            try:
                running = {pool.submit(run_shard, shard): shard for shard in shards}
                for future in as_completed(running):
                    on_done(running[future], future.result())
            except BaseException:
                ours.close()  # ends the workers; the pool would let them finish their shards
                raise
    except BrokenProcessPool as error:
        raise EvaluationError(
            "a worker process was killed or crashed, perhaps for lack of memory; what was embedded "
            "is kept: run the same command again, with fewer --workers if memory is short"
        ) from error
    finally:
        ours.close()
        theirs.close()
