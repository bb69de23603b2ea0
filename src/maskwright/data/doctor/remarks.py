"""Warnings and notes: what is worth a look, and what the set consists of."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from .checks import gather
from .examination import Examination, label_counts
from .facts import ImageFacts, MaskFacts
from .kinds import KINDS, Concern, Finding

_MANY_SPECKS = 10
_RAGGED_SHARE = 0.15
_FEW_BORDER = 50
_RARE_IMAGES = 3
_RARE_SHARE = 0.001
_DOMINANT_SHARE = 0.97
_HABIT = 0.3
"""Share of all samples beyond which a remark is one of the whole set."""

Remark = tuple[str, Concern, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassShare:
    """What one class has: images that hold it and pixels, by part."""

    name: str
    images: Mapping[str, int]
    pixels: Mapping[str, int]


def remark_all(examination: Examination) -> list[Finding]:
    """Return the findings of this module, one for each kind."""
    groups: dict[str, list[tuple[Concern, str]]] = defaultdict(list)
    for find in (_masks, _images, _names, _parts, _classes):
        for code, concern, title in find(examination):
            groups[code].append((concern, title))
    total = max(len(examination.probes), 1)
    single = ("class-absent", "class-rare", "class-dominant")
    found = [
        gather(code, groups[code], whole=code not in single and len(groups[code]) > max(_HABIT * total, 3))
        for code in KINDS
        if code in groups
    ]
    return [*found, *_notes(examination)]


def class_shares(examination: Examination) -> list[ClassShare]:
    """Return images and pixels of every class by part, from the stored values; masks without labels do not count."""
    images: dict[int, Counter[str]] = defaultdict(Counter)
    pixels: dict[int, Counter[str]] = defaultdict(Counter)
    for index, diagnosis in examination.diagnoses.items():
        probe = examination.probes[index]
        if diagnosis.recipe is None or probe.mask is None:
            continue
        for label, count in label_counts(probe.mask, diagnosis.recipe).items():
            images[label][probe.item.part] += 1
            pixels[label][probe.item.part] += count
    count = examination.reading.count if examination.reading is not None else len(examination.known.names)
    return [
        ClassShare(name=class_name(examination, label), images=dict(images[label]), pixels=dict(pixels[label]))
        for label in range(count)
    ]


def class_name(examination: Examination, label: int) -> str:
    """Return the name of a class, made from its number where there is none."""
    names = class_names(examination)
    return names[label] if label < len(names) else f"class_{label}"


def class_names(examination: Examination) -> tuple[str, ...]:
    """Return the names of all classes: the user's, those of colours, or numbers."""
    if examination.known.names:
        return examination.known.names
    reading = examination.reading
    if reading is None:
        return ()
    if reading.habit in ("colours", "palettes"):
        code_of = {label: code for code, label in reading.table.items()}
        return tuple(
            f"#{code_of[label]:06x}" if label in code_of else f"class_{label}" for label in range(reading.count)
        )
    first = "class_0" if reading.habit == "shifted" else "background"
    return (first, *(f"class_{label}" for label in range(1, reading.count)))


def _masks(examination: Examination) -> Iterator[Remark]:
    for index, diagnosis in examination.diagnoses.items():
        probe = examination.probes[index]
        mask = probe.mask
        if mask is None or diagnosis.code not in ("", "mask-16-bit"):
            continue
        objects = diagnosis.recipe is not None and diagnosis.recipe.threshold is not None
        lined = examination.reading is not None and examination.reading.lined  # lines look ragged, and fall into specks
        for code, detail in () if lined else _looks(mask, objects=objects):
            yield code, Concern(name=examination.mask_name(index), detail=detail), probe.item.title
        if diagnosis.recipe is not None:
            labels = label_counts(mask, diagnosis.recipe)
            if len(labels) < 2:
                only = next(iter(labels), None)
                name = "nothing but ignored pixels" if only is None else f"only {class_name(examination, only)}"
                yield (
                    "empty-mask" if only in (None, 0) else "one-class-mask",
                    Concern(name=examination.mask_name(index), detail=name),
                    probe.item.title,
                )


def _looks(mask: MaskFacts, *, objects: bool) -> Iterator[tuple[str, str]]:
    border = mask.texture.border
    if mask.specks > _MANY_SPECKS and not objects:
        yield "specks", f"{mask.specks} pieces of at most 12 pixels"
    if mask.holes > _MANY_SPECKS:
        yield "holes", f"{mask.holes} gaps of at most 12 pixels"
    if mask.corners is not None and mask.corners.of_a_polygon:
        yield "polygonal", f"half of the outline lies in straight lines of {mask.corners.line:.0f} px and more"
    if border > _FEW_BORDER and mask.texture.lonely > _RAGGED_SHARE * border:
        yield "ragged", f"{mask.texture.lonely / border:.0%} of the border pixels stand alone"


