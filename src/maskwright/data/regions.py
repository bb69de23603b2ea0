"""Objects that nobody annotated: unions of the segments that a photograph falls into, whose edges are the photograph's own.

Felzenszwalb and Huttenlocher's graph-based segmentation (2004) finds the segments. Where the colours on both sides of a
union's outline are alike, the outline is no edge to learn from, and is ignored.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage

from ..types import IGNORE_INDEX

LEAST_CONTRAST = 18.0
"""Distance of the mean colours beside an outline, in grey levels of RGB, below which it is ignored."""

REACH = 3.0
"""Standard deviation of the Gaussian that weighs the colours beside an outline, pixels."""

STRIP = 2
"""Pixels on either side of an outline that are ignored with it."""


def random_region(image: Float[np.ndarray, "3 s s"], generator: np.random.Generator) -> UInt8[np.ndarray, "s s"]:
    """Return a union of segments that touch each other: 0 ground, 1 object, 255 where the outline shows too little.

    Args:
        image: RGB, 0 to 255.
        generator: of the fineness of the segments, and of which ones are taken.
    """
    from skimage.segmentation import felzenszwalb  # of an extra that only the training of this refiner needs

    pixels = image.transpose(1, 2, 0)
    segments = felzenszwalb(
        pixels / 255, scale=np.exp(generator.uniform(np.log(80), np.log(800))), sigma=0.8, min_size=60
    )
    wanted = generator.uniform(0.05, 0.6) * segments.size
    union = _grown(segments, wanted, generator)
    if generator.random() < 0.5:
        union = ndimage.binary_fill_holes(union)
    union = ndimage.median_filter(union, 3)
    return np.where(_weak_outline(pixels, union), np.uint8(IGNORE_INDEX), union.astype(np.uint8))


def _grown(segments: Int[np.ndarray, "h w"], wanted: float, generator: np.random.Generator) -> Bool[np.ndarray, "h w"]:
    """Take the segment of a pixel near the middle, then neighbours of long contact, up to about `wanted` pixels."""
    count = int(segments.max()) + 1
    areas = np.bincount(segments.ravel(), minlength=count)
    contact = np.zeros((count, count))
    for a, b in ((segments[1:], segments[:-1]), (segments[:, 1:], segments[:, :-1])):
        np.add.at(contact, (a, b), 1)
        np.add.at(contact, (b, a), 1)
    middle = np.array(segments.shape) * generator.uniform(0.25, 0.75, 2)
    taken = np.zeros(count, np.bool_)
    taken[segments[tuple(middle.astype(int))]] = True
    while True:
        # Compact unions look like objects; those along a thin contact, like snakes.
        likely = np.where(taken, 0, contact[taken].sum(0) ** 2 / areas)
        if not likely.any():
            break
        following = generator.choice(count, p=likely / likely.sum())
        if areas[taken].sum() + areas[following] > wanted:
            break
        taken[following] = True
    return taken[segments]


def _weak_outline(pixels: Float[np.ndarray, "h w 3"], union: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Return the strip along those parts of the outline where the colours on both sides are alike."""
    beside = []
    for part in (union, ~union):
        weight = ndimage.gaussian_filter(part.astype(np.float32), REACH)
        colours = ndimage.gaussian_filter(pixels * part[..., None], (REACH, REACH, 0))
        beside.append(colours / np.maximum(weight, 1e-3)[..., None])
    contrast = np.linalg.norm(beside[0] - beside[1], axis=2)
    outline = ndimage.maximum_filter(union, 3) != ndimage.minimum_filter(union, 3)
    return ndimage.maximum_filter(outline & (contrast < LEAST_CONTRAST), 2 * STRIP + 1)
