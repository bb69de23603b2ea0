"""CSPN and DySPN with all their steps in one PyTorch operation: autograd, `torch.compile` and `torch.export` know it.

The operations return every state, h0 first, since the backward pass needs them and nothing else. On CPUs they run the
kernels of `propagation_cpu`, on CUDA those of `propagation_triton`; `runs` says which tensors they take.
"""

import importlib.util
import math
from collections.abc import Callable, Sequence
from enum import IntEnum
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .propagation import neighbour_offsets, ring_offsets
from .threads import kernel_threads

Array = NDArray[np.floating[Any]]

Backend = Literal["auto", "reference"]

NO_ATTENTION = (0, 0, 0, 0, 0)
"""Shape of what CSPN gives the kernels in place of DySPN's attention: they are compiled once for both."""

HAS_TRITON = importlib.util.find_spec("triton") is not None
"""PyTorch brings Triton along where it supports GPUs."""


class Mode(IntEnum):
    """How CSPN's weights follow from affinities g; the kernels know the numbers."""

    GIVEN = 0
    """As they are."""
    BOUNDED = 1
    """g / max(Σ|g|, 1)."""
    SIGNED = 2
    """g / Σ|g|."""


def runs(backend: Backend, logits: Tensor, affinity: Tensor) -> bool:
    """Whether the fused operations take these tensors.

    They take logits of float32 or float64 and affinities of the same dtype, on CUDA also of half precision and of 7×7
    neighbours at most: their loops are unrolled, and compiling larger ones takes long.

    Raises:
        ValueError: an unknown backend.
    """
    if backend not in get_args(Backend):
        raise ValueError(f"backend must be one of {', '.join(get_args(Backend))}; got {backend!r}")
    if backend != "auto" or logits.dtype not in (torch.float32, torch.float64):
        return False
    if logits.device.type == "cuda":
        known = affinity.dtype in (logits.dtype, torch.float16, torch.bfloat16)
        return HAS_TRITON and known and affinity.shape[1] < 7 * 7
    return logits.device.type == "cpu" and affinity.dtype == logits.dtype


@torch.library.custom_op("maskwright::cspn", mutates_args=(), device_types="cpu")
def cspn_states(logits: Tensor, affinity: Tensor, steps: int, mode: int) -> Tensor:
    """Return all states of CSPN, (T + 1, N, C, H, W).

    Args:
        logits: h0, (N, C, H, W).
        affinity: raw, (N, K·K − 1, H, W), of a dtype that `runs` knows.
        steps: number of steps T.
        mode: a `Mode`.
    """
    return _states(logits, affinity, None, steps, mode, 0.0)


@cspn_states.register_fake
def _(logits: Tensor, affinity: Tensor, steps: int, mode: int) -> Tensor:
    return logits.new_empty((steps + 1, *logits.shape))


@torch.library.custom_op("maskwright::cspn_backward", mutates_args=(), device_types="cpu")
def _cspn_backward(grad_states: Tensor, states: Tensor, affinity: Tensor, mode: int) -> tuple[Tensor, Tensor]:
    for_logits, for_affinity, _ = _backward(grad_states, states, affinity, None, mode, 0.0)
    return for_logits, for_affinity


@_cspn_backward.register_fake
def _(grad_states: Tensor, states: Tensor, affinity: Tensor, mode: int) -> tuple[Tensor, Tensor]:
    return states.new_empty(states.shape[1:]), torch.empty_like(affinity, memory_format=torch.contiguous_format)


def _cspn_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, affinity, _, ctx.mode = inputs
    ctx.save_for_backward(affinity, output)


