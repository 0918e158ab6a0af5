"""Small products run in one thread, large ones in all."""

from threadpoolctl import threadpool_info

from hares_tf.evaluation.heads.threads import WORTH_THREADS, blas_threads


def blas() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_small_products_take_one_thread_and_large_ones_stay():
    before = blas()
    assert before
    with blas_threads(500, 3456, 70):
        assert blas() == [1] * len(before)
    assert blas() == before
    with blas_threads(20_000, 3456, round(WORTH_THREADS / 2 / 20_000 / 3456) + 1):
        assert blas() == before
