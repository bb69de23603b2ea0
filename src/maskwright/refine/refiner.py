"""The bundled refiner: a small network that mends the mask of any tool, for any object, then DySPN along its edges.

It reads the image and the mask. Besides the affinities and attentions of DySPN (Lin et al. 2022) it gives a residual that
is added to the mask's logits, since propagation alone moves what is there and can neither fill nor delete. A few steps of
a dense CRF (Krähenbühl and Koltun 2011) follow, half of whose change is taken.

An image of up to `WHOLE` pixels is read whole. A larger one is first mended at that size, where the network sees whole
objects, and then at its own size in tiles, only where the mask has an edge or is unsure: it costs what its edges cost.
"""

from functools import cache
from importlib import resources
from itertools import pairwise

import numpy as np
import timm
import torch
from jaxtyping import Float, Float32, UInt8
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError
from ..layers import ConvNormAct, pad_to_multiple
from .affinity import probabilities_and_entropy
from .dense_crf import dense_crf
from .dyspn import dyspn
from .gate import expected_iou, is_worthwhile
from .outcome import Refined

ENCODER = "tf_efficientnet_lite0"
STRIDE = 32
KERNEL_SIZE = 7
STEPS = 6
NEIGHBOURS = KERNEL_SIZE**2 - 1
ATTENTIONS = STEPS * (KERNEL_SIZE // 2 + 1)

CERTAIN = 4.0
"""Logits of a mask are clipped to ± this, a probability of 0.982: a mask that is sure of its faults can be mended too."""

WIDTHS = (24, 32, 48, 64, 64)
"""Channels of the decoder at strides 2 to 32."""

FINEST = 16
"""Channels at stride 1."""

WEIGHTS = "refiner.safetensors"
"""In the folder `weights` of this package; weights of layers in float16."""

WHOLE = 640 * 640
"""Pixels of the largest image that is read in one piece."""

TILE, MARGIN = 160, 32
"""Sides of the tiles of larger images, and how much of them is there for context only on each side; pixels. Narrow ones
hug the edges: they read some pixels more often than wide ones, but far fewer pixels."""

TOGETHER = 8
"""Tiles that are read at once."""

UNSURE = 0.05
"""A class of which no pixel has more is not refined."""

CRF_STEPS = 3
"""Of the dense CRF; more of them cost time and change little."""

SURE = 3.0
"""A pixel whose logit is nearer to 0, of a probability from 0.047 to 0.953, counts as edge."""

Window = tuple[slice, slice]
"""Rows and columns."""


class MaskRefiner(nn.Module):
    """EfficientNet-Lite0 over image and mask, a decoder that adds up its levels, and DySPN; the identity at first.

    Image and mask are read at their own size. For a mask of several classes it is called once per class.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = timm.create_model(ENCODER, features_only=True, in_chans=5, pretrained=False)
        channels = self.encoder.feature_info.channels()
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c, width in zip(channels, WIDTHS, strict=True))
        self.enlarged = nn.ModuleList(nn.Conv2d(coarser, width, 1) for width, coarser in pairwise(WIDTHS))
        self.mixed = nn.ModuleList(ConvNormAct(width, width) for width in WIDTHS)
        self.finest = ConvNormAct(WIDTHS[0] + 5, FINEST)
        self.head = nn.Conv1d(FINEST, NEIGHBOURS + ATTENTIONS + 1, 1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self, image: Float[Tensor, "n 3 h w"], logits: Float[Tensor, "n 1 h w"]
    ) -> tuple[Float[Tensor, "n 1 h w"], Float[Tensor, "n 1 h w"]]:
        """Return the logits with the residual added, and those after propagation.

        Args:
            image: RGB in [0, 1], of any size.
            logits: of the foreground.
        """
        logits = logits.clamp(-CERTAIN, CERTAIN)
        guidance = self.guidance(image, logits)
        mended = logits + guidance[:, -1:]
        attention = guidance[:, NEIGHBOURS:-1].unflatten(1, (STEPS, -1))  # type: ignore[no-untyped-call]
        return mended, dyspn(mended, guidance[:, :NEIGHBOURS], attention, STEPS)

    def guidance(self, image: Float[Tensor, "n 3 h w"], logits: Float[Tensor, "n 1 h w"]) -> Float[Tensor, "n k h w"]:
        """Return affinities, attentions and residual, float32."""
        height, width = image.shape[-2:]
        probabilities, entropy = probabilities_and_entropy(logits)
        seen = torch.cat(((image * 255 - 127) / 128, 2 * probabilities - 1, entropy), dim=1)
        seen = pad_to_multiple(seen, STRIDE)
        levels = self.encoder(seen)
        x = self.mixed[-1](self.lateral[-1](levels[-1]))
        for level in reversed(range(len(WIDTHS) - 1)):
            x = F.interpolate(self.enlarged[level](x), scale_factor=2.0, mode="nearest")
            x = self.mixed[level](x + self.lateral[level](levels[level]))
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        x = self.finest(torch.cat((x, seen.to(x.dtype)), dim=1))[..., :height, :width]
        # As a product of matrices: its many maps then come plane by plane, as the propagation reads them.
        weight, bias = self.head.weight, self.head.bias
        assert bias is not None
        flat, out = x.flatten(2), None
        if flat.dtype == torch.float32 and flat.device.type == "cpu" and not torch.is_grad_enabled():
            # NumPy puts large arrays on huge pages where the system has them; to fill the others takes twice as long.
            out = torch.from_numpy(np.empty((len(x), len(weight), flat.shape[2]), np.float32))
        maps = torch.baddbmm(bias[:, None], weight.flatten(1).expand(len(x), -1, -1), flat, out=out)
        return maps.float().unflatten(2, (height, width))  # type: ignore[no-untyped-call]


@cache
def bundled_refiner() -> MaskRefiner:
    """Return the refiner with the weights that come with the package, ready to use; read once per process."""
    refiner = MaskRefiner()
    state = load((resources.files(__package__) / "weights" / WEIGHTS).read_bytes())
    refiner.load_state_dict(
        {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    )
    return refiner.to(memory_format=torch.channels_last).eval()


def refine_bundled(
    probabilities: Float32[np.ndarray, "c h w"], image: UInt8[np.ndarray, "h w 3"], *, gated: bool = True
) -> Refined:
    """Refine class probabilities with the bundled refiner, and say what its gate thinks of them.

    Args:
        probabilities: in [0, 1], summing to 1 over the C ≥ 2 classes.
        image: RGB, of the same height and width.
        gated: whether the gate decides; else every class is taken as it is refined, and no gain is expected.

    Returns:
        Probabilities, float32, summing to 1. Of more than two classes each is refined against the rest, and the results
        are brought to sum 1. A class that no pixel may have, or whose refined form the gate does not take, goes into
        that as it came; where that is true of all, the probabilities come back as they are.
    """
    writable = image if image.flags.writeable else image.copy()  # a view where it may be one: large pictures
    pixels = torch.from_numpy(writable).permute(2, 0, 1)
    # Of two classes one says all.
    labels = [1] if len(probabilities) == 2 else range(len(probabilities))
    possible = [label for label in labels if probabilities[label].max() > UNSURE]
    taken, gains = {}, []
    for label in possible:
        found, belief = (maps.numpy() for maps in _refined(pixels, probabilities[label]))
        before, after = (expected_iou(mask >= 0.5, belief) for mask in (probabilities[label], found))
        if not gated or is_worthwhile(before, after):
            taken[label] = found
            gains.append(after - before)
    # Copied only now: while the network runs, a large picture leaves little memory.
    refined = probabilities.copy()
    if not gains:
        return Refined(probabilities=refined, gain=0.0 if possible else None, kept=bool(possible))
    for label, found in taken.items():
        refined[label] = found
    if len(probabilities) == 2:
        refined[0] = 1 - refined[1]
    refined /= refined.sum(0).clip(np.finfo(np.float32).tiny)
    return Refined(probabilities=refined, gain=sum(gains) / len(gains) if gated else None)


def _refined(
    image: UInt8[Tensor, "3 h w"], probability: Float32[np.ndarray, "h w"]
) -> tuple[Float[Tensor, "h w"], Float[Tensor, "h w"]]:
    """Return the foreground's refined probability, and that of the network's first pass, which the gate is to believe.

    Of what it has refined before, the network is too sure.
    """
    logits = torch.tensor(probability)[None, None].logit_(eps=1e-3)
    if image.shape[1] * image.shape[2] <= WHOLE:
        logits = _propagated(image[None], logits)
        return _along_colours(image[None], logits)[0, 0].sigmoid(), logits[0, 0].sigmoid()
    factor = (WHOLE / (image.shape[1] * image.shape[2])) ** 0.5
    size = [max(1, round(side * factor)) for side in image.shape[1:]]
    logits = logits.clamp_(-CERTAIN, CERTAIN)
    small_image, small = (
        F.interpolate(maps, size=size, mode="bilinear", align_corners=False, antialias=True)
        for maps in (image[None], logits)
    )
    once = _propagated(small_image, small)

    def changed(found: Tensor) -> Tensor:
        """Add to the logits what was changed in the small."""
        return F.interpolate(found - small, size=image.shape[1:], mode="bilinear", align_corners=False).add_(logits)

    later = changed(_along_colours(small_image, once))
    refined = later.clone()
    tiles = _tiles_at_edges(later)
    for some in (tiles[start : start + TOGETHER] for start in range(0, len(tiles), TOGETHER)):
        colours = torch.stack([image[:, rows, columns] for _, (rows, columns) in some])
        found = _propagated(colours, torch.cat([later[..., rows, columns] for _, (rows, columns) in some]))
        for (inner, outer), part in zip(some, found, strict=True):
            rows, columns = (slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer, strict=True))
            refined[0, 0][inner] = part[0, rows, columns]
    del later  # of a large picture every map counts
    return refined[0, 0].sigmoid_(), changed(once)[0, 0].sigmoid_()


def _along_colours(image: UInt8[Tensor, "1 3 h w"], logits: Float[Tensor, "1 1 h w"]) -> Float[Tensor, "1 1 h w"]:
    """Return the mean of the logits and of those after a few steps of a dense CRF, which finds colours from afar."""
    foreground = logits[0, 0].sigmoid().numpy()
    colours = np.ascontiguousarray(image[0].permute(1, 2, 0).numpy())
    try:
        found = dense_crf(np.stack((1 - foreground, foreground)), colours, preset="soft", steps=CRF_STEPS)[1]
    except ConfigError:
        return logits  # a strip of a hundred thousand pixels and more, which the lattice cannot number
    return (logits + torch.logit(torch.from_numpy(found), eps=1e-3)) / 2


def _propagated(image: UInt8[Tensor, "n 3 h w"], logits: Float[Tensor, "n 1 h w"]) -> Float[Tensor, "n 1 h w"]:
    with torch.inference_mode():
        return bundled_refiner()(image.contiguous(memory_format=torch.channels_last) / 255, logits)[1]


def _tiles_at_edges(logits: Float[Tensor, "1 1 h w"]) -> list[tuple[Window, Window]]:
    """Return the parts of a regular grid that hold an edge, each with the window around it that the network reads.

    There the mask is unsure, or turns from object to ground, also where the turn lies between two parts. The windows are
    of one size and within the image.
    """
    step = TILE - 2 * MARGIN
    highest, lowest = (
        sign * F.max_pool2d(sign * logits, step + 2, stride=step, padding=1, ceil_mode=True)[0, 0] for sign in (1, -1)
    )
    rows, columns = (_parts(side, step) for side in logits.shape[2:])
    tiles = []
    for row, column in ((highest > -SURE) & (lowest < SURE)).nonzero().tolist():
        (upright, around), (level, beside) = rows[row], columns[column]
        tiles.append(((upright, level), (around, beside)))
    return tiles


def _parts(side: int, step: int) -> list[tuple[slice, slice]]:
    """Return the parts of one side of an image, each with the window around it."""
    starts = [(start, max(0, min(start - MARGIN, side - TILE))) for start in range(0, side, step)]
    return [(slice(start, min(start + step, side)), slice(outer, min(outer + TILE, side))) for start, outer in starts]
