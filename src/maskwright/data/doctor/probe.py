"""One sample, each of its files read and decoded once, as facts."""

import hashlib
import io
from pathlib import Path
from stat import S_ISREG
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32, UInt8
from numpy.typing import NDArray
from PIL import Image

from ...errors import ImageError
from ...ops.components import number_pieces
from ...ops.counting import value_counts
from ..decode import MAX_PIXELS, ForeignFormatError, OversizedError, SeveralFramesError, decode_stored, named_failures
from . import edges
from .corners import Corners, corners_of
from .facts import MOST_VALUES, SPECK_PIXELS, THUMB, Fit, ImageFacts, Item, MaskFacts, Probe, Problem
from .samples import Samples, read_samples, turned

MAX_FILE_BYTES = 2**30
"""Larger files are not read."""

_TURNED_BETTER = 1.15
_AGREES = 1.3


class _Unusable(Exception):
    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.problem = Problem(code=code, words=words)


def probe(item: Item) -> Probe:
    """Read the first image and the first mask of a sample, and how they fit; never raises for what a file holds."""
    problems: dict[Path, Problem] = {}
    image = grey = mask = values = None
    if item.images:
        try:
            image, grey = _probe_image(item.images[0])
        except _Unusable as found:
            problems[item.images[0]] = found.problem
    if item.masks:
        try:
            mask, values = _probe_mask(item.masks[0])
        except _Unusable as found:
            problems[item.masks[0]] = found.problem
    fit = None
    if image is not None and mask is not None and grey is not None and values is not None:
        fit = _fit(image, grey, mask, values)
    return Probe(item=item, image=image, mask=mask, problems=problems, fit=fit)


def probe_arrays(item: Item, image: UInt8[np.ndarray, "h w c"], labels: UInt8[np.ndarray, "h w"] | None) -> Probe:
    """Return the facts of a sample that a data set's own reader gave."""
    grey = image[..., :3].mean(axis=2).astype(np.uint8) if image.shape[2] >= 3 else np.ascontiguousarray(image[..., 0])
    digest = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
    shown = _image_facts(grey, format="array", mode=f"{image.shape[2]} channels", orientation=1, digest=digest)
    if labels is None:
        return Probe(item=item, image=shown)
    mask, values = _mask_facts(Samples(format="array", mode="L", orientation=1, values=labels), digest=b"")
    return Probe(item=item, image=shown, mask=mask, fit=_fit(shown, grey, mask, values))


def read_content(path: Path) -> bytes:
    """Return the bytes of a regular file; raises `_Unusable` for what no reader should open."""
    try:
        state = path.stat()
        if not S_ISREG(state.st_mode):
            raise _Unusable("not-a-file", "a folder, pipe or device")
        if state.st_size == 0:
            raise _Unusable("empty-file", "0 bytes")
        if state.st_size > MAX_FILE_BYTES:
            raise _Unusable("too-large", f"{state.st_size:,} bytes")
        return path.read_bytes()
    except OSError as error:
        raise _Unusable("not-a-file", error.strerror or str(error)) from error


def _decoding(path: Path, error: ImageError) -> _Unusable:
    words = str(error).removeprefix(f"{path}: ")
    codes = {OversizedError: "too-large", SeveralFramesError: "several-frames", ForeignFormatError: "not-an-image"}
    return _Unusable(codes.get(type(error), "damaged-file"), words)


def _probe_image(path: Path) -> tuple[ImageFacts, UInt8[np.ndarray, "h w"]]:
    content = read_content(path)
    try:
        with named_failures(path):
            stored = decode_stored(path, io.BytesIO(content), MAX_PIXELS, grey=True)
            pixels = stored.decoded.pixels
            mode = _stored_mode(stored.format, content, pixels)
            grey = turned(_grey(path, pixels), stored.orientation)
    except ImageError as error:
        raise _decoding(path, error) from error
    digest = hashlib.blake2b(content, digest_size=16).digest()
    facts = _image_facts(grey, format=stored.format, mode=mode, orientation=stored.orientation, digest=digest)
    return facts, grey


def _stored_mode(kind: str, content: bytes, pixels: Image.Image | NDArray[Any]) -> str:
    """Return the mode of the stored pixels; of a JPEG that was read as grey its header tells."""
    if kind == "JPEG":
        with Image.open(io.BytesIO(content)) as header:
            return header.mode
    return pixels.mode if isinstance(pixels, Image.Image) else str(pixels.dtype)


def _grey(path: Path, pixels: Image.Image | NDArray[Any]) -> UInt8[np.ndarray, "h w"]:
    if isinstance(pixels, Image.Image) and not pixels.mode.startswith(("I", "F")):
        return np.asarray(pixels if pixels.mode == "L" else pixels.convert("RGB").convert("L"))
    samples = np.asarray(pixels)
    samples = samples if samples.ndim == 2 else samples[..., :3].mean(axis=2)
    low, high = float(samples.min()), float(samples.max())
    if not np.isfinite([low, high]).all():
        raise ImageError(f"{path}: holds NaN or infinity; expected float samples in 0..1.")
    largest = 1.0 if high <= 1 and samples.dtype.kind == "f" else 65535.0
    if low < 0 or high > largest:
        raise ImageError(f"{path}: samples from {low:g} to {high:g}; expected float in 0..1 or 16 bits.")
    return (samples * (255.0 / largest)).astype(np.uint8)


def _image_facts(
    grey: UInt8[np.ndarray, "h w"], *, format: str, mode: str, orientation: int, digest: bytes
) -> ImageFacts:
    thumb = np.asarray(Image.fromarray(grey).resize((THUMB, THUMB), Image.Resampling.BOX))
    return ImageFacts(
        format=format,
        mode=mode,
        height=grey.shape[0],
        width=grey.shape[1],
        orientation=orientation,
        digest=digest,
        thumb=thumb.tobytes(),
        contrast=float(thumb.std()),
    )


