"""Workers as processes of this machine."""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from hares_tf.jobs.errors import WorkersLostError
from hares_tf.jobs.worker_process import start


def run(function: Callable, jobs: Sequence, workers: int, threads: int, on_done: Callable) -> None:
    """Does jobs in processes of their own.

    They are spawned, not forked: TensorFlow's threads do not survive a fork. So a script that calls
    this needs the usual `if __name__ == "__main__":`.

    Args:
        function: of a module; takes a job.
        jobs: what it is called with.
        workers: processes at once.
        threads: that libraries may use in each.
        on_done: takes a job and the function's result when it is finished.

    Raises:
        WorkersLostError: a worker was killed.
        Exception: what the function raises.
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
