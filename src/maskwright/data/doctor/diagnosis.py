"""What is wrong with the encoding of one mask, given the habit of its set, and how its labels are had back."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from .encoding import (
    Reading,
    is_deep,
    is_mixed,
    numbers_objects,
    palette_agrees,
    varies_in_opacity,
)
from .facts import MaskFacts
from .recipe import IGNORED, Recipe

_MOSTLY = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """What one mask is.

    Attributes:
        code: of the kind of fault, "" where there is none.
        detail: what the file holds, in words.
        recipe: gives the labels; None where they cannot be had back.
    """

    code: str
    detail: str
    recipe: Recipe | None


def diagnose(mask: MaskFacts, reading: Reading) -> Diagnosis:
    """Tell how one mask departs from labels, and from the habit of its set."""
    if varies_in_opacity(mask):
        return _in_alpha(mask, reading)
    if mask.inexact:
        return _lossy(mask, reading)
    if mask.mode == "F" or mask.mode.startswith("float"):
        return _float(mask, reading)
    if reading.habit in ("colours", "palettes"):
        return _colours(mask, reading)
    if mask.coloured:
        return _foreign_colours(mask, reading)
    if reading.habit == "instances":
        return Diagnosis(code="", detail=_values(mask), recipe=Recipe(threshold=0.5))
    return _numbers(mask, reading)


def habit_code(reading: Reading) -> str:
    """Return the kind of fault that the habit of the whole set is, "" where it is none."""
    if reading.said and reading.habit != "palettes":
        return ""
    return {
        "binary": "mask-0-255",
        "scaled": "mask-scaled",
        "shifted": "label-shift",
        "colours": "mask-rgb" if reading.named else "colours-unknown",
        "palettes": "palette-differs",
        "instances": "instance-numbers",
    }.get(reading.habit, "")


def _fits(mask: MaskFacts, table: Mapping[int, int]) -> bool:
    return mask.distinct == len(mask.values) and all(value in table for value in mask.values)


def _identity(reading: Reading) -> dict[int, int]:
    return {IGNORED: IGNORED, **{label: label for label in range(reading.count)}}


def _numbers(mask: MaskFacts, reading: Reading) -> Diagnosis:
    """Judge whole numbers in a set of whole numbers."""
    plain = Recipe(table=reading.table)
    if not palette_agrees(mask, reading.palette) and len(mask.palette) > 1:
        return _permuted(mask, reading)
    if _fits(mask, reading.table):
        return _fitting(mask, reading, plain)
    if is_mixed(mask):
        return _mixed(mask, reading, code="mask-antialiased")
    for code, table in _other_habits(mask, reading):
        return Diagnosis(code=code, detail=_values(mask), recipe=None if table is None else Recipe(table=table))
    if numbers_objects(mask, reading.count):
        recipe = Recipe(threshold=0.5) if reading.count == 2 else None
        return Diagnosis(code="instance-numbers", detail=f"{mask.distinct} values, each of one piece", recipe=recipe)
    outside = {value: pixels for value, pixels in mask.values.items() if value not in reading.table}
    some = sum(outside.values()) < mask.pixels / 2 and mask.distinct == len(mask.values)
    return Diagnosis(
        code="labels-outside",
        detail=f"{_counted(outside)}; classes are 0..{reading.count - 1}",
        recipe=Recipe(table=reading.table, others="ignored") if some else None,
    )


def _fitting(mask: MaskFacts, reading: Reading, plain: Recipe) -> Diagnosis:
    """Judge a mask whose values all are such as the set has: some faults hide among them."""
    ignored = mask.values.get(IGNORED, 0) / mask.pixels
    if reading.habit == "labels" and ignored > max(reading.ignored, 0.01) and set(mask.values) <= {0, IGNORED}:
        recipe = Recipe(table={0: 0, IGNORED: 1}) if reading.count == 2 else None
        return Diagnosis(code="mask-0-255", detail=_values(mask), recipe=recipe)
    if reading.count > 2 and not reading.lined and is_mixed(mask):
        return _mixed(mask, reading, code="mask-antialiased")
    if reading.habit == "labels" and _seems_shifted(mask, reading):
        return Diagnosis(code="label-shift", detail=_values(mask), recipe=Recipe(table=_shifted(reading)))
    if is_deep(mask) and not reading.deep:
        return Diagnosis(code="mask-16-bit", detail=f"{mask.mode}, {_values(mask)}", recipe=plain)
    return Diagnosis(code="", detail="", recipe=plain)


def _seems_shifted(mask: MaskFacts, reading: Reading) -> bool:
    """Whether a mask without 0, in a set where all others have it and are framed by it, is framed by 1."""
    usual = reading.zero > 0.98 and reading.frame > 0.9
    return usual and mask.distinct > 1 and mask.low == 1 and mask.frame == 1 and reading.count > 2


def _shifted(reading: Reading) -> dict[int, int]:
    return {IGNORED: IGNORED, **{label + 1: label for label in range(reading.count)}}


def _other_habits(mask: MaskFacts, reading: Reading) -> list[tuple[str, dict[int, int] | None]]:
    """Return what the values may be instead, the likeliest first; None for labels that are lost."""
    nonzero = [int(value) for value in mask.values if value not in (0, IGNORED)]
    if mask.distinct > len(mask.values) or mask.low < 0:
        return []
    if _fits(mask, _identity(reading)):
        return [("odd-encoding", _identity(reading))]
    if nonzero and 0 not in mask.values and reading.habit == "labels" and _fits(mask, _shifted(reading)):
        return [("label-shift", _shifted(reading))]
    wide = [value for value in mask.values if value]
    deep = is_deep(mask) and all(value % 257 == 0 for value in wide)
    steps = [257] if deep and max(wide, default=0) // 257 < reading.count else []
    steps += [255 // (reading.count - 1)]
    steps += [math.gcd(*(int(value) for value in wide))] if len(wide) > 1 else []
    for step in steps:
        table = {step * label: label for label in range(reading.count)}
        if step > 1 and reading.count > 2 and _fits(mask, table):
            return [("mask-16-bit" if step == 257 else "mask-scaled", table)]
    if len(wide) == 1:
        return [("mask-0-255", {0: 0, int(wide[0]): 1} if reading.count == 2 else None)]
    return []


def _permuted(mask: MaskFacts, reading: Reading) -> Diagnosis:
    """Read a mask by its colours, whose palette gives them other numbers than the other palettes do."""
    known = all(colour in reading.colours for colour in mask.palette.values())
    moved = [value for value, colour in mask.palette.items() if reading.palette.get(value, colour) != colour]
    return Diagnosis(
        code="palette-differs",
        detail=f"the palette gives {', '.join(map(str, moved[:8]))} the colours of other classes",
        recipe=Recipe(layer="palette", table=reading.colours) if known else None,
    )


def _mixed(mask: MaskFacts, reading: Reading, *, code: str) -> Diagnosis:
    """Read an anti-aliased or lossy mask of numbers by the values that its surfaces have."""
    table = _nearest_table(mask, reading)
    share = mask.texture.between / max(mask.texture.border, 1)
    detail = (
        f"{mask.distinct} values; {share:.0%} of the border lies between its sides" if share > 0.02 else _values(mask)
    )
    if table is None:
        return Diagnosis(code=code, detail=detail, recipe=None)
    return Diagnosis(code=code, detail=detail, recipe=Recipe(table=table, others="nearest", thin=True))


def _nearest_table(mask: MaskFacts, reading: Reading) -> dict[int, int] | None:
    """Return the table in which the values of the surfaces lie: the set's, labels, multiples of a step, or 0 and another."""
    table = {value: label for value, label in reading.table.items() if label != IGNORED}
    span = max(table, default=0)
    if table and span <= mask.high + 2 and mask.high <= span + max(2, 0.1 * span):
        return table
    if mask.high <= reading.count + 1:
        return {label: label for label in range(reading.count)}
    if reading.count == 2:
        return {0: 0, int(mask.high): 1}
    step = 255 // (reading.count - 1)
    scaled = {step * label: label for label in range(reading.count)}
    near = sum(pixels for value, pixels in mask.values.items() if min(abs(value - key) for key in scaled) <= step / 16)
    used = [key for key in scaled if any(abs(value - key) <= 2 for value in mask.values)]
    return scaled if near > 0.8 * mask.pixels and len(used) > 2 else None


