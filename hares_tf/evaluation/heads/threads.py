"""Threads of NumPy's matrix products: only where they pay.

OpenBLAS cuts every product into one piece per core, and its threads wait for each other in a loop.
Where a core is shared with another process, each product waits for the thread that was interrupted:
a head of 500 rows took 190 s instead of 4 s. Products that take long alone lose little by that.
"""

from contextlib import AbstractContextManager, nullcontext

# Multiplications and additions in a product that are worth a second thread: about 20 ms of one.
WORTH_THREADS = 1e9


def blas_threads(rows: int, dim: int, columns: int) -> AbstractContextManager:
    """Limits the products within a block to one thread if they are small.

    Args:
        rows, dim, columns: sizes of the largest products that occur often,
            `[rows, dim] @ [dim, columns]`.
    """
    if 2 * rows * dim * columns >= WORTH_THREADS:
        return nullcontext()
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1, user_api="blas")
