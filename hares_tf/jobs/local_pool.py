"""Runs jobs on processes of this machine."""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from hares_tf.jobs.errors import WorkersLostError
from hares_tf.jobs.worker_process import start


def run(function: Callable, jobs: Sequence, workers: int, threads: int, on_done: Callable) -> None:
    """Does jobs in worker processes.

    They are spawned, because TensorFlow's threads do not survive a fork; a script that calls this
    needs `if __name__ == "__main__":`.

    Args:
        function: a module-level function that does a job.
        jobs: its arguments.
        workers: number of processes.
        threads: number of threads for libraries in each.
        on_done: called with a job and the function's result when it is finished.

    Raises:
        WorkersLostError: a worker was killed.
        Exception: any exception of the function.
    """
    context = multiprocessing.get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    try:
        with ProcessPoolExecutor(workers, context, start, (theirs, threads)) as pool:
            try:
                running = {pool.submit(function, job): job for job in jobs}
                for future in as_completed(running):
                    on_done(running[future], future.result())
            except BaseException:
                ours.close()  # ends the workers; the pool would let them finish their jobs
                raise
    except BrokenProcessPool as error:
        raise WorkersLostError(
            "A worker process was killed or crashed, perhaps for lack of memory (then give fewer "
            "--workers)."
        ) from error
    finally:
        ours.close()
        theirs.close()
