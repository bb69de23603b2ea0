"""Numba's threads beside PyTorch's, and threads of Python for kernels that run on one."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Part = TypeVar("Part")

_KERNELS = threading.Lock()
"""Numba's own thread pool must not be entered by two threads at once."""


@contextmanager
def kernel_threads() -> Iterator[int]:
    """Let numba's kernels run on as many threads as PyTorch has, one caller at a time; gives their number.

    Where both use OpenMP they share its number of threads, which numba sets. PyTorch gets its own back: sums of some of
    its operations depend on it, and with them the last bits of a training.
    """
    # Imported at the first call: numba takes a moment, and most of the package does without it.
    import numba

    with _KERNELS:
        threads = torch.get_num_threads()
        try:
            used = min(threads, numba.config.NUMBA_NUM_THREADS)
            numba.set_num_threads(used)
            yield used
        finally:
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)


def in_threads(work: Callable[[int, int], Part], count: int, smallest: int) -> list[Part]:
    """Cut 0 … `count` into ranges, one for each of PyTorch's threads, and do `work(first, end)` on all at once.

    For kernels that let go of the interpreter (nogil). Unlike numba's own threads, these may come after a fork.

    Args:
        work: gets the first of a range and the one past its last.
        count: of all ranges together; 0 is one empty range.
        smallest: a range that is worth a thread; fewer than two of them run in the caller's.

    Returns:
        What `work` gave for each range, in order.
    """
    parts = max(1, min(torch.get_num_threads(), count // smallest))
    if parts == 1:
        return [work(0, count)]
    starts = [count * part // parts for part in range(parts + 1)]
    with ThreadPoolExecutor(parts) as pool:
        return list(pool.map(work, starts[:-1], starts[1:]))
