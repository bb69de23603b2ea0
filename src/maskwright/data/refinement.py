"""Training samples of the bundled refiner: a crop of an image, its truth, and a wrong mask of it.

The truths are those of photographs and, so that the refiner learns edges of anything, of regions of their colours and of
shapes that are cut from one photograph and laid on another. The wrong masks are those of networks that never saw the
photograph, where there are any, or made by `perturbed`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F
from torch.utils import data as torch_data

from ..types import IGNORE_INDEX
from .perturb import perturbed
from .regions import random_region

REGIONS, COMPOSITES = 0.4, 0.25
"""Shares of the samples that are regions of a photograph, and shapes laid on one; the rest are annotated objects."""

INVERTED = 0.3
"""Share of the samples in which object and ground change roles: what the mask covers is the object, whatever it shows."""

GIVEN_MASKS = 0.6
"""Share of the samples with a network's mask, where the photograph has one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Photograph:
    """One photograph with the truth of its object.

    Attributes:
        image: RGB.
        truth: 0 ground, 1 object, 255 ignored.
        mask: foreground probability · 255 of a network that never saw the photograph; None where there is none.
    """

    image: UInt8[np.ndarray, "3 h w"]
    truth: UInt8[np.ndarray, "h w"]
    mask: UInt8[np.ndarray, "h w"] | None


class RefinementData(torch_data.Dataset[tuple[Tensor, Tensor, int]]):
    """Crops of photographs with a wrong mask as the fourth channel, addressed by (epoch, index).

    Args:
        photographs: where they come from.
        side: of the square crops, pixels.
        seed: of all choices.
    """

    def __init__(self, photographs: Sequence[Photograph], *, side: int, seed: int) -> None:
        self.photographs = photographs
        self.side = side
        self.seed = seed

    def __len__(self) -> int:
        return len(self.photographs)

    def __getitem__(self, where: tuple[int, int]) -> tuple[Tensor, Tensor, int]:
        """Return uint8 (4, S, S), RGB and mask · 255; uint8 (S, S), 0 ground, 1 object, 255 ignored; the index."""
        epoch, index = where
        generator = np.random.default_rng([self.seed, epoch, index])
        image, truth, mask = self._crop(self.photographs[index], generator)
        kind = generator.random()
        if kind < REGIONS:
            truth, mask = random_region(image, generator), None
        elif kind < REGIONS + COMPOSITES:
            other = self.photographs[int(generator.integers(len(self.photographs)))]
            image, truth, mask = *self._composite(image, other, generator), None
        if mask is None or generator.random() >= GIVEN_MASKS:
            # The strip that annotators left open belongs to the object in most masks.
            ignored_as = np.uint8(generator.random() < 0.7)
            mask = 255 * perturbed(np.where(truth == IGNORE_INDEX, ignored_as, truth) == 1, generator)
        if generator.random() < INVERTED:
            truth, mask = np.where(truth == IGNORE_INDEX, truth, 1 - truth), 255 - mask
        image = _recoloured(image, generator)
        both = np.concatenate((image, np.rint(mask)[None]), axis=0).clip(0, 255).astype(np.uint8)
        if generator.random() < 0.5:
            both, truth = both[..., ::-1], truth[..., ::-1]
        return torch.from_numpy(both.copy()), torch.from_numpy(truth.copy()), index

    def _crop(
        self, photograph: Photograph, generator: np.random.Generator
    ) -> tuple[np.ndarray, UInt8[np.ndarray, "s s"], np.ndarray | None]:
        """Cut a square around some place of the object's edge, and bring it to the crops' side."""
        height, width = photograph.truth.shape
        side = int(np.clip(self.side * np.exp(generator.uniform(-0.5, 0.9)), 8, min(height, width)))
        edges = np.flatnonzero(_edge(photograph.truth))
        at = int(edges[generator.integers(len(edges))]) if len(edges) else int(generator.integers(height * width))
        jitter = generator.uniform(-side / 3, side / 3, 2)
        top = int(np.clip(at // width - side / 2 + jitter[0], 0, height - side))
        left = int(np.clip(at % width - side / 2 + jitter[1], 0, width - side))
        window = (slice(top, top + side), slice(left, left + side))
        image = _resized(photograph.image[(slice(None), *window)], self.side)
        truth = _nearest(photograph.truth[window], self.side)
        mask = None if photograph.mask is None else _resized(photograph.mask[window][None], self.side)[0]
        return image, truth, mask

    def _composite(
        self, ground: np.ndarray, other: Photograph, generator: np.random.Generator
    ) -> tuple[np.ndarray, UInt8[np.ndarray, "s s"]]:
        """Lay a shape with the texture of another photograph, or its object, on this one."""
        image, truth, _ = self._crop(other, generator)
        if generator.random() < 0.75:
            truth = _shape(self.side, generator).astype(np.uint8)
            part = int(self.side * generator.uniform(0.15, 1))  # the smaller, the plainer its texture when enlarged
            image = _resized(image[:, :part, :part], self.side)
        cover = ndimage.gaussian_filter((truth == 1).astype(np.float32), generator.uniform(0.3, 1.0))
        return cover * image + (1 - cover) * ground, truth


def _shape(side: int, generator: np.random.Generator) -> Bool[np.ndarray, "s s"]:
    """Return a random blob, smooth or ragged."""
    noise = np.zeros((side, side), np.float32)
    for strength, fineness in ((1.0, side / 6), (generator.uniform(0, 0.5), side / 16), (generator.uniform(0, 0.2), 3)):
        part = ndimage.gaussian_filter(generator.standard_normal((side, side), np.float32), fineness)
        noise += strength * part / part.std()
    rows, columns = np.indices((side, side), np.float32) / side - generator.uniform(0.3, 0.7, (2, 1, 1))
    bowl = 2.5 - 10 * np.hypot(rows, columns)
    return noise + bowl > generator.uniform(-0.5, 0.7)


def _edge(truth: UInt8[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    edge = np.zeros(truth.shape, np.bool_)
    edge[1:] = truth[1:] != truth[:-1]
    edge[:, 1:] |= truth[:, 1:] != truth[:, :-1]
    return edge


def _resized(planes: np.ndarray, side: int) -> np.ndarray:
    floats = torch.from_numpy(np.ascontiguousarray(planes)).float()[None]
    return F.interpolate(floats, size=(side, side), mode="bilinear", antialias=True, align_corners=False)[0].numpy()


def _nearest(labels: UInt8[np.ndarray, "h w"], side: int) -> UInt8[np.ndarray, "s s"]:
    return F.interpolate(torch.from_numpy(labels.copy())[None, None], size=(side, side), mode="nearest-exact")[
        0, 0
    ].numpy()


def _recoloured(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Change brightness, contrast and colour, sometimes to grey; blur or roughen it a little."""
    if generator.random() < 0.1:
        image = np.repeat(image.mean(0, keepdims=True), 3, axis=0)
    gain = generator.uniform(0.75, 1.3) * generator.uniform(0.92, 1.08, (3, 1, 1))
    image = (image - 127) * gain + 127 + generator.uniform(-30, 30)
    if generator.random() < 0.3:
        image = image + generator.normal(0, generator.uniform(1, 10), image.shape)
    return image
