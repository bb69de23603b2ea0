"""Masks and images in memory as NumPy, PIL or PyTorch have them: to arrays, and masks back into the same container."""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..errors import DataError

ImageLike: TypeAlias = NDArray[Any] | Image.Image | Tensor
MaskLike = TypeVar("MaskLike", NDArray[Any], Image.Image, Tensor)

_MASK_MODES = ("1", "L", "P", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_WITH_ALPHA = ("LA", "PA", "RGBA", "RGBa")


def unpacked(mask: MaskLike) -> tuple[NDArray[Any], Callable[[NDArray[Any]], MaskLike]]:
    """Return a mask's values as an array, and what makes a mask like it of others.

    Raises:
        DataError: no mask, or one of several channels.
    """
    if isinstance(mask, np.ndarray):
        return mask, lambda values: values
    if isinstance(mask, Tensor):
        tensor = mask
        return _array(tensor), lambda values: torch.from_numpy(values).to(tensor)
    if not isinstance(mask, Image.Image):
        raise DataError(f"mask is a {type(mask).__name__}; expected a NumPy array, a PIL image or a PyTorch tensor")
    picture = mask
    if picture.mode not in _MASK_MODES:
        raise DataError(
            f"mask is a PIL image of mode {picture.mode}; expected one of one channel ({', '.join(_MASK_MODES[:6])}), "
            "such as mask.getchannel(0)"
        )
    stored = np.asarray(picture)
    # Integers of 32 bits are no probabilities, and neither are indices of a palette.
    return (stored.astype(np.int32) if picture.mode == "P" else stored), lambda values: _like(picture, values)


def _like(picture: Image.Image, values: NDArray[Any]) -> Image.Image:
    """Return `picture`, of one channel, with other values, of which there may be more."""
    if picture.mode == "P":
        values = values.astype(np.uint8)
    other = picture.resize(values.shape[::-1], Image.Resampling.NEAREST)  # keeps the palette
    other.frombytes(np.packbits(values, axis=1).tobytes() if picture.mode == "1" else values.tobytes())
    return other


def rgb(image: ImageLike) -> UInt8[np.ndarray, "h w 3"]:
    """Return the colours of an image in any of the forms that `refine_mask` takes.

    Raises:
        DataError: no image, or one of a wrong shape or range.
    """
    if isinstance(image, Image.Image):
        if not image.mode.startswith(("I", "F")):
            return _shown(image)
        samples = np.asarray(image)
    elif isinstance(image, Tensor):
        samples = _array(image)
    elif isinstance(image, np.ndarray):
        samples = image
    else:
        raise DataError(f"image is a {type(image).__name__}; expected a NumPy array, a PIL image or a PyTorch tensor")
    shape = samples.shape
    if isinstance(image, Tensor) and samples.ndim == 3:
        samples = np.moveaxis(samples, 0, -1)
    channels = samples.shape[2] if samples.ndim == 3 else 1
    if samples.ndim not in (2, 3) or channels not in (1, 3, 4) or samples.size == 0:
        raise DataError(f"image has shape {shape}; expected (H, W, 3) for NumPy, (3, H, W) for PyTorch")
    samples = _eight_bit(samples)
    if channels == 4:
        return _shown(Image.fromarray(samples))
    return np.broadcast_to(samples.reshape(*samples.shape[:2], channels), (*samples.shape[:2], 3))


def _array(tensor: Tensor) -> NDArray[Any]:
    # NumPy has no bfloat16.
    values: NDArray[Any] = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().cpu().numpy()
    return values


def _eight_bit(samples: NDArray[Any]) -> NDArray[np.uint8]:
    if samples.dtype == np.uint8:
        return samples
    if samples.dtype.kind == "u" and samples.dtype.itemsize == 2:
        return (samples >> 8).astype(np.uint8)
    low, high = samples.min(), samples.max()
    if samples.dtype.kind == "f" and low >= 0 and high <= 1:  # never so where one is NaN
        return np.rint(samples.astype(np.float32) * 255).astype(np.uint8)
    raise DataError(
        f"image holds {samples.dtype} from {low:g} to {high:g}; expected uint8, uint16, or floats in 0..1. Divide floats "
        "of 0..255 by 255."
    )


def _shown(picture: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    """Return the colours of a picture in any of PIL's 8-bit modes, its transparent parts over white."""
    try:
        if picture.mode in _WITH_ALPHA or (picture.mode == "P" and "transparency" in picture.info):
            colours = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), colours)
        return np.asarray(picture.convert("RGB"))
    except ValueError as error:
        raise DataError(
            f"image is a PIL image of mode {picture.mode}, which has no conversion to RGB: {error}"
        ) from error
