"""Refining one mask in memory: NumPy, PIL or PyTorch in, the same out."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, TypeVar, overload

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..errors import DataError
from .inputs import check_same_size
from .kinds import CoarseMask, MaskKind
from .methods import DEFAULT, refine_coarse
from .outcome import RefinementReport

ImageLike: TypeAlias = NDArray[Any] | Image.Image | Tensor
MaskLike = TypeVar("MaskLike", NDArray[Any], Image.Image, Tensor)

_MASK_MODES = ("1", "L", "P", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_WITH_ALPHA = ("LA", "PA", "RGBA", "RGBa")


@overload
def refine_mask(
    image: ImageLike, mask: MaskLike, *, method: str = ..., kind: MaskKind = ..., report: Literal[False] = ...
) -> MaskLike: ...


@overload
def refine_mask(
    image: ImageLike, mask: MaskLike, *, method: str = ..., kind: MaskKind = ..., report: Literal[True]
) -> tuple[MaskLike, RefinementReport]: ...


def refine_mask(
    image: ImageLike, mask: MaskLike, *, method: str = DEFAULT, kind: MaskKind = "auto", report: bool = False
) -> MaskLike | tuple[MaskLike, RefinementReport]:
    """Refine one mask of any tool, without a trained run, and return it in the form in which it came.

    Args:
        image: NumPy (H, W, 3), uint8; PIL; or PyTorch (3, H, W), uint8. Floats in [0, 1], 16 bits (of which the high byte
            is read), grey of one channel or none, and a fourth channel as alpha, shown over white, will do too.
        mask: NumPy array, PIL image of one channel, or PyTorch tensor, of the image's size: binary (bool, or 0 and one
            other value), a label map (any integers; 255 is ignored and stays), probabilities of the foreground (H, W) or
            of classes (C, H, W), or logits. Probabilities are floats in [0, 1], or uint8 or uint16 of which the largest
            possible value is 1. PIL masks with a palette are labels or binary.
        method: a name of `maskwright.refine.methods.METHODS`: "bundled" (the refiner that comes with the package),
            "dense_crf", "guided" (filter) or "none".
        kind: what the mask holds; "auto" looks, see `maskwright.refine.kinds.guess_kind`.
        report: whether to say what the refinement did, too: changed pixels, estimated gain, time.

    Returns:
        A new mask of the same container, kind, shape, dtype (PIL: mode and palette; PyTorch: device) and range. A hard
        mask holds no value that it did not hold, and a mask of a single label comes back as it is. With `report` a pair:
        this mask and its `RefinementReport`.

    Raises:
        ConfigError: an unknown method or kind.
        DataError: image or mask of a wrong type, shape, size or range; a mask that may be of two kinds.
    """
    pixels = _rgb(image)
    values, repacked = _unpacked(mask)
    coarse = CoarseMask.of(values, kind=kind)
    check_same_size(values.shape[-2:], pixels)
    probabilities, done = refine_coarse(coarse, pixels, method=method)
    refined = repacked(coarse.restored(probabilities))
    return (refined, done) if report else refined


def _unpacked(mask: MaskLike) -> tuple[NDArray[Any], Callable[[NDArray[Any]], MaskLike]]:
    """Return a mask's values as an array, and what makes a mask like it of others."""
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
    """Return `picture`, of one channel, with other values."""
    if picture.mode == "P":
        values = values.astype(np.uint8)
    other = picture.copy()
    other.frombytes(np.packbits(values, axis=1).tobytes() if picture.mode == "1" else values.tobytes())
    return other


def _rgb(image: ImageLike) -> UInt8[np.ndarray, "h w 3"]:
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
