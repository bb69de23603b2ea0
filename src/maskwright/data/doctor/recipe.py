"""How the labels of a stored mask are had back: a table from values to labels, applied to one of the mask's layers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from .samples import Samples

IGNORED = 255
"""The label that is never scored and never trained on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """From the samples of a mask to its labels.

    Attributes:
        layer: what is read: the stored values, the opacity, or the colours that the palette gives to the values.
        table: stored value → label; colours are 24-bit codes.
        threshold: where there is no table: such and larger values are label 1, the others 0.
        others: what becomes of values outside the table: they are of the `nearest` value, which is right for lossy and
            anti-aliased masks; `ignored`; or there may be none.
        thin: pixels strictly between their neighbours' values are mixtures, and ignored unless they are decided by `nearest`
            with two values.
    """

    layer: Literal["values", "alpha", "palette"] = "values"
    table: Mapping[int, int] = field(default_factory=dict)
    threshold: float | None = None
    others: Literal["none", "nearest", "ignored"] = "none"
    thin: bool = False


def apply_recipe(samples: Samples, recipe: Recipe) -> UInt8[np.ndarray, "h w"]:
    """Return the labels of a mask, unturned.

    Raises:
        ValueError: a value that is in no table, where there may be none.
    """
    layer = _layer(samples, recipe)
    if recipe.threshold is not None:
        return (layer >= recipe.threshold).astype(np.uint8)
    keys = np.array(sorted(recipe.table))
    labels_of = np.array([recipe.table[key] for key in keys.tolist()], np.uint8)
    found, which = np.unique(layer, return_inverse=True)
    place = np.searchsorted(keys, found).clip(max=len(keys) - 1)
    known = keys[place] == found
    meaning = np.where(known, labels_of[place], IGNORED).astype(np.uint8)
    if not known.all():
        if recipe.others == "none":
            raise ValueError(f"holds {found[~known][:5].tolist()}, which no label belongs to")
        if recipe.others == "nearest":
            coloured = samples.coloured or recipe.layer == "palette"
            meaning[~known] = _nearest(found[~known], keys, labels_of, coloured=coloured)
    labels = meaning[which].reshape(layer.shape)
    if recipe.thin and len(keys) > 2:
        labels[_mixtures(layer)] = IGNORED
    return labels


def _layer(samples: Samples, recipe: Recipe) -> NDArray[Any]:
    if recipe.layer == "alpha" and samples.alpha is not None:
        return samples.alpha
    if recipe.layer == "palette" and samples.palette is not None:
        return samples.palette[samples.values]
    return samples.values


def _nearest(
    found: NDArray[Any], keys: NDArray[Any], labels_of: NDArray[np.uint8], *, coloured: bool
) -> NDArray[np.uint8]:
    """Return the label of the nearest key, ignored where that is in doubt.

    Between two keys only a tie is. Among more, a value in between may be a mixture of two others, so it has to lie within a
    quarter of the smallest distance between keys.
    """
    a, b = (_points(codes, coloured) for codes in (found, keys))
    distance = np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=2))
    order = np.sort(distance, axis=1)
    meaning: NDArray[np.uint8] = labels_of[distance.argmin(axis=1)].copy()
    if len(keys) == 2:
        meaning[order[:, 0] == order[:, 1]] = IGNORED
    elif len(keys) > 2:
        among = np.sqrt(((b[:, None] - b[None]) ** 2).sum(axis=2))
        meaning[order[:, 0] > among[among > 0].min() / 4] = IGNORED
    return meaning


def _points(codes: NDArray[Any], coloured: bool) -> NDArray[np.float64]:
    if not coloured:
        return codes.astype(np.float64)[:, None]
    return np.stack([codes >> 16 & 255, codes >> 8 & 255, codes & 255], axis=1).astype(np.float64)


def _mixtures(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell the pixels whose value lies strictly between those on both sides, left and right or above and below."""
    mixed = np.zeros(values.shape, np.bool_)
    for axis in (0, 1):
        inside = np.moveaxis(values, axis, 0)
        before, here, after = inside[:-2], inside[1:-1], inside[2:]
        np.moveaxis(mixed, axis, 0)[1:-1] |= ((before < here) & (here < after)) | ((before > here) & (here > after))
    return mixed
