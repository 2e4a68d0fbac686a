"""Work on many files by several threads, in order and in bounded memory: decoding and hashing release the GIL."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Progress = Callable[[int, int], None]
"""Called with (done, total), from the thread that asked for the work."""

T = TypeVar("T")
R = TypeVar("R")


def threads(workers: int | None) -> int:
    """`workers`, or one thread for each core that this process may use."""
    if workers is not None:
        return max(1, workers)
    usable = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(usable(0)) if usable is not None else os.cpu_count() or 1


def in_order(work: Callable[[T], R], items: Sequence[T], workers: int | None) -> Iterator[R]:
    """`work` of each item, in the order of the items; at most a few results per thread wait to be taken."""
    count = threads(workers)
    with ThreadPoolExecutor(count) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                if len(waiting) >= 4 * count:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(work, item))
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
