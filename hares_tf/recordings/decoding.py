"""Decoding ahead: threads decode the next sounds while the current one is used."""

import collections
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

# The most decoded bytes that wait to be used; a longer recording is decoded alone.
_AHEAD_BYTES = 256 * 2**20
_ITEMS_PER_WORKER = 32


def decoded_ahead(items: Iterable, decode: Callable, size_of: Callable) -> Iterator[tuple]:
    """Yields `(item, decode(item))` of every item, in order.

    Threads decode, because libsndfile and soxr release Python's global lock. Memory is bounded by
    the number of items and by their decoded size, as far as `size_of` knows it.

    Args:
        items: the items to decode.
        decode: called with an item in a thread; its exceptions are raised here.
        size_of: returns the number of bytes of an item when decoded.
    """
    workers = os.cpu_count() or 1
    ahead: collections.deque[tuple[object, int, Future]] = collections.deque()
    ahead_bytes = 0
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        try:
            for item in items:
                size = size_of(item)
                while ahead and (
                    len(ahead) >= _ITEMS_PER_WORKER * workers or ahead_bytes + size > _AHEAD_BYTES
                ):
                    done, done_size, future = ahead.popleft()
                    ahead_bytes -= done_size
                    yield done, future.result()
                ahead.append((item, size, pool.submit(decode, item)))
                ahead_bytes += size
            while ahead:
                done, _, future = ahead.popleft()
                yield done, future.result()
        finally:
            pool.shutdown(cancel_futures=True)