def _images(examination: Examination) -> Iterator[Remark]:
    kinds = [None if probe.image is None else _kind_of(probe.image) for probe in examination.probes]
    common = Counter(kind for kind in kinds if kind).most_common(1)
    for index, (probe, kind) in enumerate(zip(examination.probes, kinds, strict=True)):
        if probe.image is None or not probe.item.images:
            continue
        concern = examination.image_name(index)
        if kind != common[0][0]:
            yield "odd-image", Concern(name=concern, detail=f"{kind}; most are {common[0][0]}"), probe.item.title
        if probe.image.orientation != 1:
            yield (
                "exif-orientation",
                Concern(name=concern, detail=f"orientation {probe.image.orientation}"),
                probe.item.title,
            )


def _kind_of(image: ImageFacts) -> str:
    if image.mode in ("L", "1"):
        return "grey"
    if image.mode in ("RGB", "YCbCr"):
        return "RGB"
    if image.mode in ("RGBA", "LA", "PA"):
        return "with opacity"
    return {"P": "of a palette", "CMYK": "CMYK"}.get(image.mode, f"of {image.mode} samples")


def _names(examination: Examination) -> Iterator[Remark]:
    folded = Counter(_folded(probe.item.title) for probe in examination.probes)
    for index, probe in enumerate(examination.probes):
        item = probe.item
        if item.index >= 0:
            continue
        words = []
        if item.name != item.name.strip() or "  " in item.name or " " in item.name:
            words.append("spaces")
        if unicodedata.normalize("NFC", item.name) != item.name:
            words.append("decomposed Unicode (NFD)")
        elif not item.name.isprintable() or any(0xDC80 <= ord(c) <= 0xDCFF or c in '\\:*?"<>|' for c in item.name):
            words.append("unusual characters")
        if folded[_folded(item.title)] > 1:
            words.append("differs from another only in case or Unicode form")
        if words:
            name = examination.image_name(index) if item.images else examination.mask_name(index)
            yield "odd-name", Concern(name=name, detail=", ".join(words)), item.title


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _parts(examination: Examination) -> Iterator[Remark]:
    if any(probe.item.part for probe in examination.probes):
        for index, probe in enumerate(examination.probes):
            if not probe.item.part:
                yield "not-in-a-part", Concern(name=examination.image_name(index)), probe.item.title


def _classes(examination: Examination) -> Iterator[Remark]:
    shares = class_shares(examination)
    parts = sorted({part for share in shares for part in share.images})
    total = sum(sum(share.pixels.values()) for share in shares)
    for share in shares:
        for part in parts:
            if not share.images.get(part):
                where = f"no mask of {part}" if part else "no mask"
                yield "class-absent", Concern(name=share.name, detail=f"{where} has it"), ""
        images, pixels = sum(share.images.values()), sum(share.pixels.values())
        if images and (images < _RARE_IMAGES or pixels < _RARE_SHARE * total):
            detail = f"{images} image{'s' if images > 1 else ''}, {pixels / total:.2%} of the pixels"
            yield "class-rare", Concern(name=share.name, detail=detail), ""
        if total and pixels > _DOMINANT_SHARE * total:
            yield "class-dominant", Concern(name=share.name, detail=f"{pixels / total:.1%} of the pixels"), ""


def _notes(examination: Examination) -> list[Finding]:
    found: list[Finding] = []
    shares = class_shares(examination)
    total = sum(sum(share.pixels.values()) for share in shares)
    if total:
        rows = [
            Concern(
                name=share.name,
                detail=f"{sum(share.images.values())} images, {sum(share.pixels.values()) / total:.2%} of the pixels",
            )
            for share in shares
        ]
        found.append(Finding(code="class-balance", concerns=tuple(rows), whole=True))
    images = [probe.image for probe in examination.probes if probe.image is not None]
    if images:
        width, height = (np.array([getattr(image, side) for image in images]) for side in ("width", "height"))
        pixels = width * height
        rows = [
            Concern(name=name, detail=f"{width[i]} x {height[i]}")
            for name, i in (
                ("smallest", pixels.argmin()),
                ("median", np.argsort(pixels)[len(pixels) // 2]),
                ("largest", pixels.argmax()),
            )
        ]
        rows.append(
            Concern(name="different sizes", detail=str(len(set(zip(width.tolist(), height.tolist(), strict=True)))))
        )
        found.append(Finding(code="sizes", concerns=tuple(rows), whole=True))
        found.append(Finding(code="formats", concerns=tuple(_formats(examination)), whole=True))
    if examination.licences:
        named = tuple(Concern(name=examination.shown(path)) for path in examination.licences)
        found.append(Finding(code="licences", concerns=named))
    return found


def _formats(examination: Examination) -> Iterator[Concern]:
    images = Counter((p.image.format, p.image.mode) for p in examination.probes if p.image is not None)
    masks = Counter((p.mask.format, p.mask.mode) for p in examination.probes if p.mask is not None)
    for what, counts in (("images", images), ("masks", masks)):
        for (form, mode), count in counts.most_common(6):
            yield Concern(name=what, detail=f"{count} of {form}, {mode}")