def _cspn_autograd(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
    affinity, states = ctx.saved_tensors
    return *_cspn_backward(grad, states, affinity, ctx.mode), None, None


cspn_states.register_autograd(_cspn_autograd, setup_context=_cspn_setup)


@torch.library.custom_op("maskwright::dyspn", mutates_args=(), device_types="cpu")
def dyspn_states(
    logits: Tensor,
    affinity: Tensor,
    attention: Tensor,
    smallest_centre: float,
) -> Tensor:
    """Return all states of DySPN, (T + 1, N, C, H, W).

    Args:
        logits: h0, (N, C, H, W).
        affinity: signed weights before the division by their sum, (N, K·K − 1, H, W), of a dtype that
            `runs` knows.
        attention: before the sigmoid, (N, T, R + 1, H, W): per step the rings, outermost first, and the centre.
        smallest_centre: the centre's weight is at least this.
    """
    return _states(logits, affinity, attention, attention.shape[1], Mode.BOUNDED, smallest_centre)


@dyspn_states.register_fake
def _(logits: Tensor, affinity: Tensor, attention: Tensor, smallest_centre: float) -> Tensor:
    return logits.new_empty((attention.shape[1] + 1, *logits.shape))


@torch.library.custom_op("maskwright::dyspn_backward", mutates_args=(), device_types="cpu")
def _dyspn_backward(
    grad_states: Tensor, states: Tensor, affinity: Tensor, attention: Tensor, smallest_centre: float
) -> tuple[Tensor, Tensor, Tensor]:
    return _backward(grad_states, states, affinity, attention, Mode.BOUNDED, smallest_centre)


@_dyspn_backward.register_fake
def _(
    grad_states: Tensor, states: Tensor, affinity: Tensor, attention: Tensor, smallest_centre: float
) -> tuple[Tensor, Tensor, Tensor]:
    contiguous = torch.contiguous_format
    return (
        states.new_empty(states.shape[1:]),
        torch.empty_like(affinity, memory_format=contiguous),
        torch.empty_like(attention, memory_format=contiguous),
    )


def _dyspn_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, affinity, attention, ctx.smallest_centre = inputs
    ctx.save_for_backward(affinity, attention, output)


def _dyspn_autograd(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
    affinity, attention, states = ctx.saved_tensors
    return *_dyspn_backward(grad, states, affinity, attention, ctx.smallest_centre), None


dyspn_states.register_autograd(_dyspn_autograd, setup_context=_dyspn_setup)


def _on_cuda(name: str) -> Callable[..., Any]:
    """Return the function `name` of `propagation_triton`, imported at its first call, since Triton takes a moment."""

    def run(*arguments: Any) -> Any:
        from . import propagation_triton

        return getattr(propagation_triton, name)(*arguments)

    return run


cspn_states.register_kernel("cuda", _on_cuda("cspn_states"))
_cspn_backward.register_kernel("cuda", _on_cuda("cspn_backward"))
dyspn_states.register_kernel("cuda", _on_cuda("dyspn_states"))
_dyspn_backward.register_kernel("cuda", _on_cuda("dyspn_backward"))


def _kernels() -> Any:
    """Return the module of the kernels, imported at the first call, since numba takes a moment."""
    from . import propagation_cpu

    return propagation_cpu


class Neighbourhood(NamedTuple):
    """Neighbours' channels ring by ring, outermost first; where each ring begins; offset of each channel (K·K − 1, 2)."""

    order: NDArray[np.int64]
    rings: NDArray[np.int64]
    offsets: NDArray[np.int64]


@lru_cache
def _neighbourhood(neighbours: int, *, by_rings: bool) -> Neighbourhood:
    kernel_size = math.isqrt(neighbours + 1)
    rings = ring_offsets(kernel_size) if by_rings else (tuple(range(neighbours)),)
    return Neighbourhood(
        order=np.concatenate([np.array(ring, np.int64) for ring in rings]),
        rings=np.cumsum([0, *(len(ring) for ring in rings)], dtype=np.int64),
        offsets=np.array(neighbour_offsets(kernel_size), np.int64),
    )


def _states(
    logits: Tensor, affinity: Tensor, attention: Tensor | None, steps: int, mode: int, smallest_centre: float
) -> Tensor:
    states = _empty((steps + 1, *logits.shape), logits)
    states[0] = _array(logits)
    inputs = _inputs(affinity, attention, mode, smallest_centre)
    with kernel_threads() as threads:
        _kernels().propagate(states, *inputs, *_share(logits, affinity, steps, threads))
    return torch.from_numpy(states)


def _backward(
    grad_states: Tensor, states: Tensor, affinity: Tensor, attention: Tensor | None, mode: int, smallest_centre: float
) -> tuple[Tensor, Tensor, Tensor]:
    grads = _empty(states.shape, states)
    grads[:] = _array(grad_states)
    for_logits, for_affinity = _empty(states.shape[1:], states), _empty(affinity.shape, affinity)
    for_attention = _empty(NO_ATTENTION if attention is None else attention.shape, affinity)
    inputs = _inputs(affinity, attention, mode, smallest_centre)
    with kernel_threads() as threads:
        _kernels().propagate_back(grads, *inputs, *_share(states[0], affinity, len(states) - 1, threads))
        jobs = _jobs_per_image(len(affinity), threads)
        _kernels().differentiate(for_logits, for_affinity, for_attention, grads, _array(states), *inputs, jobs)
    return torch.from_numpy(for_logits), torch.from_numpy(for_affinity), torch.from_numpy(for_attention)


def _inputs(affinity: Tensor, attention: Tensor | None, mode: int, smallest_centre: float) -> tuple[Any, ...]:
    """Return what all kernels take; CSPN's attention is empty."""
    w, around = _array(affinity), _neighbourhood(affinity.shape[1], by_rings=attention is not None)
    given = _empty(NO_ATTENTION, affinity) if attention is None else _array(attention)
    return w, given, around, int(mode), w.dtype.type(smallest_centre)


def _share(state: Tensor, affinity: Tensor, steps: int, threads: int) -> tuple[int, int]:
    """Return how many steps a sweep makes, and into how many bands of rows an image is divided.

    A sweep of i steps needs bands of 2 · R · (i − 1) rows. Where that makes too few of them for the threads, it makes
    fewer steps, and the affinities are read once per sweep.
    """
    height, reach = state.shape[-2], math.isqrt(affinity.shape[1] + 1) // 2 * 2
    wanted = min(_jobs_per_image(len(state), threads), max(height // (reach + 1), 1))
    together = max(steps, 1)
    while together > 1 and wanted * reach * (together - 1) > height:
        together -= 1
    return together, wanted


def _jobs_per_image(images: int, threads: int) -> int:
    """Return into how many jobs an image is divided so that all threads have as much to do."""
    return 1 if images >= 4 * threads else threads // math.gcd(images, threads)


def _empty(shape: Sequence[int], like: Tensor) -> Array:
    """Return a new array. Large ones NumPy puts on huge pages where the system has them; filling those is far faster."""
    return np.empty(shape, _array(like[:0]).dtype)


def _array(tensor: Tensor) -> Array:
    return tensor.detach().contiguous().numpy()
