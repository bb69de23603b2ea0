"""From the bytes of a file to upright pixels or an array; nothing else in the package opens a picture.

Pillow decodes everything but the TIFFs that it cannot read or reads wrongly without a word (signed, 32- and 64-bit,
float, 16-bit in separate planes): those go to tifffile. The format is told by the first bytes, never by the name.
Whatever goes wrong inside the libraries becomes an ImageError that names the file.
"""

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any, BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    WebPImagePlugin,
)
from PIL.TiffImagePlugin import TiffImageFile

from ..errors import ImageError, MaskwrightError

# Damaged TIFFs make tifffile log; the error that is raised says enough. A handler set by the user still hears it.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

MAX_PIXELS = 2**28
"""Width times height beyond which a file is refused before it is decoded."""

MAX_ARRAY_BYTES = 2**32
"""Size beyond which an array file is refused before it is decompressed."""

# The classes are called directly because Image.open applies a process-wide pixel limit of its own.
# JpegImageFile reads the first picture of a multi-picture JPEG (MPO): the photograph, not its preview or gain map.
_OPENERS: dict[str, Callable[[BinaryIO], Image.Image]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "TIFF": TiffImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
}

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    *((b"P%d" % kind, "PPM") for kind in range(1, 7)),
)

_LOSSY = {"JPEG": "JPEG is lossy", "WebP": "WebP is lossy", "PPM": "PPM is rescaled when read"}

_LOSSY_TIFF: dict[int, str] = {
    tifffile.COMPRESSION.OJPEG: "JPEG in TIFF is lossy",
    tifffile.COMPRESSION.JPEG: "JPEG in TIFF is lossy",
    tifffile.COMPRESSION.WEBP: "WebP in TIFF is lossy",
}

# Pillow stretches grey of 2 and 4 bits to 0..255; one step of the stored samples is then this many levels.
_GRAY_STEP = {2: 85, 4: 17}

_ORIENTATION = 0x0112
"""EXIF tag."""


class OversizedError(ImageError):
    """The header tells of more pixels than are decoded."""


class SeveralFramesError(ImageError):
    """An animation, or several pages, where one picture is expected."""


