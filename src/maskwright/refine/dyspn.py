"""DySPN, dynamic spatial propagation network, Lin et al. 2022.

Departs from the paper in: logits are propagated instead of depth; a neighbour outside the image gets no weight; the
quotient S' keeps the weights of a step at Σ|w| = 1 whatever the attention, so a mask does not fade.
"""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..ops import fused
from ..ops.fused import Backend
from ..ops.propagation import inside_image, neighbour_offsets, neighbour_sum, ring_offsets
from .affinity import AffinityNet, float_logits, kernel_of

DySPNForm = Literal["signed", "softmax"]

SMALLEST_CENTRE = 1e-6
"""Floor of the centre's attention: where all attentions underflow, a pixel keeps its state instead of fading to 0."""


def dyspn(
    logits: Float[Tensor, "n c h w"],
    affinity: Float[Tensor, "n k h w"],
    attention: Float[Tensor, "n t r h w"],
    steps: int = 6,
    *,
    form: DySPNForm = "signed",
    return_steps: bool = False,
    backend: Backend = "auto",
) -> Float[Tensor, "*t n c h w"]:
    """Propagate `logits` with one attention per ring and step.

    With π = sigmoid(attention), rings r from the outermost to the innermost, c the centre, and all sums over the
    neighbours inside the image: S = Σ_r π_r Σ w + π_c, S' = Σ_r π_r Σ|w| + π_c and
    h ← [Σ_r π_r Σ w·h + π_c·h + (S' − S)·h0] / S'.

    Args:
        logits: coarse logits h0, any float dtype; half precisions are computed in float32.
        affinity: w, one value per target pixel and neighbour (raster order, centre left out), shared by the classes;
            k = K·K − 1, 48 for 7×7.
        attention: before the sigmoid, (N, T, R + 1, H, W): for each step the rings from outer to inner, then the
            centre; R = K // 2, so 4 maps per step for 7×7. T ≥ steps.
        steps: number of propagation steps, ≥ 0.
        form: "signed": w as given. "softmax": w = softmax of `affinity` over the neighbours, all weights ≥ 0.
        return_steps: return all states instead of the last.
        backend: "auto" runs all steps in one fused kernel where there is one for the device; "reference" is the plain
            PyTorch below, which every kernel is tested against.

    Returns:
        Refined logits in the shape of `logits`; with `return_steps` (steps + 1, N, C, H, W), h0 first.

    Raises:
        ValueError: shapes that do not fit together, an unknown form.
    """
    if form not in get_args(DySPNForm):
        raise ValueError(f"form must be one of {', '.join(get_args(DySPNForm))}; got {form!r}")
    kernel_size = kernel_of(logits, affinity)
    offsets, rings = neighbour_offsets(kernel_size), ring_offsets(kernel_size)
    given = attention.shape[1] if attention.ndim == 5 else 0
    expected = (logits.shape[0], max(steps, given), len(rings) + 1, *logits.shape[-2:])
    if attention.shape != expected:
        raise ValueError(
            f"attention is {tuple(attention.shape)}, expected {expected} for {steps} steps of "
            f"{kernel_size}×{kernel_size}"
        )
    with torch.autocast(logits.device.type, enabled=False):
        coarse, attention, weights = float_logits(logits), float_logits(attention), affinity
        if form == "softmax" or not fused.runs(backend, coarse, weights):  # which may read half precisions as they are
            weights = float_logits(weights)
        fused_runs = fused.runs(backend, coarse, weights)  # which leaves out the neighbours outside by itself
        if form == "softmax" or not fused_runs:
            inside = inside_image(logits.shape[-2:], offsets, logits.device)
        if form == "softmax":
            # A finite floor instead of −∞: a 1×1 image has no neighbour inside, and a softmax of −∞ alone is NaN.
            weights = weights.masked_fill(~inside, torch.finfo(weights.dtype).min).softmax(1) * inside
        if fused_runs:
            fused_states = fused.dyspn_states(coarse, weights, attention[:, :steps], SMALLEST_CENTRE)
            return fused_states if return_steps else fused_states[-1]
        weights, gate = weights * inside, attention.sigmoid()
        # Numerator and denominator are divided by Σ|w| where that exceeds 1, so that neither overflows.
        scale = weights.abs().sum(1, keepdim=True).clamp_min(1)
        weights = weights / scale
        ring_weights = [weights[:, list(ring)] for ring in rings]
        sums = torch.stack([ring.sum(1) for ring in ring_weights], dim=1)
        magnitudes = torch.stack([ring.abs().sum(1) for ring in ring_weights], dim=1)
        states = [coarse]
        for step in range(steps):
            pi, centre = gate[:, step, :-1], (gate[:, step, -1:] / scale).clamp_min(SMALLEST_CENTRE)
            total = (pi * magnitudes).sum(1, keepdim=True) + centre
            from_coarse = (pi * (magnitudes - sums)).sum(1, keepdim=True)
            moved = centre * states[-1] + from_coarse * coarse
            for r, ring in enumerate(rings):
                gathered = neighbour_sum(states[-1], ring_weights[r], [offsets[k] for k in ring])
                moved = moved + pi[:, r : r + 1] * gathered
            states.append(moved / total)
    return torch.stack(states) if return_steps else states[-1]


class DySPN(nn.Module):
    """DySPN whose affinity and attention come from the image and the coarse logits; the identity at initialisation.

    Args:
        affinity_net: gives K·K − 1 affinity channels, then steps · (K // 2 + 1) attention channels; 72 for 7×7 and six
            steps.
        kernel_size: odd side K of the neighbourhood, pixels.
        steps: number of propagation steps.
        form: see `dyspn`; "softmax" does not start as the identity.
    """

    def __init__(
        self, affinity_net: AffinityNet, *, kernel_size: int = 7, steps: int = 6, form: DySPNForm = "signed"
    ) -> None:
        super().__init__()
        self.affinity_net = affinity_net
        self.neighbours = kernel_size**2 - 1
        self.steps = steps
        self.form = form

    def forward(
        self, image: Float[Tensor, "n 3 h w"], logits: Float[Tensor, "n c h w"], *, return_steps: bool = False
    ) -> Tensor:
        """Return refined logits (N, C, H, W), or all states (T + 1, N, C, H, W); `image` is RGB in [0, 1]."""
        guidance = self.affinity_net(image, logits)
        affinity, attention = guidance[:, : self.neighbours], guidance[:, self.neighbours :]
        attention = attention.unflatten(1, (self.steps, -1))
        return dyspn(logits, affinity, attention, self.steps, form=self.form, return_steps=return_steps)
