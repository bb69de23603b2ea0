"""Numba's threads beside PyTorch's."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

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