def _probe_mask(path: Path) -> tuple[MaskFacts, Int32[np.ndarray, "h w"]]:
    content = read_content(path)
    try:
        samples = read_samples(path, content)
    except ImageError as error:
        raise _decoding(path, error) from error
    return _mask_facts(samples, digest=hashlib.blake2b(content, digest_size=16).digest())


def _mask_facts(samples: Samples, *, digest: bytes) -> tuple[MaskFacts, Int32[np.ndarray, "h w"]]:
    """Return the facts, and the values as whole numbers that differ where they differ and keep their order."""
    values = samples.values
    found, counts = value_counts(values)
    ranks = _ranks(values, found)
    frequent = np.sort(np.argsort(-counts, kind="stable")[:MOST_VALUES])
    few = len(found) <= MOST_VALUES
    frame = _frame_value(values)
    pieces = _pieces(values, ranks, frame) if few else NO_PIECES
    opacity = np.bincount(samples.alpha.ravel(), minlength=256) if samples.alpha is not None else np.zeros(0, np.int64)
    facts = MaskFacts(
        format=samples.format,
        mode=samples.mode,
        digest=digest,
        height=values.shape[0],
        width=values.shape[1],
        orientation=samples.orientation,
        coloured=samples.coloured,
        values={found[i].item(): int(counts[i]) for i in frequent},
        distinct=len(found),
        whole=bool(np.isfinite(found).all() and (found == np.floor(found)).all()),
        low=float(found[0]),
        high=float(found[-1]),
        inexact=samples.inexact,
        palette=_used_palette(samples, found),
        alpha={int(level): int(opacity[level]) for level in np.flatnonzero(opacity)},
        pieces=pieces.counts,
        specks=pieces.specks,
        holes=pieces.holes,
        frame=frame,
        texture=edges.texture(ranks),
        corners=pieces.corners,
        pixel_digest=hashlib.blake2b(np.ascontiguousarray(values).data, digest_size=16).digest(),
    )
    return facts, ranks


def _ranks(values: NDArray[Any], found: NDArray[Any]) -> Int32[np.ndarray, "h w"]:
    if values.dtype.kind in "iu" and int(found[0]) >= -(2**31) and int(found[-1]) < 2**31:
        return np.ascontiguousarray(values.astype(np.int32))
    return np.searchsorted(found, values).astype(np.int32)


class _Pieces(NamedTuple):
    """See the attributes of `MaskFacts`."""

    counts: dict[float, int]
    specks: int
    holes: int
    corners: Corners | None


NO_PIECES = _Pieces({}, 0, 0, None)


def _pieces(values: NDArray[Any], ranks: Int32[np.ndarray, "h w"], frame: float) -> _Pieces:
    numbers = number_pieces(ranks)
    sizes, firsts = edges.measure_pieces(numbers)
    of = values.ravel()[firsts]
    found, counts = np.unique(of, return_counts=True)
    tiny = of[sizes <= SPECK_PIXELS]
    holes = int((tiny == 0).sum())
    inner = np.where(of == frame, 0, sizes)
    corners = corners_of(numbers, int(inner.argmax())) if inner.any() else None
    return _Pieces(dict(zip(found.tolist(), counts.tolist(), strict=True)), len(tiny) - holes, holes, corners)


def _used_palette(samples: Samples, found: NDArray[Any]) -> dict[int, int]:
    if samples.palette is None:
        return {}
    return {int(value): int(samples.palette[value]) for value in found if samples.palette[value] >= 0}


def _frame_value(values: NDArray[Any]) -> float:
    found, counts = np.unique(np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]]), return_counts=True)
    return float(found[counts.argmax()])


def _fit(image: ImageFacts, grey: UInt8[np.ndarray, "h w"], mask: MaskFacts, values: Int32[np.ndarray, "h w"]) -> Fit:
    usual = mask.orientation
    sizes = {turn: (mask.height, mask.width) if turn < 5 else (mask.width, mask.height) for turn in range(1, 9)}
    fitting = [turn for turn, size in sizes.items() if size == (image.height, image.width)]
    if not fitting:
        return Fit(turn=None, usual=usual)
    strength = edges.edge_strength(grey)
    # Only what EXIF tells, or what sizes demand, is a candidate: a mirrored cat has edges as good as a cat's.
    likely = [turn for turn in dict.fromkeys((usual, 1, image.orientation)) if turn in fitting]
    turn, certain = _best_turn(strength, values, likely or [turn for turn in (6, 8) if turn in fitting])
    if not likely and not certain:
        return Fit(turn=None, usual=usual, certain=False)
    shift = None
    if turn == usual and image.orientation == 1:
        shift = edges.find_shift(strength, edges.border_points(turned(values, turn)))
    return Fit(turn=turn, usual=usual, certain=certain, shift=shift)


def _best_turn(
    strength: UInt8[np.ndarray, "h w"], values: Int32[np.ndarray, "h w"], likely: list[int]
) -> tuple[int | None, bool]:
    """Return the turn whose borders meet the most edges, and whether it is clearly the best."""
    if len(likely) < 2:
        return (likely[0], True) if likely else (None, True)
    scores = {turn: edges.agreement(strength, edges.border_points(turned(values, turn))) for turn in likely}
    first, second = sorted(likely, key=lambda turn: -scores[turn])[:2]
    clear = scores[first] >= _AGREES and scores[first] >= _TURNED_BETTER * scores[second]
    return (first, True) if clear else (likely[0], False)