class ForeignFormatError(ImageError):
    """The first bytes are of no format that is read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """An upright picture as it is stored.

    Attributes:
        pixels: Pillow's image, or for TIFFs outside its modes the samples (H, W) or (H, W, C) of any dtype.
        gray_step: levels of `pixels` per step of the stored grey samples; 1 unless those have 2 or 4 bits.
        inexact: why the samples cannot be labels; "" where they can.
    """

    pixels: Image.Image | NDArray[Any]
    gray_step: int = 1
    inexact: str = ""


@contextmanager
def named_failures(path: Path) -> Iterator[None]:
    """Refuse what is not a regular file, turn every failure inside into an ImageError, silence Pillow's warnings."""
    try:
        mode = path.stat().st_mode
        if not S_ISREG(mode):  # opening a FIFO would block for ever
            kind = "a folder" if S_ISDIR(mode) else "a pipe or device"
            raise ImageError(f"{path}: is {kind}; expected a file. Take it out of the list.")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\b")
            yield
    except MaskwrightError:
        raise
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror or error}. Replace or remove it.") from error
    except Exception as error:  # the parsers raise whatever they stumble on: TypeError, IndexError, struct.error, ...
        raise ImageError(
            f"{path}: cannot be decoded ({type(error).__name__}: {error}); it is damaged or of an unknown kind. "
            "Replace or remove it."
        ) from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A picture as it lies in its file, before its orientation is applied.

    Attributes:
        format: PNG, JPEG, WebP, TIFF, BMP, GIF or PPM.
        orientation: EXIF's, 1 (upright) to 8; 1 for TIFF, whose orientation its own reader applies.
        decoded: the picture, unturned.
    """

    format: str
    orientation: int
    decoded: Decoded


def decode_picture(path: Path, max_pixels: int) -> Decoded:
    """Decode one picture with its EXIF orientation applied; call it inside `named_failures`.

    Raises:
        ImageError: an unknown format, more than `max_pixels` by the header, or several frames or pages.
    """
    with path.open("rb") as stream:
        stored = decode_stored(path, stream, max_pixels)
    pixels = stored.decoded.pixels
    if stored.orientation == 1 or not isinstance(pixels, Image.Image):
        return stored.decoded
    return replace(stored.decoded, pixels=ImageOps.exif_transpose(pixels))


def decode_stored(path: Path, stream: BinaryIO, max_pixels: int, *, grey: bool = False) -> Stored:
    """Decode one picture as it is stored; call it inside `named_failures`.

    Args:
        path: for messages.
        stream: the file's bytes, from their beginning.
        max_pixels: largest width times height, judged from the header.
        grey: of a JPEG in YCbCr only the luminance is decoded, which takes less time.

    Raises:
        ImageError: as `decode_picture`.
    """
    head = stream.read(26)
    kind = _format(path, head)
    stream.seek(0)
    if kind == "TIFF":
        return Stored(format=kind, orientation=1, decoded=_decode_tiff(path, stream, max_pixels))
    picture = _OPENERS[kind](stream)
    _require_size(path, picture.width, picture.height, max_pixels)
    _require_single(path, getattr(picture, "is_animated", False))
    if grey and kind == "JPEG":
        picture.draft("L", None)
    picture.load()
    orientation = picture.getexif().get(_ORIENTATION, 1)
    bits = 8
    if kind == "PNG":
        _check_png_sums(stream)
        bits = head[24]  # the header chunk stands first in every PNG
    return Stored(
        format=kind,
        orientation=orientation if orientation in range(1, 9) else 1,
        decoded=_sampled(picture, bits=bits, lossy=_LOSSY.get(kind, "")),
    )


def decode_channels(path: Path, max_pixels: int) -> NDArray[Any]:
    """Decode the samples (H, W) or (H, W, C) of a picture as they are stored, upright; call it inside `named_failures`.

    Raises:
        ImageError: as `decode_picture`, but for a TIFF of several pages of one sample and one size, which are the channels.
    """
    with path.open("rb") as stream:
        if _format(path, stream.read(26)) == "TIFF":
            stream.seek(0)
            with tifffile.TiffFile(stream) as tiff:
                first = tiff.pages.first
                _require_size(path, first.imagewidth, first.imagelength * len(tiff.pages), max_pixels)
                if len(tiff.pages) > 1:
                    return np.stack([_tiff_samples(path, page) for page in tiff.pages], axis=-1)
                grey = first.photometric == tifffile.PHOTOMETRIC.MINISBLACK
                if first.samplesperpixel > 4 or (grey and first.samplesperpixel > 1):
                    return _tiff_samples(path, first)
    pixels = decode_picture(path, max_pixels).pixels
    if isinstance(pixels, Image.Image) and pixels.mode in ("1", "P", "PA", "CMYK", "YCbCr", "LAB"):
        raise ImageError(
            f"{path}: is of mode {pixels.mode}; expected samples as they are. Save it as grey, RGB or TIFF."
        )
    return np.array(pixels)


def read_size(path: Path, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return the height and width, in pixels, that a picture has once its EXIF orientation is applied; from the header.

    Raises:
        ImageError: not a readable header, or more than `max_pixels`.
    """
    with named_failures(path):
        with path.open("rb") as stream:
            kind = _format(path, stream.read(26))
            stream.seek(0)
            if kind == "TIFF":
                with tifffile.TiffFile(stream) as tiff:
                    page = tiff.pages.first
                    width, height = page.imagewidth, page.imagelength
                    orientation = page.tags.valueof(274, default=1)
            else:
                picture = _OPENERS[kind](stream)
                width, height = picture.size
                orientation = 1 if kind == "PNG" and _has_no_exif(stream) else picture.getexif().get(274, 1)
        _require_size(path, width, height, max_pixels)
        return (width, height) if orientation in (5, 6, 7, 8) else (height, width)


def decode_png(content: bytes, *, path: Path, max_pixels: int = MAX_PIXELS) -> NDArray[Any]:
    """Decode the samples of a PNG that lies within another file.

    Args:
        content: of the PNG.
        path: the file that holds it, for messages.
        max_pixels: largest width times height.

    Raises:
        ImageError: no PNG, damaged or too large.
    """
    with named_failures(path):
        if not content.startswith(_MAGIC[0][0]):
            raise ImageError(f"{path}: a mask in it begins with {content[:8]!r}; expected PNG. Export it anew.")
        picture = PngImagePlugin.PngImageFile(io.BytesIO(content))
        _require_size(path, picture.width, picture.height, max_pixels)
        return np.array(picture)


def suffix_of(content: bytes) -> str:
    """Return the file suffix of a picture's content, such as ".png"; "" where it is no picture that is read."""
    kind = "WebP" if content[:4] == b"RIFF" and content[8:12] == b"WEBP" else ""
    kind = kind or next((kind for magic, kind in _MAGIC if content.startswith(magic)), "")
    return {"JPEG": ".jpg", "TIFF": ".tif"}.get(kind, f".{kind.lower()}" if kind else "")


