"""Slow, obviously right float64 versions of what the package computes: explicit loops over pixels, points and steps.

They share no code with the package and take the formulas word by word, so that its operators can be compared with them.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from maskwright.types import Segments

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Outer, middle, inner ring of a 7×7 neighbourhood, index 7·row + column; the centre is 24.
RINGS_7X7 = (
    (0, 1, 2, 3, 4, 5, 6, 7, 13, 14, 20, 21, 27, 28, 34, 35, 41, 42, 43, 44, 45, 46, 47, 48),
    (8, 9, 10, 11, 12, 15, 19, 22, 26, 29, 33, 36, 37, 38, 39, 40),
    (16, 17, 18, 23, 25, 30, 31, 32),
)


def neighbours(kernel_size: int) -> list[tuple[int, int]]:
    """Offsets (row, column) of the neighbours, row by row, in each row from left to right, the centre left out."""
    radius = kernel_size // 2
    found = []
    for row in range(kernel_size):
        for column in range(kernel_size):
            if (row, column) != (radius, radius):
                found.append((row - radius, column - radius))
    return found


def neighbour_sum(state: Array, weights: Array, offsets: list[tuple[int, int]]) -> Array:
    """Σ_k weights[k](i) · state(i + offsets[k]), neighbours outside the image left out."""
    total = np.zeros(state.shape)
    for n, y, x in _pixels(state):
        for k, v, u in _inside(state, y, x, offsets):
            total[n, :, y, x] += weights[n, k, y, x] * state[n, :, v, u]
    return total


def cspn(logits: Array, affinity: Array, steps: int, form: str) -> Array:
    """All states, (steps + 1, N, C, H, W), of h ← Σ w·h + (1 − Σ w)·h0."""
    offsets = neighbours(math.isqrt(affinity.shape[1] + 1))
    states = [logits]
    for _ in range(steps):
        new = np.zeros(logits.shape)
        for n, y, x in _pixels(logits):
            around = list(_inside(logits, y, x, offsets))
            weights = _cspn_weights([affinity[n, k, y, x] for k, _, _ in around], form)
            new[n, :, y, x] = (1 - sum(weights)) * logits[n, :, y, x]
            for weight, (_, v, u) in zip(weights, around, strict=True):
                new[n, :, y, x] += weight * states[-1][n, :, v, u]
        states.append(new)
    return np.stack(states)


def dyspn(logits: Array, affinity: Array, attention: Array, steps: int, form: str) -> Array:
    """All states, (steps + 1, N, C, H, W), of h ← [Σ_r π_r Σ w·h + π_c·h + (S' − S)·h0] / S'."""
    kernel_size = math.isqrt(affinity.shape[1] + 1)
    offsets = neighbours(kernel_size)
    gate = 1 / (1 + np.exp(-attention))
    states = [logits]
    for step in range(steps):
        new = np.zeros(logits.shape)
        for n, y, x in _pixels(logits):
            around = list(_inside(logits, y, x, offsets))
            weights = _dyspn_weights([affinity[n, k, y, x] for k, _, _ in around], form)
            centre = gate[n, step, -1, y, x]
            moved = centre * states[-1][n, :, y, x]
            signed_sum = absolute_sum = centre
            for weight, (k, v, u) in zip(weights, around, strict=True):
                pi = gate[n, step, kernel_size // 2 - max(abs(offsets[k][0]), abs(offsets[k][1])), y, x]
                moved = moved + pi * weight * states[-1][n, :, v, u]
                signed_sum += pi * weight
                absolute_sum += pi * abs(weight)
            new[n, :, y, x] = (moved + (absolute_sum - signed_sum) * logits[n, :, y, x]) / absolute_sum
        states.append(new)
    return np.stack(states)


def _pixels(maps: Array) -> Iterator[tuple[int, int, int]]:
    for n in range(maps.shape[0]):
        for y in range(maps.shape[2]):
            for x in range(maps.shape[3]):
                yield n, y, x


def _inside(maps: Array, y: int, x: int, offsets: list[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Channel, row and column of each neighbour of pixel (y, x) that lies inside the image."""
    for k, (dy, dx) in enumerate(offsets):
        if 0 <= y + dy < maps.shape[2] and 0 <= x + dx < maps.shape[3]:
            yield k, y + dy, x + dx


def _cspn_weights(affinities: list[float], form: str) -> list[float]:
    if form == "softmax":
        total = 1 + sum(math.exp(g) for g in affinities)  # 1 = e⁰, the centre's
        return [math.exp(g) / total for g in affinities]
    total = sum(abs(g) for g in affinities)
    if form == "bounded":
        total = max(1.0, total)
    return [g / total if total > 0 else 0.0 for g in affinities]


def _dyspn_weights(affinities: list[float], form: str) -> list[float]:
    if form == "softmax":
        total = sum(math.exp(g) for g in affinities)
        return [math.exp(g) / total for g in affinities]
    return affinities


def mean_shift_step(points: Array, weights: Array, bandwidth: float) -> Array:
    """One step of Gaussian blurring mean shift, point by point."""
    moved = np.empty_like(points)
    for i, point in enumerate(points):
        pull = [
            weight * math.exp(-sum((point - other) ** 2) / (2 * bandwidth**2))
            for other, weight in zip(points, weights, strict=True)
        ]
        moved[i] = sum(p * other for p, other in zip(pull, points, strict=True)) / sum(pull)
    return moved


def joined_regions(components: NDArray[np.int32], colours: Array, smallest: int) -> NDArray[np.int32]:
    """Join the smallest region to its neighbour of the nearest mean colour until all are large enough or one is left.

    Of equally small regions the one with the first pixel is first; of equally near neighbours the one with the longest
    common border, then the one with the first pixel, wins. Regions are numbered by first pixels.
    """
    regions = _numbered(components)
    while True:
        sizes = np.bincount(regions.ravel())
        region = int(np.argmin(sizes))
        if sizes[region] >= smallest or len(sizes) == 1:
            return regions
        borders: dict[int, int] = {}
        for row, column in np.argwhere(regions == region):
            for at in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if 0 <= at[0] < regions.shape[0] and 0 <= at[1] < regions.shape[1] and regions[at] != region:
                    borders[int(regions[at])] = borders.get(int(regions[at]), 0) + 1
        means = {one: colours[regions == one].mean(0) for one in (region, *borders)}
        distances = {one: ((means[one] - means[region]) ** 2).sum() for one in borders}
        joined = min(borders, key=lambda one: (distances[one], -borders[one], one))
        regions = _numbered(np.where(regions == region, joined, regions))


def fused_regions(components: NDArray[np.int32], colours: Array, distance: float) -> NDArray[np.int32]:
    """Join the two neighbours of the nearest mean colours, of equally near ones those with the first pixels, as long as
    they are nearer than `distance`. Regions are numbered by first pixels."""
    regions = _numbered(components)
    while True:
        sides = np.concatenate(
            (
                np.stack((regions[:, :-1].ravel(), regions[:, 1:].ravel()), 1),
                np.stack((regions[:-1].ravel(), regions[1:].ravel()), 1),
            )
        )
        pairs = {(int(min(one, other)), int(max(one, other))) for one, other in sides if one != other}
        means = [colours[regions == one].mean(0) for one in range(regions.max() + 1)]
        near = [(((means[one] - means[other]) ** 2).sum(), one, other) for one, other in pairs]
        near = [entry for entry in near if entry[0] < distance**2]
        if not near:
            return regions
        _, one, other = min(near)
        regions = _numbered(np.where(regions == other, one, regions))


def _numbered(regions: NDArray[np.int32]) -> NDArray[np.int32]:
    _, first, index = np.unique(regions, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[index].reshape(regions.shape).astype(np.int32)


def panoptic_by_sets(pairs: list[tuple[Segments, Segments]], label: int) -> tuple[float, float, float]:
    """PQ, SQ and RQ of a class from sets of pixels."""
    ious, spurious, missed = [], 0, 0
    for predicted, truth in pairs:

        def pixels(one: Segments, number: int) -> set[int]:
            return set(np.flatnonzero(one.ids.ravel() == number).tolist())

        void = pixels(truth, 0)
        theirs = [i for i, c in enumerate(truth.classes, 1) if c == label and pixels(truth, i)]
        crowds = {i for i in theirs if truth.crowd is not None and truth.crowd[i - 1]}
        crowd_pixels = set().union(*(pixels(truth, i) for i in crowds))
        matched = set()
        for own in (i for i, c in enumerate(predicted.classes, 1) if c == label and pixels(predicted, i)):
            area = pixels(predicted, own)
            partners = []
            for other in set(theirs) - crowds:
                iou = len(area & pixels(truth, other)) / len((area - void) | pixels(truth, other))
                partners += [(other, iou)] if iou > 0.5 else []
            assert len(partners) <= 1
            if partners:
                matched.add(partners[0][0])
                ious.append(partners[0][1])
            elif len(area & (void | crowd_pixels)) <= len(area) / 2:
                spurious += 1
        missed += len(set(theirs) - crowds - matched)
    segments_ = len(ious) + spurious / 2 + missed / 2
    if segments_ == 0:
        return (np.nan,) * 3
    return sum(ious) / segments_, float(np.mean(ious)) if ious else 0.0, len(ious) / segments_


def boundary_values_of_masks(
    prediction: NDArray[Any], target: NDArray[Any], label: int, *, ignored: int = 255, share: float, border_share: float
) -> dict[str, float]:
    """The boundary scores of one class against the rest on boolean masks (H, W), each dilation by the rows of its shape.

    `share` of the diagonal is the width of every band; nan where there is nothing to measure.
    """
    left_out = target == ignored
    true, predicted = ~left_out & (target == label), ~left_out & (prediction == label)
    rest, scored = ~left_out & ~true, ~left_out
    diagonal = math.hypot(*target.shape)
    reach = _disk(min(border_share, 1.0) * diagonal)
    border = left_out & dilated_mask(true, reach) & dilated_mask(rest, reach)
    radius = max(1.0, share * diagonal)
    steps, tolerance = max(1, round(share * diagonal)), math.ceil(share * diagonal)

    def inner(mask: Mask, other: Mask) -> Mask:
        near = ndimage.maximum_filter(other.view(np.uint8), size=2 * steps + 1, mode="constant", cval=1)
        return mask & near.view(np.bool_)

    def band(half_widths: Sequence[int]) -> Mask:
        return scored & dilated_mask(true | border, half_widths) & dilated_mask(rest | border, half_widths)

    radii = [1 + int((sum(target.shape) / 300 - 1) / 5 * i) for i in range(5)]
    ellipses = [[round(math.sqrt(r * r - dy * dy)) for dy in range(r + 1)] for r in radii]
    accuracies = [_share_of(predicted == true, band(ellipse)) for ellipse in ellipses]
    points, wanted = _touched(predicted) & _touched(scored & ~predicted), _touched(true) & _touched(rest)
    precision = _share_of(dilated_mask(wanted | _touched(border), _disk(tolerance)), points)
    recall = _share_of(dilated_mask(points, _disk(tolerance)), wanted)
    found = 2 * precision * recall / (precision + recall) if points.any() and precision + recall else 0.0
    near = band(_disk(radius))
    inside, wanted_inside = inner(predicted, scored & ~predicted | border), inner(true, rest | border)
    return {
        "boundary_iou": _share_of(inside & wanted_inside, inside | wanted_inside),
        "mean_boundary_accuracy": float(np.nanmean(accuracies)) if not np.isnan(accuracies).all() else math.nan,
        "trimap_iou": _share_of(predicted & true & near, (predicted | true) & near),
        "boundary_f": found if wanted.any() else math.nan,
    }


def dilated_mask(mask: Mask, half_widths: Sequence[int]) -> Mask:
    """Dilation by a shape given by the half-widths of its rows, from the middle outwards, by distances along the rows."""
    far = np.int32(1 << 29)
    columns = np.arange(mask.shape[1], dtype=np.int32)
    before = np.maximum.accumulate(np.where(mask, columns, -far), axis=1)
    behind = np.minimum.accumulate(np.where(mask, columns, far)[:, ::-1], axis=1)[:, ::-1]
    distance = np.minimum(columns - before, behind - columns)
    dilated: Mask = distance <= half_widths[0]
    for rows, half_width in enumerate(half_widths[1 : len(mask)], start=1):
        dilated[rows:] |= (distance <= half_width)[:-rows]
        dilated[:-rows] |= (distance <= half_width)[rows:]
    return dilated


def _disk(radius: float) -> list[int]:
    square = int(radius * radius * (1 + 1e-12))
    return [math.isqrt(square - dy * dy) for dy in range(math.isqrt(square) + 1)]


def _touched(mask: Mask) -> Mask:
    """Whether the lower right corner of each pixel touches the mask."""
    rows = mask.copy()
    rows[:-1] |= mask[1:]
    corners = rows.copy()
    corners[:, :-1] |= rows[:, 1:]
    return corners


def _share_of(part: Mask, whole: Mask) -> float:
    return (part & whole).sum() / whole.sum() if whole.any() else math.nan
