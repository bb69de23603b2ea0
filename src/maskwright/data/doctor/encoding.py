"""What the stored values of a whole set of masks mean.

The set is read before its masks: 500 masks of 0 and 255 are one habit, one such mask among labels is a mistake. A habit is
what most masks share. What the user says (class names, their number, colours) comes before what the masks suggest.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from .facts import MaskFacts
from .recipe import IGNORED

Habit = Literal["labels", "binary", "scaled", "shifted", "colours", "palettes", "instances", "unknown"]
"""How most masks store their labels: as they are; 0 and one other value; multiples of a number; counted from 1; as colours;
as colours of palettes that differ between files; as numbers of objects; or in no way that can be told."""

_MOST = 0.8
_ODD = 0.1
"""Share of the masks up to which something is a mistake and no habit."""

_SURFACE = 0.02
"""Share of the pixels of a lossy or anti-aliased mask that a value must have to be a label's."""

_NEAR_COLOURS = 48
"""Euclidean distance in RGB up to which colours of lossy masks are one."""

_FEW_LABELS = 64
_GAP = 0.05
"""Share of the masks that must hold a value for which twice as many numbers are skipped as there are labels."""

_LINES = 0.5
"""Share of the pixels of the labels between others that must be line for these to be lines and no surfaces."""

BETWEEN_SHARE = 0.1
"""Of the border pixels: beyond it a mask is anti-aliased. Hand-drawn masks of many classes reach 0.03 (CamVid)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What the user says of the classes.

    Attributes:
        count: of classes, the background included; None where nobody says.
        names: of them, as far as they are known.
        ignore: a stored value that means ignored, besides 255.
        foreground: the one value beside 0 in binary masks.
        colours: 24-bit code → label.
        own: all this stands in the data set's own `classes.yaml`, where a training run reads it too.
    """

    count: int | None = None
    names: tuple[str, ...] = ()
    ignore: int | None = None
    foreground: int | None = None
    colours: Mapping[int, int] = field(default_factory=dict)
    own: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """The habit of a set.

    Attributes:
        habit: of most masks.
        table: stored value (colour code where the habit is colours or palettes) → label, 255 = ignored.
        count: of classes.
        colours: 24-bit code → label, from the user or from the palettes; for masks in colours.
        palette: the colour that most palettes give to each value.
        said: the set's own `classes.yaml` states the habit, so it is no finding.
        named: the colours are the user's.
        frame: share of the masks whose value along the edges of the picture is most often 0.
        zero: share of the masks that hold 0.
        ignored: largest share of pixels that a mask with labels has of 255.
        deep: most masks have more than 8 bits.
        lined: a label runs as a line between two others, so that values between those of both sides mean nothing.
    """

    habit: Habit
    table: Mapping[int, int]
    count: int
    colours: Mapping[int, int] = field(default_factory=dict)
    palette: Mapping[int, int] = field(default_factory=dict)
    said: bool = False
    named: bool = False
    frame: float = 0.0
    zero: float = 0.0
    ignored: float = 0.0
    deep: bool = False
    lined: bool = False


def is_deep(mask: MaskFacts) -> bool:
    """Whether a mask has whole numbers of more than 8 bits."""
    return mask.mode.startswith("I") or mask.mode in ("uint16", "int16", "uint32", "int32", "int64", "uint64")


def varies_in_opacity(mask: MaskFacts) -> bool:
    """Whether the alpha channel says anything."""
    return len(mask.alpha) > 1


def is_clean(mask: MaskFacts) -> bool:
    """Whether the values of a mask can be labels of some kind: whole, exact, few, and not mixed along the borders."""
    return _is_exact(mask) and not is_mixed(mask)


def _is_exact(mask: MaskFacts) -> bool:
    plain = mask.whole and not mask.inexact and not mask.coloured and not varies_in_opacity(mask)
    return plain and mask.distinct <= _FEW_LABELS


def is_mixed(mask: MaskFacts) -> bool:
    """Whether the values along the borders lie between those on both sides, as anti-aliasing makes them."""
    return mask.texture.border >= 50 and mask.texture.between > BETWEEN_SHARE * mask.texture.border


