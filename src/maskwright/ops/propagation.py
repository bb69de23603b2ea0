"""Weighted sums over the neighbours of every pixel, the inner loop of CSPN and DySPN, in plain PyTorch.

Instead of unfolding K·K copies of the map, each neighbour is added by a shifted view; the backward pass keeps only the
inputs. A neighbour outside the image counts as zero.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

Offset = tuple[int, int]
"""Position of a neighbour relative to its target pixel: (row, column)."""


def neighbour_offsets(kernel_size: int) -> tuple[Offset, ...]:
    """Offsets of the K·K − 1 neighbours in raster order, the centre left out."""
    radius = kernel_size // 2
    steps = range(-radius, radius + 1)
    return tuple((dy, dx) for dy in steps for dx in steps if (dy, dx) != (0, 0))


def ring_offsets(kernel_size: int) -> tuple[tuple[int, ...], ...]:
    """Channels of each square ring of a K×K neighbourhood, outermost first, into raster order without the centre."""
    offsets = neighbour_offsets(kernel_size)
    return tuple(
        tuple(k for k, (dy, dx) in enumerate(offsets) if max(abs(dy), abs(dx)) == radius)
        for radius in range(kernel_size // 2, 0, -1)
    )


def inside_image(size: Sequence[int], offsets: Sequence[Offset], device: torch.device) -> Bool[Tensor, "k h w"]:
    """Whether the neighbour at each offset of each pixel lies inside the image of `size` = (height, width)."""
    height, width = size
    rows = torch.arange(height, device=device).view(-1, 1)
    columns = torch.arange(width, device=device).view(1, -1)
    return torch.stack(
        [(rows + dy >= 0) & (rows + dy < height) & (columns + dx >= 0) & (columns + dx < width) for dy, dx in offsets]
    )


def neighbour_sum(
    state: Float[Tensor, "n c h w"], weights: Float[Tensor, "n k h w"], offsets: Sequence[Offset]
) -> Float[Tensor, "n c h w"]:
    """Return Σ_k weights[k](i) · state(i + offsets[k]) for every pixel i, differentiable in both.

    Args:
        state: the map that is propagated.
        weights: one per target pixel and neighbour, shared by the channels of `state`.
        offsets: k of them, the position of neighbour k.
    """
    return _NeighbourSum.apply(state, weights, tuple(offsets))


class _NeighbourSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, state: Tensor, weights: Tensor, offsets: tuple[Offset, ...]) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(state, weights)
        ctx.offsets = offsets
        radius = _radius(offsets)
        padded = F.pad(state, (radius,) * 4)
        total = torch.zeros_like(state)
        for k, offset in enumerate(offsets):
            total.addcmul_(weights[:, k : k + 1], _shifted(padded, offset, radius))
        return total

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[no-untyped-def]
        state, weights = ctx.saved_tensors
        radius = _radius(ctx.offsets)
        padded = F.pad(state, (radius,) * 4)
        grad_padded = torch.zeros_like(padded)
        grad_weights = torch.zeros_like(weights)
        for k, offset in enumerate(ctx.offsets):
            neighbour = _shifted(padded, offset, radius)
            for channel in range(state.shape[1]):
                grad_weights[:, k].addcmul_(grad[:, channel], neighbour[:, channel])
            _shifted(grad_padded, offset, radius).addcmul_(weights[:, k : k + 1], grad)
        return _shifted(grad_padded, (0, 0), radius).contiguous(), grad_weights, None


def _radius(offsets: Sequence[Offset]) -> int:
    return max(max(abs(dy), abs(dx)) for dy, dx in offsets)


def _shifted(padded: Tensor, offset: Offset, radius: int) -> Tensor:
    """View of the padded map in which pixel i holds the value of pixel i + offset."""
    top, left = radius + offset[0], radius + offset[1]
    height, width = padded.shape[-2] - 2 * radius, padded.shape[-1] - 2 * radius
    return padded[..., top : top + height, left : left + width]
