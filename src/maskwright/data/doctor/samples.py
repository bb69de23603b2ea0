"""What a mask file stores, before anybody says what it means: the numbers, colours, opacity and palette of its pixels."""

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...errors import ImageError
from ..decode import MAX_PIXELS, Decoded, decode_stored, load_array, named_failures


@dataclass(frozen=True, kw_only=True, slots=True)
class Samples:
    """The pixels of a mask as they are stored, unturned.

    Attributes:
        format: PNG, ... or NPY.
        mode: Pillow's, or the type of the samples.
        orientation: EXIF's.
        values: (H, W) of any integer or float type; 24-bit codes of the colours where `coloured`.
        coloured: the channels differ.
        inexact: see `decode.Decoded`.
        alpha: opacity (H, W), 0 to 255, where there is such a channel.
        palette: 24-bit colours of the indices, (256,), where there is one.
    """

    format: str
    mode: str
    orientation: int
    values: NDArray[Any]
    coloured: bool = False
    inexact: str = ""
    alpha: NDArray[np.uint8] | None = None
    palette: NDArray[np.int32] | None = None


def read_samples(path: Path, content: bytes) -> Samples:
    """Decode a mask from the bytes of its file.

    Raises:
        ImageError: it cannot be decoded, or is of a shape that no mask has.
    """
    with named_failures(path):
        if path.suffix.lower() == ".npy":
            array = load_array(path, key="labels")
            return _of_array(path, array, Samples(format="NPY", mode=str(array.dtype), orientation=1, values=array))
        stored = decode_stored(path, io.BytesIO(content), MAX_PIXELS)
        pixels = stored.decoded.pixels
        mode = pixels.mode if isinstance(pixels, Image.Image) else str(pixels.dtype)
        empty = Samples(format=stored.format, mode=mode, orientation=stored.orientation, values=np.zeros((0, 0)))
        if isinstance(pixels, Image.Image):
            return _of_picture(pixels, stored.decoded, empty)
        return replace(_of_array(path, pixels, empty), inexact=stored.decoded.inexact)


def packed(colours: NDArray[Any]) -> NDArray[np.int32]:
    """Return RGB (..., 3) of 0 to 255 as 24-bit codes."""
    red, green, blue = (colours[..., channel].astype(np.int32) for channel in range(3))
    return np.asarray((red << 16) | (green << 8) | blue)


def turned(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return (H, W, ...) turned upright from an EXIF orientation, 1 to 8."""
    if orientation in (5, 6, 7, 8):
        array = np.swapaxes(array, 0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)


def _of_picture(picture: Image.Image, decoded: Decoded, empty: Samples) -> Samples:
    mode = picture.mode
    alpha = None
    if mode in ("LA", "PA", "RGBA", "La", "RGBa"):
        alpha = np.asarray(picture.getchannel("A"))
        picture = picture.convert("RGB" if mode == "PA" else {"L": "L", "R": "RGB"}[mode[0]])
    elif mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        picture = picture.convert("RGB")
    samples = np.asarray(picture)
    palette = None
    if picture.mode == "1":
        samples = samples.astype(np.uint8)
    elif picture.mode == "P":
        rgb = np.array(picture.getpalette("RGB") or [], np.uint8)
        palette = np.full(256, -1, np.int32)
        palette[: len(rgb) // 3] = packed(rgb.reshape(-1, 3))
    elif decoded.gray_step > 1:
        samples = samples // decoded.gray_step
    common = replace(empty, inexact=decoded.inexact, alpha=alpha, palette=palette)
    return _of_channels(samples, common) if samples.ndim == 3 else replace(common, values=samples)


def _of_array(path: Path, array: NDArray[Any], empty: Samples) -> Samples:
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    if array.dtype.kind not in "iuf" or array.size == 0 or array.ndim not in (2, 3):
        raise ImageError(f"{path}: holds {array.dtype} of shape {array.shape}; expected a mask (H, W).")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim == 2:
        return replace(empty, values=array)
    if array.shape[2] not in (3, 4) or array.dtype.kind == "f" or array.min() < 0 or array.max() > 255:
        raise ImageError(
            f"{path}: holds {array.dtype} of shape {array.shape}; expected a mask (H, W) or RGB of 8 bits."
        )
    alpha = array[..., 3].astype(np.uint8) if array.shape[2] == 4 else None
    return _of_channels(array[..., :3], replace(empty, alpha=alpha))


def _of_channels(samples: NDArray[Any], empty: Samples) -> Samples:
    """Take the one channel of RGB whose channels agree, else its colours."""
    first = samples[..., 0]
    if (first == samples[..., 1]).all() and (first == samples[..., 2]).all():
        return replace(empty, values=np.ascontiguousarray(first))
    return replace(empty, values=packed(samples), coloured=True)