def _has_lines(masks: Sequence[MaskFacts]) -> bool:
    """Whether a label of its own runs as a line between two others, such as the outline of cells.

    Anti-aliasing makes such lines too, but of many values, or of labels that elsewhere have surfaces.
    """
    mixed = [mask for mask in masks if is_mixed(mask)]
    if len(mixed) <= (1 - _MOST) * len(masks):
        return False
    values = {value for mask in mixed for value in mask.values if value != IGNORED}
    inner = sum(pixels for mask in mixed for value, pixels in mask.values.items() if mask.low < value < mask.high)
    between = sum(mask.texture.between for mask in mixed)
    return max(values, default=0) <= len(values) and between >= _LINES * inner


def read_set(masks: Sequence[MaskFacts], known: Known) -> Reading:
    """Tell the habit of a set of masks."""
    palette = _common_palette(masks)
    if masks and sum(mask.coloured for mask in masks) > len(masks) / 2:
        return _read_colours(masks, known)
    if _palettes_differ(masks, palette):
        return _read_colours(masks, known, habit="palettes")
    lined = _has_lines([mask for mask in masks if _is_exact(mask)])
    clean = [mask for mask in masks if is_clean(mask) or (lined and _is_exact(mask))]
    if len(clean) < _ODD * len(masks):
        clean = [_surfaces(mask) for mask in masks if mask.whole and not mask.coloured]
    if len(clean) < len(masks) / 2 and _holds_numbers(masks):
        return Reading(habit="instances", table={}, count=known.count or 2, deep=_deep(masks))
    habit, table, count, said = _read_values(_witnesses(clean), known)
    colours = dict(known.colours) or {colour: table[value] for value, colour in palette.items() if value in table}
    labelled = [mask for mask in clean if any(value not in (0, IGNORED) for value in mask.values)]
    return Reading(
        habit=habit,
        table=table,
        count=count,
        colours=colours,
        palette=palette,
        said=said,
        frame=_share(mask.frame == 0 for mask in clean),
        zero=_share(0 in mask.values for mask in clean),
        ignored=max((mask.values.get(IGNORED, 0) / mask.pixels for mask in labelled), default=0.0),
        deep=_deep(masks),
        lined=lined,
    )


def _surfaces(mask: MaskFacts) -> MaskFacts:
    """Leave out the values of a lossy or anti-aliased mask that have no surface."""
    values = {value: pixels for value, pixels in mask.values.items() if pixels >= _SURFACE * mask.pixels}
    return replace(mask, values=values, distinct=len(values))


def _witnesses(masks: Sequence[MaskFacts]) -> list[MaskFacts]:
    """Leave out the few masks that look like numbers of objects, or hold no 0 where nearly all do: they would vouch for
    labels that are none."""
    numbered = [numbers_objects(mask, 2) for mask in masks]
    zero = [0 in mask.values for mask in masks]
    if _share(numbered) > _ODD:
        numbered = [False] * len(masks)
    if _share(zero) < 1 - _ODD:
        zero = [True] * len(masks)
    return [mask for mask, number, has in zip(masks, numbered, zero, strict=True) if has and not number]


def numbers_objects(mask: MaskFacts, count: int) -> bool:
    """Whether the values look like numbers of objects: 0, 1, 2, ... beyond the classes, each of one piece or hardly more."""
    values = [value for value in mask.values if value not in (0, IGNORED)]
    if not mask.whole or mask.coloured or len(values) < 5 or len(values) < count or not mask.pieces:
        return False
    dense = max(values) <= 1.5 * len(values) + 2
    single = sum(mask.pieces.get(value, 0) <= 2 for value in values)
    return dense and single >= 0.9 * len(values)


def _holds_numbers(masks: Sequence[MaskFacts]) -> bool:
    return _share(numbers_objects(mask, 2) or mask.distinct > 256 for mask in masks if not mask.coloured) > 0.5


