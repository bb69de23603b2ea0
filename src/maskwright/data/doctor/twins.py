"""Pictures that stand in a data set twice: byte for byte, resized or compressed anew, or almost alike.

Pictures are compared by their grey thumbnails, made independent of brightness and contrast; the distance of two is
sqrt(2 − 2·correlation). On Oxford pets, ECSSD and nuclei, a picture and its copy at 60 % size in JPEG of quality 70 are 0.03
to 0.12 apart, different pictures 0.6 and more, and copies that were cropped by 5 % 0.2 to 0.5; frames of a film that follow
each other closely (CamVid) are 0.07 apart. The search is exact and needs no comparison of all with all: a projection never
makes a distance longer, so whatever is near in all dimensions is near along the first principal components, where a k-d tree
finds it.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from .facts import THUMB, ImageFacts

SAME = 0.15
"""Distance below which two pictures are one, if their shapes are alike too."""

ALIKE = 0.35
"""Distance below which two pictures are almost the same."""

_FLAT = 4.0
"""Grey levels of contrast below which thumbnails say too little."""

_COMPONENTS = 12
_BLOCK = 256
_POOL = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Twins:
    """Two pictures of one set, by their indices.

    Attributes:
        first, second: the smaller index comes first.
        distance: 0 for equal bytes.
        same: one and the same picture, perhaps resized or compressed anew.
    """

    first: int
    second: int
    distance: float
    same: bool


def find_twins(images: Sequence[ImageFacts | None], parts: Sequence[str] = ()) -> list[Twins]:
    """Find pairs of pictures that are the same or almost so; those without facts, or flat ones, only by their bytes.

    Args:
        images: facts of each.
        parts: of each; none for all in one.

    Returns:
        Of equal files not each with each, so that a thousand black pictures are not half a million pairs, but each with the
        first of every part: whatever stands in another part too is in a pair with one from there.
    """
    equal: dict[bytes, list[int]] = defaultdict(list)
    heads: dict[bytes, dict[str, int]] = defaultdict(dict)
    for index, image in enumerate(images):
        if image is not None:
            equal[image.digest].append(index)
            heads[image.digest].setdefault(parts[index] if parts else "", index)
    found: dict[tuple[int, int], Twins] = {}

    def add(one: bytes, other: bytes, distance: float, same: bool) -> None:
        for few, many in ((one, other), (other, one)):
            for pair in ((min(a, b), max(a, b)) for a in heads[few].values() for b in equal[many] if a != b):
                found[pair] = Twins(first=pair[0], second=pair[1], distance=distance, same=same)

    for digest, indices in equal.items():
        if len(indices) > 1:
            add(digest, digest, 0.0, True)
    shown = [image for indices in equal.values() if (image := images[indices[0]]) and image.contrast >= _FLAT]
    for a, b, distance in _near_pairs(shown):
        one, other = shown[a], shown[b]
        alike = abs(np.log(one.width * other.height / (one.height * other.width))) < 0.03
        add(one.digest, other.digest, distance, bool(alike and distance < SAME))
    return [found[pair] for pair in sorted(found)]


def _near_pairs(images: Sequence[ImageFacts]) -> Iterator[tuple[int, int, float]]:
    """Yield all pairs at most ALIKE apart, with their distance."""
    if len(images) < 2:
        return
    thumbs = np.frombuffer(b"".join(image.thumb for image in images), np.uint8).reshape(-1, THUMB, THUMB)
    coordinates = _projected(thumbs)
    tree = cKDTree(coordinates)
    for start in range(0, len(images), _BLOCK):
        near = tree.query_ball_point(coordinates[start : start + _BLOCK], ALIKE * 1.001)
        for a, others in enumerate(near, start=start):
            later = np.array([b for b in others if b > a], np.int64)
            if len(later) == 0:
                continue
            distances = np.sqrt(((_normalised(thumbs[later]) - _normalised(thumbs[a : a + 1])) ** 2).sum(axis=1))
            for b, distance in zip(later.tolist(), distances.tolist(), strict=True):
                if distance <= ALIKE:
                    yield a, b, distance


def _normalised(thumbs: NDArray[np.uint8]) -> Float32[np.ndarray, "n d"]:
    flat = thumbs.reshape(len(thumbs), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.sqrt((flat**2).sum(axis=1, keepdims=True))
    return flat


def _projected(thumbs: NDArray[np.uint8]) -> Float32[np.ndarray, "n k"]:
    """Return coordinates in which no two pictures are further apart than their thumbnails are.

    Sums of 2 × 2 neighbours, halved, and then principal components: both are orthogonal projections.
    """
    side = THUMB // _POOL
    pooled = np.empty((len(thumbs), side * side), np.float32)
    for start in range(0, len(thumbs), _BLOCK):
        block = _normalised(thumbs[start : start + _BLOCK]).reshape(-1, side, _POOL, side, _POOL)
        pooled[start : start + _BLOCK] = block.sum(axis=(2, 4)).reshape(len(block), -1) / _POOL
    _, vectors = np.linalg.eigh(pooled.T @ pooled)
    coordinates: Float32[np.ndarray, "n k"] = pooled @ vectors[:, -_COMPONENTS:].astype(np.float32)
    return coordinates
