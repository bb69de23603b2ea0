"""Findings about files, pairs and encodings: what is an error wherever it stands."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .diagnosis import habit_code
from .encoding import is_deep
from .examination import Examination
from .facts import Fit, Probe
from .kinds import KINDS, Concern, Finding

SUFFIXES = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "WebP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pnm", ".pbm"),
    "NPY": (".npy",),
}
"""Format → suffixes that name it, the usual one first."""

Found = Iterator[tuple[str, Concern, str]]
"""Code, what is concerned, and the title of the sample."""

_MOVED_PIXELS = 3
_LYING_RIGHT = 0.8
_MOST = 0.5
_FEW = 3

HABITS = (
    "mask-lossy",
    "mask-antialiased",
    "mask-alpha",
    "mask-float",
    "mask-probabilities",
    "mask-16-bit",
    "labels-outside",
)
"""Kinds of single masks that are of the whole set where most masks are so."""


def check_all(examination: Examination) -> list[Finding]:
    """Return the findings of this module, one for each kind."""
    groups: dict[str, list[tuple[Concern, str]]] = defaultdict(list)
    for check in (_annotations, _files, _pairs, _encodings, _twins, _shared_masks, _moved):
        for code, concern, title in check(examination):
            groups[code].append((concern, title))
    most = max(_MOST * len(examination.probes), _FEW)
    habits = {*HABITS, "orientation", "size-differs"}
    found = [
        gather(code, groups[code], whole=code in habits and len(groups[code]) > most)
        for code in KINDS
        if code in groups
    ]
    return [*_habit(examination), *found]


def gather(code: str, found: list[tuple[Concern, str]], *, whole: bool = False) -> Finding:
    """Make one finding of all that is of one kind."""
    return Finding(
        code=code,
        concerns=tuple(c for c, _ in found),
        items=tuple(dict.fromkeys(t for _, t in found if t)),
        whole=whole,
    )


def _files(examination: Examination) -> Found:
    for index, probe in enumerate(examination.probes):
        for path, problem in probe.problems.items():
            yield problem.code, Concern(name=examination.shown(path), detail=problem.words), probe.item.title
        for facts, files in ((probe.image, probe.item.images), (probe.mask, probe.item.masks)):
            if facts is not None and files and not _named_right(files[0], facts.format):
                concern = Concern(name=examination.shown(files[0]), detail=f"is {facts.format}")
                yield "wrong-extension", concern, probe.item.title
        if probe.item.renamed:
            detail = f"its mask is {examination.mask_name(index)}"
            yield "name-differs", Concern(name=examination.image_name(index), detail=detail), probe.item.title


def _annotations(examination: Examination) -> Found:
    for words in examination.broken:
        yield "damaged-file", Concern(name=words), ""
    for words in examination.notes:
        yield "odd-annotation", Concern(name=words), ""


def _named_right(path: Path, format: str) -> bool:
    return format not in SUFFIXES or path.suffix.lower() in SUFFIXES[format]


def _pairs(examination: Examination) -> Found:
    for index, probe in enumerate(examination.probes):
        item = probe.item
        if item.index >= 0:
            continue
        if item.images and not item.masks:
            yield "missing-mask", Concern(name=examination.image_name(index)), item.title
        if item.masks and not item.images:
            yield "missing-image", Concern(name=examination.mask_name(index)), item.title
        for files in (item.images, item.masks):
            if len(files) > 1:
                names = [examination.shown(path) for path in files]
                yield "duplicate-stem", Concern(name=names[0], detail=f"beside {', '.join(names[1:])}"), item.title
        if probe.fit is not None:
            yield from _lies_wrong(examination, index, probe, probe.fit)


def _lies_wrong(examination: Examination, index: int, probe: Probe, fit: Fit) -> Found:
    assert probe.image is not None and probe.mask is not None
    mask = (probe.mask.width, probe.mask.height)
    sizes = f"image {probe.image.width} x {probe.image.height}, mask {mask[0]} x {mask[1]}"
    if fit.turn is None:
        code = "orientation" if mask == (probe.image.height, probe.image.width) else "size-differs"
        yield code, Concern(name=examination.mask_name(index), detail=sizes), probe.item.title
    elif fit.turn != fit.usual:
        turns = mask != (probe.image.width, probe.image.height)
        told = "by the sizes" if turns and fit.turn == probe.image.orientation else "by the edges"
        detail = f"EXIF orientation {fit.turn} brings the mask onto the image, told {told}; {sizes}"
        yield "orientation", Concern(name=examination.mask_name(index), detail=detail), probe.item.title


def _encodings(examination: Examination) -> Found:
    for index, diagnosis in examination.diagnoses.items():
        if diagnosis.code:
            concern = Concern(name=examination.mask_name(index), detail=diagnosis.detail)
            yield diagnosis.code, concern, examination.probes[index].item.title
        elif (mask := examination.probes[index].mask) is not None and _needs_depth(examination, index):
            concern = Concern(name=examination.mask_name(index), detail=mask.mode)
            yield "mask-16-bit", concern, examination.probes[index].item.title


def _needs_depth(examination: Examination, index: int) -> bool:
    """Whether a mask of more than 8 bits holds labels that need fewer, in a set where all do so."""
    mask, reading = examination.probes[index].mask, examination.reading
    return mask is not None and reading is not None and reading.deep and is_deep(mask) and reading.habit == "labels"


def _habit(examination: Examination) -> list[Finding]:
    """Return the finding of what most masks have in common, if that is a fault."""
    reading = examination.reading
    if reading is None or not habit_code(reading):
        return []
    code = habit_code(reading)
    alike = [index for index, diagnosis in examination.diagnoses.items() if not diagnosis.code]
    if not alike:
        return []
    many = f"{len(alike)} of {len(examination.diagnoses)} masks"
    titles = tuple(examination.probes[index].item.title for index in alike)
    return [Finding(code=code, concerns=(Concern(name=many, detail=_told(examination)),), items=titles, whole=True)]


def _told(examination: Examination) -> str:
    reading = examination.reading
    assert reading is not None
    if reading.habit == "instances":
        return "every object has a number"
    if reading.habit in ("colours", "palettes"):
        shown = [f"#{code:06x}" for code, _ in sorted(reading.table.items(), key=lambda entry: entry[1])]
        return f"{len(shown)} colours: {', '.join(shown[:6])}" + (", ..." if len(shown) > 6 else "")
    pairs = [f"{value} → {'ignored' if label == 255 else label}" for value, label in sorted(reading.table.items())]
    return ", ".join(pairs[:12]) + (", ..." if len(pairs) > 12 else "")


def _twins(examination: Examination) -> Found:
    for twins in examination.twins:
        one, other = examination.probes[twins.first].item, examination.probes[twins.second].item
        across = bool(one.part and other.part and one.part != other.part)
        code = "near-duplicate" if not across else "same-image" if twins.same else "near-duplicate-parts"
        how = "byte for byte" if twins.distance == 0 else f"distance {twins.distance:.2f}"
        detail = f"= {examination.image_name(twins.second)} ({how})"
        yield code, Concern(name=examination.image_name(twins.first), detail=detail), one.title


def _shared_masks(examination: Examination) -> Found:
    """Equal masks, of more than one class, of pictures that differ."""
    alike = {(twins.first, twins.second) for twins in examination.twins}
    first_of: dict[bytes, tuple[int, bytes]] = {}
    for index, probe in enumerate(examination.probes):
        if probe.mask is None or probe.mask.distinct < 2 or probe.image is None:
            continue
        first, picture = first_of.setdefault(probe.mask.pixel_digest, (index, probe.image.digest))
        if picture != probe.image.digest and (first, index) not in alike:
            detail = f"equals {examination.mask_name(first)}"
            yield "mask-shared", Concern(name=examination.mask_name(index), detail=detail), probe.item.title


def _moved(examination: Examination) -> Found:
    """Masks that lie beside their objects, in sets whose masks otherwise lie on the edges of their images."""
    shifts = {
        index: shift
        for index, probe in enumerate(examination.probes)
        if probe.fit is not None and (shift := probe.fit.shift) is not None
    }
    lengths = np.array([np.hypot(shift.down, shift.right) for shift in shifts.values()])
    # Where outlines are drawn wide on purpose, as around pets, no mask lies on edges and none can be told from the others.
    if len(lengths) == 0 or (lengths < _MOVED_PIXELS).mean() < _LYING_RIGHT:
        return
    for (index, shift), length in zip(shifts.items(), lengths, strict=True):
        better = shift.there >= 1.5 and shift.there >= 1.3 * shift.here and shift.there >= 1.2 * shift.opposite
        if length >= _MOVED_PIXELS and better and shift.gain >= 2:
            detail = f"fits better {_way(shift.down, shift.right)}"
            yield (
                "mask-moved",
                Concern(name=examination.mask_name(index), detail=detail),
                examination.probes[index].item.title,
            )


def _way(down: int, right: int) -> str:
    ways = [f"{abs(down)} px {'lower' if down > 0 else 'higher'}"] if down else []
    ways += [f"{abs(right)} px to the {'right' if right > 0 else 'left'}"] if right else []
    return " and ".join(ways)