def _read_values(masks: Sequence[MaskFacts], known: Known) -> tuple[Habit, dict[int, int], int, bool]:
    """Return habit, table, number of classes, and whether the user said so."""
    stated = _stated(known)
    if stated and (not masks or _fits(masks, stated) >= _MOST):
        return ("binary" if known.foreground else "labels"), stated, known.count or 2, known.own
    if known.count is None and _share(numbers_objects(mask, 2) for mask in masks) > 0.5 and _many_numbers(masks):
        return "instances", {}, 2, False
    core = _core(masks)
    for habit, table in _guesses(core, known.count):
        if _fits(masks, table) >= _MOST:
            return habit, table, known.count or max((v for v in table.values() if v != IGNORED), default=1) + 1, False
    if stated:
        return "unknown", stated, known.count or 2, False
    return _plain_labels(masks, core)


def _stated(known: Known) -> dict[int, int]:
    """Return the table that the user's words make; empty where they say nothing."""
    if known.foreground is not None:
        table = {0: 0, known.foreground: 1}
    elif known.count is not None:
        table = {label: label for label in range(known.count)}
    else:
        return {}
    if known.ignore is not None:
        table[known.ignore] = IGNORED
    return {IGNORED: IGNORED, **table}


def _core(masks: Sequence[MaskFacts]) -> list[int]:
    """Return the values that are no mask's alone: in at least two masks and one in a hundred."""
    occurs = Counter(int(value) for mask in masks for value in mask.values)
    least = 1 if len(masks) < 4 else max(2, math.ceil(0.01 * len(masks)))
    return sorted(value for value, count in occurs.items() if count >= least)


