"""Masks whose classes are colours: from RGB to labels, exactly or by the nearest colour.

Lossy compression and smoothed edges make colours that no class has. The nearest class in RGB (least Euclidean distance)
repairs noise of compression; along a smoothed edge the mixture of two colours can be nearest to a third class.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8

from ..errors import DataError
from ..ops.colour_codes import look_up
from ..types import IGNORE_INDEX
from .io import read_colours, read_labels

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""


def labels_of_colours(
    rgb: UInt8[np.ndarray, "h w 3"],
    colours: Sequence[Colour],
    *,
    ignore: Sequence[Colour] = (),
    nearest: bool = False,
) -> tuple[UInt8[np.ndarray, "h w"], dict[Colour, int]]:
    """Turn colours into labels.

    Args:
        rgb: the mask, at least one pixel.
        colours: of the labels 0, 1, ..., at most 255 and all different.
        ignore: colours of ignored pixels, label 255.
        nearest: give a pixel of another colour the label of the nearest one, `ignore` among them; of equally near ones
            the lower label. Otherwise it becomes 255.

    Returns:
        Labels, and the other colours that occur with their pixels, most frequent first.
    """
    known = np.array([*colours, *ignore], np.int32).reshape(-1, 3)
    labels = np.concatenate([np.arange(len(colours)), np.full(len(ignore), IGNORE_INDEX)]).astype(np.uint8)
    codes = _packed(known)
    order = np.argsort(codes, kind="stable")
    pixels = np.ascontiguousarray(rgb).reshape(-1, 3)
    found, lacking = look_up(pixels, codes[order], labels[order])
    if lacking is None:
        return found.reshape(rgb.shape[:2]), {}
    others, place, counts = np.unique(_packed(pixels[lacking]), return_inverse=True, return_counts=True)
    shades = np.stack([others >> 16, others >> 8 & 255, others & 255], axis=1)
    if nearest:
        found[lacking] = _nearest(shades, known, labels)[place]
    falling = np.argsort(-counts, kind="stable")
    unknown = {
        (r, g, b): count for (r, g, b), count in zip(shades[falling].tolist(), counts[falling].tolist(), strict=True)
    }
    return found.reshape(rgb.shape[:2]), unknown


def read_coloured(
    path: Path, colours: Sequence[Colour], *, ignore: Sequence[Colour] = (), nearest: bool = False
) -> UInt8[np.ndarray, "h w"]:
    """Read a mask: colour pictures by the colours of the classes, grey and palette ones as `read_labels` does.

    Args:
        path: the mask.
        colours: of the labels 0, 1, ....
        ignore: colours of ignored pixels, label 255.
        nearest: also read lossy pictures, and take the nearest colour for any other.

    Raises:
        ImageError: the file cannot be decoded; or it is lossy, unless `nearest`.
        DataError: colours of no class, named with their pixels, unless `nearest`.
    """
    rgb = read_colours(path, lossy=nearest)
    if rgb is None:
        return read_labels(path)
    labels, unknown = labels_of_colours(rgb, colours, ignore=ignore, nearest=nearest)
    if unknown and not nearest:
        raise DataError(
            f"{path}: holds the colours {describe_colours(unknown)}; expected only the {len(colours) + len(ignore)} of the "
            "table. Name their classes with colours, or take the mask anew from the tool that made it."
        )
    return labels


def describe_colours(colours: Mapping[Colour, int]) -> str:
    """Say which colours occur, for a message: "#ff0000 (12 pixels), #00ff00 (1 pixel)"; at most five."""
    shown = [f"{hexadecimal(one)} ({count} pixel{'s' if count > 1 else ''})" for one, count in colours.items()]
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")


def hexadecimal(colour: Colour) -> str:
    """Return a colour as "#rrggbb"."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _packed(pixels: np.ndarray) -> Int32[np.ndarray, " n"]:
    parts = pixels.astype(np.int32)
    packed: Int32[np.ndarray, " n"] = (parts[:, 0] << 16) + (parts[:, 1] << 8) + parts[:, 2]
    return packed


def _nearest(
    shades: Int32[np.ndarray, "n 3"], known: Int32[np.ndarray, "k 3"], labels: UInt8[np.ndarray, " k"]
) -> UInt8[np.ndarray, " n"]:
    least = np.full(len(shades), np.iinfo(np.int32).max, np.int32)
    nearest = np.full(len(shades), IGNORE_INDEX, np.uint8)
    # Colour by colour: a lossy photograph can have as many shades as pixels.
    for colour, label in zip(known, labels, strict=True):
        away = ((shades - colour) ** 2).sum(axis=1)
        nearer = away < least
        least[nearer], nearest[nearer] = away[nearer], label
    return nearest
