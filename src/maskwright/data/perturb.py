"""Wrong masks made from true ones, so that a refiner meets the faults of many tools: edges that are off, blobs that are
missing or too many, low resolution, soft or hard values."""

import numpy as np
import torch
from jaxtyping import Bool, Float32
from scipy import ndimage
from torch.nn import functional as F

LOWEST_IOU = 0.5
"""What is left of the overlap with the truth."""

ONLY_LOW_RESOLUTION = 0.2
"""Share of the masks whose one fault is that they were made at a lower resolution."""

TRIES = 5
"""After so many masks that overlap too little, the truth itself is given."""


def perturbed(truth: Bool[np.ndarray, "h w"], generator: np.random.Generator) -> Float32[np.ndarray, "h w"]:
    """Return foreground probabilities that overlap with `truth` by an IoU of at least 0.5, thresholded at one half."""
    for _ in range(TRIES):
        mask = _perturbed_once(truth, generator)
        found = mask >= 0.5
        if np.count_nonzero(found & truth) >= LOWEST_IOU * np.count_nonzero(found | truth):
            return mask
    return truth.astype(np.float32)


def _perturbed_once(truth: Bool[np.ndarray, "h w"], generator: np.random.Generator) -> Float32[np.ndarray, "h w"]:
    mask = truth.astype(np.float32)
    reach = max(truth.shape)
    if generator.random() < ONLY_LOW_RESOLUTION:
        return _at_low_resolution(mask, generator, side=int(generator.uniform(2, 17)))
    if generator.random() < 0.7:
        mask = _warped(mask, generator, pixels=generator.exponential(0.02 * reach))
    if generator.random() < 0.4:
        # A threshold other than one half grows or shrinks the object, and rounds its corners.
        blurred = ndimage.gaussian_filter(mask, generator.uniform(0.5, max(0.5, 0.03 * reach)), mode="nearest")
        mask = (blurred > generator.uniform(0.25, 0.75)).astype(np.float32)
    if generator.random() < 0.5:
        mask = _with_blobs(mask, generator)
    if generator.random() < 0.7:
        mask = _at_low_resolution(mask, generator, side=int(generator.uniform(2, 10)))
    if generator.random() < 0.5:
        mask = ndimage.gaussian_filter(mask, generator.uniform(0.5, 3), mode="nearest")
    if generator.random() < 0.5:
        steepness = generator.uniform(2, 12)
        mask = 1 / (1 + np.exp(-steepness * (2 * mask - 1))).astype(np.float32)
    elif generator.random() < 0.4:
        mask = (mask >= 0.5).astype(np.float32)
    return mask


def _warped(mask: Float32[np.ndarray, "h w"], generator: np.random.Generator, *, pixels: float) -> np.ndarray:
    """Move each pixel by a smooth random way, of `pixels` in the root mean square, plus a constant one of half that."""
    height, width = mask.shape
    cells = int(generator.integers(3, 13))
    coarse = torch.from_numpy(generator.standard_normal((1, 2, cells, cells), np.float32))
    ways = F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=True)[0].numpy()
    ways += generator.standard_normal((2, 1, 1), np.float32) / 2
    places = np.indices((height, width), np.float32) + np.float32(pixels) * ways
    return ndimage.map_coordinates(mask, places, order=1, mode="nearest")


def _with_blobs(mask: Float32[np.ndarray, "h w"], generator: np.random.Generator) -> np.ndarray:
    """Turn random blobs from object into ground and from ground into object."""
    noise = ndimage.gaussian_filter(generator.standard_normal(mask.shape, np.float32), generator.uniform(3, 24))
    blobs = noise > generator.uniform(1.5, 2.6) * noise.std()
    if generator.random() < 0.6:  # beside the edge, where networks err
        blurred = ndimage.gaussian_filter(mask, 8, mode="nearest")
        blobs &= (blurred > 0.05) & (blurred < 0.95)
    return np.where(blobs, 1 - mask, mask)


def _at_low_resolution(mask: Float32[np.ndarray, "h w"], generator: np.random.Generator, *, side: int) -> np.ndarray:
    """Average cells of `side` pixels, harden them sometimes, and enlarge them, mostly bilinearly."""
    height, width = mask.shape
    small = F.adaptive_avg_pool2d(torch.from_numpy(mask)[None, None], (-(-height // side), -(-width // side)))
    if generator.random() < 0.3:
        small = (small >= 0.5).float()
    if generator.random() < 0.15:
        return F.interpolate(small, size=(height, width), mode="nearest-exact")[0, 0].numpy()
    return F.interpolate(small, size=(height, width), mode="bilinear", align_corners=False)[0, 0].numpy()