def _guesses(core: Sequence[int], count: int | None) -> list[tuple[Habit, dict[int, int]]]:
    """Return what the common values may mean, the likeliest first; plain labels are not among them."""
    found: list[tuple[Habit, dict[int, int]]] = []
    nonzero = [value for value in core if value]
    below = [value for value in nonzero if value != IGNORED]
    if len(nonzero) == 1 and nonzero[0] > 1 and count in (None, 2):
        found.append(("binary", {0: 0, nonzero[0]: 1}))
    if not below or min(core) < 0:
        return found
    step = math.gcd(*nonzero)
    dense = 2 * len(nonzero) >= nonzero[-1] // step
    if step >= 5 and len(nonzero) > 1 and dense and (count is None or nonzero[-1] // step < count):
        found.append(("scaled", {value: value // step for value in (0, *nonzero)}))
    even = [round(rank * nonzero[-1] / len(nonzero)) for rank in range(1, len(nonzero) + 1)]
    near = all(abs(value - other) <= 1 for value, other in zip(nonzero, even, strict=True))
    if nonzero[-1] in (254, IGNORED) and min(even) >= 5 and near and count in (None, len(nonzero) + 1):
        found.append(("scaled", {0: 0, **{value: rank for rank, value in enumerate(nonzero, start=1)}}))
    first = 0 if count is not None and max(below) == count and 0 in core else 1
    if min(below) == 1 and (0 not in core or first == 0) and len(below) > 1 and max(below) <= len(below) + 1:
        table = {value: value - 1 for value in range(1, max(below) + 1)}
        found.append(("shifted", {**table, IGNORED: IGNORED, **({0: IGNORED} if first == 0 else {})}))
    return found


def _plain_labels(masks: Sequence[MaskFacts], core: Sequence[int]) -> tuple[Habit, dict[int, int], int, bool]:
    """Take the common values for labels, and rarer ones that go on counting where these end."""
    occurs = Counter(int(value) for mask in masks for value in mask.values)
    last = 1
    for value in core:
        if value >= IGNORED or (value > 2 * last + 2 and occurs[value] < _GAP * len(masks)):
            break
        last = max(last, value)
    # A mask without 0 is no witness: it may be one that counts from 1.
    tops = {max((int(v) for v in mask.values if v != IGNORED), default=0) for mask in masks if 0 in mask.values}
    while last + 1 in tops and last + 1 < IGNORED:
        last += 1
    return "labels", {**{label: label for label in range(last + 1)}, IGNORED: IGNORED}, last + 1, False


def _fits(masks: Sequence[MaskFacts], table: Mapping[int, int]) -> float:
    return _share(all(value in table for value in mask.values) for mask in masks)


def _many_numbers(masks: Sequence[MaskFacts]) -> bool:
    """Whether the largest value changes from mask to mask, as the number of objects does and that of classes does not."""
    largest = Counter(mask.high for mask in masks if mask.distinct > 1)
    return len(largest) > 2 and max(largest.values()) <= max(1, 0.5 * sum(largest.values()))


def _common_palette(masks: Sequence[MaskFacts]) -> dict[int, int]:
    votes: dict[int, Counter[int]] = {}
    for mask in masks:
        for value, colour in mask.palette.items():
            votes.setdefault(value, Counter())[colour] += 1
    return {value: count.most_common(1)[0][0] for value, count in sorted(votes.items())}


def palette_agrees(mask: MaskFacts, palette: Mapping[int, int]) -> bool:
    """Whether no value of a mask has a colour that the other palettes give to another value."""
    value_of = {colour: value for value, colour in palette.items()}
    return all(value_of.get(colour, value) == value for value, colour in mask.palette.items())


def _palettes_differ(masks: Sequence[MaskFacts], palette: Mapping[int, int]) -> bool:
    """Whether so many palettes disagree that only the colours can be what counts."""
    having = [mask for mask in masks if mask.palette]
    if len(having) <= len(masks) / 2 or len(set(palette.values())) < 2:
        return False
    return _share(palette_agrees(mask, palette) for mask in having) < _MOST


def _read_colours(
    masks: Sequence[MaskFacts], known: Known, *, habit: Literal["colours", "palettes"] = "colours"
) -> Reading:
    """Read a set whose labels are colours: those that the user names, else those that several masks share."""
    table = dict(known.colours) or {code: label for label, code in enumerate(_common_colours(masks))}
    count = known.count or max((label for label in table.values() if label != IGNORED), default=1) + 1
    return Reading(
        habit=habit,
        table=table,
        count=max(count, 2),
        colours=table,
        said=bool(known.colours) and known.own,
        named=bool(known.colours),
    )


def _common_colours(masks: Sequence[MaskFacts]) -> list[int]:
    """Return the colours of several masks, black first, then by the masks that have them; near ones once if lossy."""
    occurs: Counter[int] = Counter()
    for mask in masks:
        occurs.update(_colours_of(mask))
    least = 1 if len(masks) < 4 else max(2, math.ceil(0.01 * len(masks)))
    ordered = sorted((code for code in occurs if occurs[code] >= least), key=lambda code: (-occurs[code], code))
    if _share(bool(mask.inexact) for mask in masks) > _ODD:
        kept: list[int] = []
        for code in ordered:
            if all(_distance(code, other) > _NEAR_COLOURS for other in kept):
                kept.append(code)
        ordered = kept
    return sorted(ordered, key=lambda code: (code != 0, _distance(code, 0) > _NEAR_COLOURS / 2))[: IGNORED - 1]


def _distance(one: int, other: int) -> float:
    """Return how far two 24-bit colours are apart."""
    return math.dist(*([code >> 16, code >> 8 & 255, code & 255] for code in (one, other)))


def _colours_of(mask: MaskFacts) -> set[int]:
    if mask.coloured:
        least = _SURFACE / 4 if mask.inexact else 0.0005
        return {int(code) for code, count in mask.values.items() if count > least * mask.pixels}
    if mask.palette:
        return set(mask.palette.values())
    return {int(value) * 0x010101 for value in mask.values if 0 <= value <= 255 and mask.distinct <= _FEW_LABELS}


def _deep(masks: Sequence[MaskFacts]) -> bool:
    return _share(is_deep(mask) for mask in masks) > 0.5


def _share(tests: Iterable[bool]) -> float:
    results = list(tests)
    return sum(results) / len(results) if results else 0.0
