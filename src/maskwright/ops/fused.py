"""CSPN and DySPN with all their steps in one PyTorch operation: autograd, `torch.compile` and `torch.export` know it.

The operations return every state, h0 first, since the backward pass needs them and nothing else. On CPUs they run the
kernels of `propagation_cpu`, on CUDA those of `propagation_triton`; `runs` says which tensors they take.
"""

import importlib.util
import math
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .propagation import neighbour_offsets, ring_offsets
from .threads import kernel_threads

Array = NDArray[np.floating[Any]]

Backend = Literal["auto", "reference"]

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
    with kernel_threads():
        cpu, around = _kernels(), _neighbourhood(affinity)
        g = _array(affinity)
        scale, _, _, signed = cpu.ring_sums(g, *around, int(mode))
        rest = 1 - signed.sum(1)
        states, padded = _states(logits, steps), _padded(logits, around)
        for t in range(steps):
            cpu.pad(padded, states[t])
            cpu.cspn_step(states[t + 1], padded, states[0], g, scale, rest, around.offsets)
    return torch.from_numpy(states)


@cspn_states.register_fake
def _(logits: Tensor, affinity: Tensor, steps: int, mode: int) -> Tensor:
    return logits.new_empty((steps + 1, *logits.shape))


@torch.library.custom_op("maskwright::cspn_backward", mutates_args=(), device_types="cpu")
def _cspn_backward(grad_states: Tensor, states: Tensor, affinity: Tensor, mode: int) -> tuple[Tensor, Tensor]:
    with kernel_threads():
        cpu, around = _kernels(), _neighbourhood(affinity)
        g = _array(affinity)
        scale, total, _, signed = cpu.ring_sums(g, *around, int(mode))
        rest = 1 - signed.sum(1)
        grads, h = np.array(_array(grad_states), order="C"), _array(states)
        for t in reversed(range(len(h) - 1)):
            cpu.cspn_step_backward(grads[t], grads[t + 1], g, scale, around.offsets)
        for_affinity = cpu.cspn_affinity_gradient(grads, h, g, scale, total, around.offsets, mode)
    for_logits = grads[0] + rest[:, None] * grads[1:].sum(0)
    return torch.from_numpy(for_logits), torch.from_numpy(for_affinity)


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
    gate: Tensor,
    smallest_centre: float,
) -> Tensor:
    """Return all states of DySPN, (T + 1, N, C, H, W).

    Args:
        logits: h0, (N, C, H, W).
        affinity: signed weights before the division by their sum, (N, K·K − 1, H, W), of a dtype that
            `runs` knows.
        gate: attention after the sigmoid, (N, T, R + 1, H, W): per step the rings, outermost first, and the centre.
        smallest_centre: the centre's weight is at least this.
    """
    with kernel_threads():
        cpu, around, pi = _kernels(), _neighbourhood(affinity), _array(gate)
        w = _array(affinity)
        scale, _, magnitude, signed = cpu.ring_sums(w, *around, int(Mode.BOUNDED))
        states, padded = _states(logits, pi.shape[1]), _padded(logits, around)
        smallest = w.dtype.type(smallest_centre)
        for t in range(pi.shape[1]):
            cpu.pad(padded, states[t])
            weights = cpu.dyspn_weights(t, pi, scale, magnitude, signed, smallest)
            cpu.dyspn_step(states[t + 1], t, padded, states[0], w, pi, *weights, scale, *around)
    return torch.from_numpy(states)


@dyspn_states.register_fake
def _(logits: Tensor, affinity: Tensor, gate: Tensor, smallest_centre: float) -> Tensor:
    return logits.new_empty((gate.shape[1] + 1, *logits.shape))


@torch.library.custom_op("maskwright::dyspn_backward", mutates_args=(), device_types="cpu")
def _dyspn_backward(
    grad_states: Tensor, states: Tensor, affinity: Tensor, gate: Tensor, smallest_centre: float
) -> tuple[Tensor, Tensor, Tensor]:
    with kernel_threads():
        cpu, around, pi, h = _kernels(), _neighbourhood(affinity), _array(gate), _array(states)
        w = _array(affinity)
        scale, _, magnitude, signed = cpu.ring_sums(w, *around, int(Mode.BOUNDED))
        grads, padded = np.array(_array(grad_states), order="C"), _padded(states[0], around)
        for_logits, for_gate = np.zeros_like(grads[0]), np.zeros_like(pi)
        smallest = w.dtype.type(smallest_centre)
        for t in reversed(range(pi.shape[1])):
            centre, below, anchored = cpu.dyspn_weights(t, pi, scale, magnitude, signed, smallest)
            q = grads[t + 1]
            q /= below[:, None]
            grads[t] += centre[:, None] * q
            for_logits += anchored[:, None] * q
            cpu.dyspn_step_backward(grads[t], t, q, w, pi, scale, *around)
            cpu.pad(padded, h[t])
            sums = (scale, magnitude, signed)
            cpu.dyspn_gate_gradient(for_gate, t, q, h[t + 1], padded, h[0], w, pi, *sums, *around, smallest)
        for_affinity = cpu.dyspn_affinity_gradient(grads[1:], h, w, pi, scale, *around, smallest)
        for_logits += grads[0]
    return torch.from_numpy(for_logits), torch.from_numpy(for_affinity), torch.from_numpy(for_gate)


@_dyspn_backward.register_fake
def _(
    grad_states: Tensor, states: Tensor, affinity: Tensor, gate: Tensor, smallest_centre: float
) -> tuple[Tensor, Tensor, Tensor]:
    contiguous = torch.contiguous_format
    return (
        states.new_empty(states.shape[1:]),
        torch.empty_like(affinity, memory_format=contiguous),
        torch.empty_like(gate, memory_format=contiguous),
    )


def _dyspn_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, affinity, gate, ctx.smallest_centre = inputs
    ctx.save_for_backward(affinity, gate, output)


def _dyspn_autograd(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
    affinity, gate, states = ctx.saved_tensors
    return *_dyspn_backward(grad, states, affinity, gate, ctx.smallest_centre), None


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


class _Neighbourhood(NamedTuple):
    """Neighbours' channels ring by ring, outermost first; where each ring begins; offset of each channel (K·K − 1, 2)."""

    order: NDArray[np.int64]
    rings: NDArray[np.int64]
    offsets: NDArray[np.int64]


def _neighbourhood(affinity: Tensor) -> _Neighbourhood:
    kernel_size = math.isqrt(affinity.shape[1] + 1)
    rings = ring_offsets(kernel_size)
    return _Neighbourhood(
        order=np.concatenate([np.array(ring, np.int64) for ring in rings]),
        rings=np.cumsum([0, *(len(ring) for ring in rings)], dtype=np.int64),
        offsets=np.array(neighbour_offsets(kernel_size), np.int64),
    )


def _array(tensor: Tensor) -> Array:
    return tensor.detach().contiguous().numpy()


def _states(logits: Tensor, steps: int) -> Array:
    states = np.empty((steps + 1, *logits.shape), _array(logits[:0]).dtype)
    states[0] = _array(logits)
    return states


def _padded(state: Tensor, around: _Neighbourhood) -> Array:
    """Return zeros for a state (N, C, H, W) and a border as wide as the neighbourhood reaches."""
    border = 2 * (len(around.rings) - 1)
    *front, height, width = state.shape
    return np.zeros((*front, height + border, width + border), _array(state[:0]).dtype)
