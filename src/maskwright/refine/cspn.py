"""CSPN, convolutional spatial propagation network, Cheng et al. 2018.

Departs from the paper in: logits are propagated instead of depth; a neighbour outside the image gets no weight and the
others are normalised without it, so a constant mask stays constant up to the border; the normalisation is a choice.
"""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..ops import fused
from ..ops.fused import Backend, Mode
from ..ops.propagation import inside_image, neighbour_offsets, neighbour_sum
from .affinity import AffinityNet, float_logits, kernel_of

CSPNForm = Literal["signed", "bounded", "softmax"]

FUSED_MODE: dict[CSPNForm, int] = {"signed": Mode.SIGNED, "bounded": Mode.BOUNDED, "softmax": Mode.GIVEN}


def cspn(
    logits: Float[Tensor, "n c h w"],
    affinity: Float[Tensor, "n k h w"],
    steps: int = 6,
    *,
    form: CSPNForm = "signed",
    return_steps: bool = False,
    backend: Backend = "auto",
) -> Float[Tensor, "*t n c h w"]:
    """Propagate `logits`: h ← Σ w·h + (1 − Σ w)·h0, all sums over the neighbours inside the image.

    Args:
        logits: coarse logits h0, any float dtype; half precisions are computed in float32.
        affinity: g, one value per target pixel and neighbour (raster order, centre left out), shared by the classes;
            k = K·K − 1 for an odd kernel side K, 8 for 3×3.
        steps: number of propagation steps, ≥ 0.
        form: how g becomes w. "signed": g / Σ|g|, the paper's. "bounded": g / max(1, Σ|g|), which lets the affinity
            fade to zero, where nothing moves. "softmax": nine weights of sum 1, the centre's logit fixed at 0 (a
            softmax does not change when all logits shift) and its weight fed from h0.
        return_steps: return all states instead of the last.
        backend: "auto" runs all steps in one fused kernel where there is one for the device; "reference" is the plain
            PyTorch below, which every kernel is tested against.

    Returns:
        Refined logits in the shape of `logits`; with `return_steps` (steps + 1, N, C, H, W), h0 first.

    Raises:
        ValueError: shapes that do not fit together, an unknown form.
    """
    if form not in get_args(CSPNForm):
        raise ValueError(f"form must be one of {', '.join(get_args(CSPNForm))}; got {form!r}")
    offsets = neighbour_offsets(kernel_of(logits, affinity))
    with torch.autocast(logits.device.type, enabled=False):
        coarse = float_logits(logits)
        if form == "softmax" or not fused.runs(backend, coarse, affinity):  # which may read half precisions as they are
            affinity = float_logits(affinity)
        fused_runs = fused.runs(backend, coarse, affinity)  # which normalises by itself, a softmax excepted
        weights = affinity
        if form == "softmax" or not fused_runs:
            weights = _normalise(affinity, inside_image(logits.shape[-2:], offsets, logits.device), form)
        if fused_runs:
            fused_states = fused.cspn_states(coarse, weights, steps, FUSED_MODE[form])
            return fused_states if return_steps else fused_states[-1]
        anchored = (1 - weights.sum(1, keepdim=True)) * coarse
        states = [coarse]
        for _ in range(steps):
            states.append(neighbour_sum(states[-1], weights, offsets) + anchored)
    return torch.stack(states) if return_steps else states[-1]


def _normalise(affinity: Tensor, inside: Tensor, form: CSPNForm) -> Tensor:
    """Turn raw affinities into weights with Σ|w| ≤ 1 over the neighbours inside the image."""
    if form == "softmax":
        with_centre = torch.cat((torch.zeros_like(affinity[:, :1]), affinity.masked_fill(~inside, -torch.inf)), dim=1)
        return with_centre.softmax(1)[:, 1:]
    affinity = affinity * inside
    total = affinity.abs().sum(1, keepdim=True)
    return affinity / (total.clamp_min(1) if form == "bounded" else total.masked_fill(total == 0, 1))


class CSPN(nn.Module):
    """CSPN whose affinity comes from the image and the coarse logits; the identity at initialisation.

    Args:
        affinity_net: gives K·K − 1 channels.
        steps: number of propagation steps.
        form: see `cspn`. The default is "bounded", not "signed": g / Σ|g| jumps at g = 0, which is where a refiner that
            starts as the identity begins. "softmax" starts near the identity, not at it.
    """

    def __init__(self, affinity_net: AffinityNet, *, steps: int = 6, form: CSPNForm = "bounded") -> None:
        super().__init__()
        self.affinity_net = affinity_net
        self.steps = steps
        self.form = form
        if form == "softmax":
            affinity_net.shift_head(-4.0)

    def forward(
        self, image: Float[Tensor, "n 3 h w"], logits: Float[Tensor, "n c h w"], *, return_steps: bool = False
    ) -> Tensor:
        """Return refined logits (N, C, H, W), or all states (T + 1, N, C, H, W); `image` is RGB in [0, 1]."""
        affinity = self.affinity_net(image, logits)
        return cspn(logits, affinity, self.steps, form=self.form, return_steps=return_steps)