def load_array(path: Path, key: str) -> NDArray[Any]:
    """Load a `.npy` array, or of a `.npz` archive the one named `key` or the only one; never unpickles.

    Raises:
        ImageError: the archive has no such array, or it is larger than MAX_ARRAY_BYTES.
    """
    # Mapping compares the header's shape with the file's size before any memory is taken.
    loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        _require_bytes(path, loaded.nbytes)
        return _native(loaded)
    with loaded as archive:
        name = key if key in archive.files or len(archive.files) != 1 else archive.files[0]
        if name not in archive.files:
            raise ImageError(f'{path}: holds the arrays {archive.files}; expected one, or one named "{key}".')
        _require_bytes(path, sum(entry.file_size for entry in archive.zip.infolist()))
        return _native(archive[name])


def _native(array: NDArray[Any]) -> NDArray[Any]:
    return np.array(array, dtype=array.dtype.newbyteorder("="))


def _format(path: Path, head: bytes) -> str:
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if not head:
        raise ImageError(f"{path}: is empty (0 bytes). Replace or remove it.")
    raise ForeignFormatError(f"{path}: begins with {head[:8]!r}; expected {', '.join(_OPENERS)}. Convert it to PNG.")


def _require_bytes(path: Path, size: int) -> None:
    if size > MAX_ARRAY_BYTES:
        raise ImageError(f"{path}: holds {size} bytes of arrays; at most {MAX_ARRAY_BYTES} are read. Split it.")


def _require_size(path: Path, width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise OversizedError(
            f"{path}: has {width} x {height} = {width * height} pixels; at most {max_pixels} are decoded. "
            "Scale it down or cut it into pieces."
        )


def _require_single(path: Path, several: bool) -> None:
    if several:
        raise SeveralFramesError(
            f"{path}: holds several frames or pages; expected one. Save each as a file of its own."
        )


def _has_no_exif(stream: BinaryIO) -> bool:
    """Whether a PNG says nothing of an orientation; Pillow would decode all of its pixels to find out."""
    stream.seek(0)
    content = stream.read()
    return b"eXIf" not in content and b"XML:com.adobe.xmp" not in content and b"Raw profile type" not in content


def _check_png_sums(stream: BinaryIO) -> None:
    """Raise where a chunk's CRC is wrong or the end is missing: Pillow decodes the pixels without looking at either."""
    stream.seek(0)
    PngImagePlugin.PngImageFile(stream).verify()


def _decode_tiff(path: Path, stream: BinaryIO, max_pixels: int) -> Decoded:
    with tifffile.TiffFile(stream) as tiff:
        page = tiff.pages.first
        _require_size(path, page.imagewidth, page.imagelength, max_pixels)
        _require_single(path, len(tiff.pages) > 1)
        bits, contiguous = page.bitspersample, page.planarconfig == tifffile.PLANARCONFIG.CONTIG
        unsigned = page.sampleformat == tifffile.SAMPLEFORMAT.UINT
        if not (unsigned and page.samplesperpixel in (1, 3, 4) and (bits <= 8 or (bits == 16 and contiguous))):
            return Decoded(pixels=_tiff_samples(path, page))
        lossy = _LOSSY_TIFF.get(int(page.compression), "")
    stream.seek(0)
    picture = TiffImageFile(stream)
    picture.load()  # which turns it upright
    return _sampled(picture, bits=bits, lossy=lossy)


def _sampled(picture: Image.Image, *, bits: int, lossy: str) -> Decoded:
    """Record how Pillow changed stored samples of `bits` bits: it stretches 2 and 4, and cuts 16-bit colour to 8."""
    if bits == 16 and not picture.mode.startswith("I"):
        lossy = "16-bit colour is cut to 8 bits"
    return Decoded(pixels=picture, gray_step=_GRAY_STEP.get(bits, 1) if picture.mode == "L" else 1, inexact=lossy)


def _tiff_samples(path: Path, page: tifffile.TiffPage) -> NDArray[Any]:
    """Return the samples (H, W) or (H, W, C) of a TIFF that Pillow has no right mode for."""
    orientation = page.tags.valueof(274, default=1)
    if orientation != 1 or page.photometric not in (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB):
        raise ImageError(
            f"{path}: TIFF of {page.dtype}, photometric {page.photometric!r}, orientation {orientation}; "
            "expected upright grey or RGB. Save it as 8- or 16-bit PNG."
        )
    samples = page.asarray()
    if samples.ndim == 3 and page.planarconfig != tifffile.PLANARCONFIG.CONTIG:
        samples = np.moveaxis(samples, 0, -1)
    if samples.ndim not in (2, 3):
        raise ImageError(f"{path}: TIFF of shape {samples.shape}; expected (H, W) or (H, W, C). Save each slice alone.")
    return _native(samples)
