"""Numba's kernels leave PyTorch's number of threads alone, on which the last bits of its sums depend."""

import os
import subprocess
import sys

import pytest
import torch

from maskwright.ops.threads import kernel_threads

FIRST_USE = """
import torch
from maskwright.ops.threads import kernel_threads
torch.set_num_threads(1)
with kernel_threads():
    pass
print(torch.get_num_threads())
"""


def test_the_first_use_of_numbas_threads_leaves_pytorchs_number() -> None:
    # In a new process, since numba starts its threads once.
    environment = {**os.environ, "NUMBA_NUM_THREADS": "2"}
    run = subprocess.run([sys.executable, "-c", FIRST_USE], env=environment, capture_output=True, text=True)
    assert run.stdout.split() == ["1"], run.stderr


def test_pytorchs_number_comes_back_whatever_a_kernel_set() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), kernel_threads():
        torch.set_num_threads(before + 1)
        raise ZeroDivisionError
    assert torch.get_num_threads() == before