def _lossy(mask: MaskFacts, reading: Reading) -> Diagnosis:
    if mask.coloured:
        found = _foreign_colours(mask, reading)
        return replace(found, code="mask-lossy", detail=f"{mask.format}: {mask.distinct} colours")
    found = _mixed(mask, reading, code="mask-lossy")
    return replace(found, detail=f"{mask.format}: {mask.distinct} values from {mask.low:g} to {mask.high:g}")


def _float(mask: MaskFacts, reading: Reading) -> Diagnosis:
    """Judge numbers of a type for fractions."""
    if mask.whole:
        return replace(_numbers(mask, reading), code="mask-float", detail=f"{mask.mode}, {_values(mask)}")
    if mask.low >= 0 and mask.high <= 1:
        recipe = Recipe(threshold=0.5) if reading.count == 2 else None
        return Diagnosis(
            code="mask-probabilities", detail=f"{mask.mode} from {mask.low:g} to {mask.high:g}", recipe=recipe
        )
    return Diagnosis(code="mask-float", detail=f"{mask.mode} from {mask.low:g} to {mask.high:g}", recipe=None)


def _in_alpha(mask: MaskFacts, reading: Reading) -> Diagnosis:
    """Read a transparent mask: by its colours where these are labels, else by its opacity."""
    opaque = replace(mask, alpha={}, palette={} if not mask.palette else mask.palette)
    inner = diagnose(opaque, reading) if mask.distinct > 1 else Diagnosis(code="", detail="", recipe=None)
    detail = f"{len(mask.alpha)} levels of opacity, {mask.distinct} colour{'s' if mask.distinct > 1 else ''}"
    recipe = inner.recipe if inner.code in ("", "mask-rgb", "mask-scaled", "odd-encoding") else None
    if recipe is None and reading.count == 2:
        recipe = Recipe(layer="alpha", threshold=127.5)
    return Diagnosis(code="mask-alpha", detail=detail, recipe=recipe)


