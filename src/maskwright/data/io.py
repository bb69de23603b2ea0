"""What the pixels of a file mean: images, label maps, probabilities and logits; and writing label maps.

Geometry: the EXIF orientation is applied to images and masks alike, so both come out upright. A mask that was drawn
on the unturned pixels of a turned photograph does not fit it.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Integer, UInt8
from numpy.typing import NDArray
from PIL import Image

from ..errors import DataError, ImageError
from ..files import atomic_write
from .decode import MAX_PIXELS, decode_channels, decode_picture, load_array, named_failures

_HIGH_DEPTH = frozenset({"I;16", "I;16B", "I;16L", "I;16N", "I", "F"})
_ONE_CHANNEL = frozenset({"1", "L", "LA", "La", "P", "PA"}) | _HIGH_DEPTH
_WITH_ALPHA = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})


def read_image(path: Path, *, max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "h w 3"]:
    """Decode a PNG, JPEG, WebP, TIFF, BMP, GIF or PPM file to upright RGB.

    1-bit, grey and palette images become the colours that they show. CMYK, YCbCr and Lab are converted to RGB; colour
    profiles and gamma are ignored. An alpha channel or a palette's transparency is composited over white; a PNG colour
    key is ignored. 16-bit samples keep their high byte (65535 is white); float samples must lie in 0..1 and are scaled
    by 255. Of a multi-picture JPEG the first picture is read.

    Args:
        path: the file; the format is told by its content.
        max_pixels: largest width times height, judged from the header.

    Raises:
        ImageError: not a readable picture, too large, animated or of several pages, or samples without a stated rule.
    """
    with named_failures(path):
        pixels = decode_picture(path, max_pixels).pixels
        if isinstance(pixels, Image.Image) and pixels.mode not in _HIGH_DEPTH:
            return _shown_colours(pixels)
        samples = np.asarray(pixels)
        if samples.ndim == 2:
            samples = np.repeat(samples[..., None], 3, axis=2)
        if samples.shape[2] != 3:
            raise ImageError(f"{path}: has {samples.shape[2]} channels of {samples.dtype}; expected 3. Save it as RGB.")
        return _eight_bit(path, samples)


def read_channels(path: Path, channels: int, *, max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "h w c"]:
    """Decode a file of `channels` channels as they are stored: grey and depth, RGB and thermal, bands of a satellite.

    A PNG or WebP has 1 to 4 (alpha is the last); a TIFF has so many samples per pixel, or so many pages of one sample; a
    `.npy` array is (H, W, C), or (H, W) for 1. Samples of 16 bits keep their high byte; float samples must lie in 0..1 and
    are scaled by 255.

    Raises:
        ImageError: not readable, too large, another number of channels, or samples without a stated rule.
    """
    with named_failures(path):
        is_array = path.suffix.lower() == ".npy"
        samples = load_array(path, key="image") if is_array else decode_channels(path, max_pixels)
        samples = samples[..., None] if samples.ndim == 2 else samples
        if samples.ndim != 3 or samples.size == 0 or samples.shape[2] != channels:
            raise ImageError(
                f"{path}: holds {samples.dtype} of shape {samples.shape}; expected (H, W, {channels}), see data.channels."
            )
        return samples if samples.dtype == np.uint8 else _eight_bit(path, samples)


def read_image_of(path: Path, *, channels: int) -> UInt8[np.ndarray, "h w c"]:
    """Read RGB for 3 channels (`read_image`), and any other number as stored (`read_channels`)."""
    return read_image(path) if channels == 3 else read_channels(path, channels)


def as_colours(image: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w 3"]:
    """Return what of an image can be shown: the first three channels, or the first one as grey."""
    return image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)


def read_labels(path: Path, *, max_pixels: int = MAX_PIXELS) -> Integer[np.ndarray, "h w"]:
    """Decode the stored integers of a mask, of any range, upright: PNG, TIFF, BMP, GIF or a 2-D `.npy` array.

    Grey images give their samples (0..3 and 0..15 where those have 2 and 4 bits), 1-bit images 0 and 1, palette images
    their indices, opaque colour images their grey value where all three channels agree.

    Raises:
        ImageError: not readable, lossy (JPEG, WebP), in colours, transparent, float, or an array that is not 2-D.
    """
    with named_failures(path):
        if path.suffix.lower() == ".npy":
            labels = load_array(path, key="labels")
        else:
            decoded = decode_picture(path, max_pixels)
            if decoded.inexact:
                raise ImageError(f"{path}: {decoded.inexact}; its labels cannot be trusted. Save masks as PNG.")
            labels = _one_channel(path, decoded.pixels) // decoded.gray_step
        if labels.dtype == np.bool_:
            labels = labels.astype(np.uint8)
        if labels.ndim != 2 or labels.size == 0 or labels.dtype.kind not in "iu":
            raise ImageError(f"{path}: holds {labels.dtype} of shape {labels.shape}; expected integer labels (H, W).")
        return labels


def read_mask(path: Path, *, max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "h w"]:
    """Decode a label map by the rules of `read_labels`, with every label in 0..255 (255 = ignored).

    Raises:
        ImageError: as `read_labels`; or labels outside 0..255, named with their pixels.
    """
    labels = read_labels(path, max_pixels=max_pixels)
    outside = (labels < 0) | (labels > 255)
    if outside.any():
        raise ImageError(
            f"{path}: holds {describe_labels(labels[outside])}; expected labels in 0..255. Renumber them (-1 to 255)."
        )
    return labels.astype(np.uint8)


def read_colours(
    path: Path, *, lossy: bool = False, palette: bool = False, max_pixels: int = MAX_PIXELS
) -> UInt8[np.ndarray, "h w 3"] | None:
    """Decode a mask whose classes are colours, upright; None where it has one channel, whose integers `read_labels` gives.

    Args:
        path: the mask.
        lossy: also read JPEG and WebP, whose colours are not exact.
        palette: take a palette picture as the colours that it shows.
        max_pixels: largest width times height, judged from the header.

    Raises:
        ImageError: not readable, lossy, transparent, or in colours of other than 8 bits.
    """
    with named_failures(path):
        if path.suffix.lower() == ".npy":
            return None
        decoded = decode_picture(path, max_pixels)
        pixels = decoded.pixels
        mode = pixels.mode if isinstance(pixels, Image.Image) else ""
        if not isinstance(pixels, Image.Image) and pixels.ndim == 2:
            return None
        if mode in _ONE_CHANNEL and not (palette and mode == "P"):
            return None
        if decoded.inexact and not lossy:
            raise ImageError(f"{path}: {decoded.inexact}; its colours cannot be trusted. Save masks as PNG.")
        if mode in _WITH_ALPHA and (np.array(pixels)[..., -1] != 255).any():
            raise ImageError(f"{path}: is partly transparent; expected opaque colours. Remove the alpha channel.")
        if not isinstance(pixels, Image.Image):
            raise ImageError(f"{path}: has {pixels.dtype} samples of shape {pixels.shape}; expected 8-bit RGB.")
        return np.array(pixels.convert("RGB"))


def read_probabilities(path: Path, *, max_pixels: int = MAX_PIXELS) -> Float32[np.ndarray, "c h w"]:
    """Read a soft mask of any tool as probabilities in [0, 1]: C = 1 is the foreground, else one channel per class.

    Pictures give C = 1: grey samples divided by their largest possible value (1, 255 or 65535), float TIFFs as stored.
    Arrays in `.npy` and `.npz`, float or bool, are (H, W) or (C, H, W); an archive holds one, or one "probabilities".

    Raises:
        ImageError: not readable, transparent, or in colours.
        DataError: NaN, values outside [0, 1], class channels that do not sum to 1, or labels instead of probabilities.
    """
    with named_failures(path):
        if path.suffix.lower() in (".npy", ".npz"):
            probabilities = load_array(path, key="probabilities")
            if probabilities.dtype.kind not in "fb":
                raise DataError(f"{path}: holds {probabilities.dtype}; expected float or bool. Is it a label map?")
        else:
            probabilities = _gray_fraction(path, decode_picture(path, max_pixels).pixels)
    probabilities = _channels_first(path, probabilities)
    low, high = probabilities.min(), probabilities.max()
    if not (low >= 0 and high <= 1):  # also where one is NaN
        raise DataError(f"{path}: holds {low:g} to {high:g}; expected probabilities in 0..1. Are they logits?")
    sums = probabilities.sum(axis=0)
    if len(probabilities) > 1 and np.abs(sums - 1).max() > 0.01:
        raise DataError(
            f"{path}: {len(probabilities)} channels that sum to {sums.min():.3g}..{sums.max():.3g} in a pixel; "
            "expected class probabilities that sum to 1, channels first: (C, H, W)."
        )
    return probabilities


def read_logits(path: Path) -> Float32[np.ndarray, "c h w"]:
    """Read float logits (H, W) or (C, H, W) from `.npy`, or from `.npz` with one array or one named "logits".

    Raises:
        ImageError: not readable.
        DataError: not float, of another shape, or not finite.
    """
    with named_failures(path):
        logits = load_array(path, key="logits")
    if logits.dtype.kind != "f":
        raise DataError(f"{path}: holds {logits.dtype}; expected float logits. Is it a label map?")
    logits = _channels_first(path, logits)
    if not np.isfinite(logits).all():
        raise DataError(
            f"{path}: {np.count_nonzero(~np.isfinite(logits))} of {logits.size} values are NaN or infinite; "
            "expected finite logits. Clip them where they are made."
        )
    return logits


def write_mask(
    path: Path, labels: Integer[np.ndarray, "h w"], *, palette: UInt8[np.ndarray, "k 3"] | None = None
) -> None:
    """Write a label map as an 8-bit PNG that `read_mask` returns unchanged; the file appears whole or not at all.

    Args:
        path: the PNG file.
        labels: values in 0..255.
        palette: RGB of the labels 0..k-1, the others are shown in grey; None writes a grey image.

    Raises:
        DataError: labels of another shape, type or range.
        WriteError: the file cannot be written.
    """
    _check_labels(path, labels, largest=255)
    picture = Image.fromarray(labels.astype(np.uint8))
    if palette is not None:
        # All 256 entries are given: with fewer, Pillow packs the indices into fewer bits and cuts label 255 off.
        colours = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
        colours[: len(palette)] = palette
        picture.putpalette(colours.tobytes())
    _write_png(path, picture)


def write_labels(path: Path, labels: Integer[np.ndarray, "h w"]) -> None:
    """Write a label map as a 16-bit grey PNG that `read_labels` returns unchanged; the file appears whole or not at all.

    Raises:
        DataError: labels of another shape or type, or outside 0..65535.
        WriteError: the file cannot be written.
    """
    _check_labels(path, labels, largest=65535)
    _write_png(path, Image.fromarray(labels.astype(np.uint16)))


def write_picture(path: Path, image: UInt8[np.ndarray, "h w 3"]) -> None:
    """Write RGB as PNG; the file appears whole or not at all.

    Raises:
        WriteError: the file cannot be written.
    """
    # Photographs hardly shrink further at higher levels, which take several times as long.
    _write_png(path, Image.fromarray(image), compress_level=1)


def describe_labels(labels: Integer[np.ndarray, "..."], *, form: str = "{}") -> str:
    """Say which labels occur, for a message: "3 (12 pixels), 7 (1 pixel)"; the five most frequent come first."""
    values, counts = np.unique(labels, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:5]
    shown = ", ".join(f"{form.format(values[i])} ({counts[i]} pixel{'s' if counts[i] > 1 else ''})" for i in order)
    return shown if len(values) <= 5 else f"{shown} and {len(values) - 5} more"


def _check_labels(path: Path, labels: NDArray[Any], *, largest: int) -> None:
    if labels.ndim != 2 or labels.size == 0 or labels.dtype.kind not in "iu":
        raise DataError(f"{path}: labels are {labels.dtype} of shape {labels.shape}; expected integers (H, W).")
    if labels.min() < 0 or labels.max() > largest:
        raise DataError(f"{path}: labels from {labels.min()} to {labels.max()}; expected 0..{largest}.")


def _write_png(path: Path, picture: Image.Image, *, compress_level: int = 6) -> None:
    with atomic_write(path) as stream:
        picture.save(stream, format="PNG", compress_level=compress_level)


def _shown_colours(picture: Image.Image) -> NDArray[np.uint8]:
    if picture.mode in _WITH_ALPHA or (picture.mode == "P" and "transparency" in picture.info):
        paper = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(paper, picture.convert("RGBA"))
    return np.array(picture.convert("RGB"))


def _eight_bit(path: Path, samples: NDArray[Any]) -> NDArray[Any]:
    low, high = samples.min(), samples.max()
    if samples.dtype.kind == "f" and low >= 0 and high <= 1:  # never so where one is NaN
        samples = np.rint(samples * 255)
        return samples.astype(np.uint8)
    if samples.dtype.kind in "iu" and samples.dtype.itemsize > 1 and low >= 0 and high <= 65535:
        return (samples >> 8).astype(np.uint8)
    raise ImageError(
        f"{path}: {samples.dtype} samples from {low:g} to {high:g}; expected float in 0..1 or 16 bits in 0..65535. "
        "Scale them and save as 16-bit PNG."
    )


def _one_channel(path: Path, pixels: Image.Image | NDArray[Any]) -> NDArray[Any]:
    """Return the samples (H, W) of a grey or palette picture, or of a colour picture whose channels agree."""
    samples = np.array(pixels)
    mode = pixels.mode if isinstance(pixels, Image.Image) else None
    if mode in _WITH_ALPHA:
        if (samples[..., -1] != 255).any():
            raise ImageError(f"{path}: is partly transparent; expected opaque labels. Remove the alpha channel.")
        samples = samples[..., :-1]
    if samples.ndim == 2:
        return samples.astype(np.uint8) if mode == "1" else samples
    if mode not in ("LA", "RGB", "RGBA"):
        raise ImageError(f"{path}: has {samples.shape[2]} channels ({mode or samples.dtype}); expected one.")
    if (samples != samples[..., :1]).any():
        red, green, blue = np.moveaxis(samples.astype(np.int32), -1, 0)
        colours = describe_labels((red << 16) + (green << 8) + blue, form="#{:06x}")
        raise ImageError(
            f"{path}: is in colour: {colours}; expected one channel. "
            "Say which colour is which class: `colours` in classes.yaml."
        )
    return samples[..., 0]


def _gray_fraction(path: Path, pixels: Image.Image | NDArray[Any]) -> NDArray[Any]:
    mode = pixels.mode if isinstance(pixels, Image.Image) else None
    samples = _one_channel(path, pixels)
    if mode == "P":
        raise DataError(f"{path}: has a palette, so it is a label map; expected grey probabilities. Read it as labels.")
    if mode == "1" or samples.dtype.kind == "f":
        return samples
    if samples.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{path}: holds {samples.dtype}; expected grey of 8 or 16 bits, or float.")
    if samples.max() == 1:
        raise DataError(f"{path}: holds 0 and 1 of {np.iinfo(samples.dtype).max}: a label map. Read it as labels.")
    return samples / np.float32(np.iinfo(samples.dtype).max)


def _channels_first(path: Path, array: NDArray[Any]) -> NDArray[np.float32]:
    if array.ndim not in (2, 3) or array.size == 0:
        raise DataError(f"{path}: has shape {array.shape}; expected (H, W) or (C, H, W).")
    channels: NDArray[np.float32] = (array[None] if array.ndim == 2 else array).astype(np.float32)
    return channels