def _foreign_colours(mask: MaskFacts, reading: Reading) -> Diagnosis:
    """Judge a mask in colours in a set of numbers: the palettes of the others, or the user, may tell the colours."""
    inside = sum(pixels for code, pixels in mask.values.items() if code in reading.colours)
    if not reading.colours or inside < (0 if mask.inexact else 0.5) * mask.pixels:
        return Diagnosis(code="colours-unknown", detail=_hex(mask), recipe=None)
    if inside == mask.pixels:
        return Diagnosis(code="mask-rgb", detail=_hex(mask), recipe=Recipe(table=reading.colours))
    # Most of it in the classes' colours and the rest many others is anti-aliasing; a few others are classes of their own.
    blurred = mask.inexact or inside >= _MOSTLY * mask.pixels or mask.distinct > 64
    recipe = Recipe(table=reading.colours, others="nearest") if blurred else None
    return Diagnosis(code="mask-antialiased" if blurred else "colours-unknown", detail=_hex(mask), recipe=recipe)


def _colours(mask: MaskFacts, reading: Reading) -> Diagnosis:
    """Judge a mask in a set whose labels are colours."""
    if mask.palette and not mask.coloured:
        known = all(colour in reading.table for colour in mask.palette.values())
        recipe = Recipe(layer="palette", table=reading.table) if known else None
        return Diagnosis(code="" if known else "colours-unknown", detail=_values(mask), recipe=recipe)
    if not mask.coloured:
        grey = {int(value) * 0x010101: pixels for value, pixels in mask.values.items()}
        if all(code in reading.table for code in grey):
            table = {code & 255: label for code, label in reading.table.items() if code % 0x010101 == 0}
            return Diagnosis(code="", detail="", recipe=Recipe(table=table))
        identity = _identity(reading)
        fits = _fits(mask, identity)
        return Diagnosis(code="odd-encoding", detail=_values(mask), recipe=Recipe(table=identity) if fits else None)
    found = _foreign_colours(mask, reading)
    return replace(found, code="") if found.code == "mask-rgb" else found


def _values(mask: MaskFacts) -> str:
    """Name the values that occur, in short."""
    if mask.coloured:
        return _hex(mask)
    shown = ", ".join(f"{value:g}" for value in list(mask.values)[:8])
    return f"values {shown}" + (f" and {mask.distinct - 8} more" if mask.distinct > 8 else "")


def _counted(values: Mapping[float, int]) -> str:
    """Name values with their pixels, the most frequent first."""
    order = sorted(values, key=lambda value: -values[value])
    shown = ", ".join(f"{value:g} ({values[value]:,} pixel{'s' if values[value] > 1 else ''})" for value in order[:4])
    return shown + (f" and {len(order) - 4} more values" if len(order) > 4 else "")


def _hex(mask: MaskFacts) -> str:
    order = sorted(mask.values, key=lambda value: -mask.values[value])
    shown = ", ".join(f"#{int(value):06x}" for value in order[:4])
    return f"{mask.distinct} colours: {shown}" + (", ..." if mask.distinct > 4 else "")
