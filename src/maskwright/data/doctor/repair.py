"""The clean copy: what can be had back exactly is, what cannot is left out and listed; the user's files are only read."""

import csv
import io
import unicodedata
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from ...errors import DataError, MaskwrightError
from ...files import link_or_copy, write_text
from ..io import read_image, write_mask, write_picture
from .checks import SUFFIXES
from .diagnosis import habit_code
from .examination import Examination
from .facts import Probe
from .kinds import KINDS
from .recipe import Recipe, apply_recipe
from .remarks import class_names
from .samples import read_samples, turned

FIXES = "fixes.csv"
"""File in the copy that says what was done with every file."""

_PARTS = ("train", "val", "test")
"""From the first read to the last scored."""

_KEPT_SUFFIXES = frozenset({".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """How one sample comes into the copy.

    Attributes:
        image, mask: its files.
        to_image, to_mask: files of the copy.
        drawn: the image is decoded, turned upright and stored anew, rather than linked.
        recipe: gives the labels; None links the mask as it is.
        turn: EXIF orientation that the mask has to be turned from.
        done: in words; empty where nothing was wrong.
    """

    image: Path
    mask: Path
    to_image: Path
    to_mask: Path
    drawn: bool
    recipe: Recipe | None
    turn: int
    done: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All steps, and what is left out: its name and why."""

    steps: tuple[Step, ...]
    left_out: tuple[tuple[str, str], ...]
    names: tuple[str, ...]


def plan_copy(examination: Examination) -> Plan:
    """Decide what becomes of every sample."""
    dropped = twins_to_drop(examination)
    parts = sorted({probe.item.part for probe in examination.probes} - {""}, key=_PARTS.index)
    names_taken: Counter[str] = Counter()
    steps, left_out = [], []
    for index, probe in enumerate(examination.probes):
        why = dropped.get(index) or _why_left_out(examination, index, probe, bool(parts))
        if why:
            left_out.append((examination.image_name(index) if probe.item.images else examination.mask_name(index), why))
            continue
        part = probe.item.part
        stem = unicodedata.normalize("NFC", probe.item.name).strip()
        names_taken[f"{part}/{stem.casefold()}"] += 1
        if names_taken[f"{part}/{stem.casefold()}"] > 1:
            stem += f"_{names_taken[f'{part}/{stem.casefold()}']}"
        steps.append(_step(examination, index, probe, Path(part), stem))
    if not steps:
        raise DataError("no sample can be kept or mended; the findings say why. Mend the files by hand.")
    return Plan(steps=tuple(steps), left_out=tuple(left_out), names=class_names(examination))


def take_step(step: Step, *, root: Path) -> str:
    """Put one sample into the copy at `root`; return why it could not be, or ""."""
    try:
        if step.drawn:
            write_picture(root / step.to_image, read_image(step.image))
        else:
            link_or_copy(step.image, root / step.to_image)
        if step.recipe is None:
            link_or_copy(step.mask, root / step.to_mask)
        else:
            labels = apply_recipe(read_samples(step.mask, step.mask.read_bytes()), step.recipe)
            write_mask(root / step.to_mask, turned(labels, step.turn))
    except (MaskwrightError, ValueError, OSError) as error:
        for path in (step.to_image, step.to_mask):
            with suppress(OSError):
                (root / path).unlink()
        return str(error)
    return ""


def write_classes(root: Path, names: Sequence[str]) -> None:
    """Write the names of the classes into the copy."""
    write_text(root / "classes.yaml", yaml.safe_dump({"names": list(names)}, allow_unicode=True, sort_keys=False))


def write_fixes(root: Path, left_out: Sequence[tuple[str, str]], mended: Sequence[tuple[str, str]]) -> None:
    """Write what was done into the copy: files that are not in it and why, and files that were mended and how."""
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(["file", "done", "what"])
    table.writerows([name, "left out", why] for name, why in left_out)
    table.writerows([name, "mended", how] for name, how in mended)
    write_text(root / FIXES, stream.getvalue())


def twins_to_drop(examination: Examination) -> dict[int, str]:
    """Return the samples that stand in a later-scored part too, and why they are left out."""
    dropped = {}
    for twins in examination.twins:
        pair = [twins.first, twins.second]
        parts = [examination.probes[index].item.part for index in pair]
        if twins.same and all(parts) and parts[0] != parts[1]:
            earlier, later = sorted(pair, key=lambda index: _PARTS.index(examination.probes[index].item.part))
            dropped[earlier] = f"same-image: the same picture as {examination.image_name(later)}"
    return dropped


def _why_left_out(examination: Examination, index: int, probe: Probe, parted: bool) -> str:
    item = probe.item
    if parted and not item.part:
        return "not-in-a-part: no list names it"
    for problem in probe.problems.values():
        return f"{problem.code}: {problem.words}"
    if not item.images or not item.masks:
        return f"missing-{'mask' if item.images else 'image'}"
    if len(item.images) > 1 or len(item.masks) > 1:
        return "duplicate-stem: which file belongs to which is not known"
    if probe.fit is None or probe.fit.turn is None:
        return "size-differs: image and mask do not fit"
    diagnosis = examination.diagnoses[index]
    if diagnosis.recipe is None:
        return f"{diagnosis.code}: {KINDS[diagnosis.code].title}, {diagnosis.detail}"
    return ""


def _step(examination: Examination, index: int, probe: Probe, part: Path, stem: str) -> Step:
    assert probe.image is not None and probe.mask is not None and probe.fit is not None and probe.fit.turn is not None
    image, mask = probe.item.images[0], probe.item.masks[0]
    diagnosis = examination.diagnoses[index]
    usual = SUFFIXES[probe.image.format]
    suffix = image.suffix.lower() if image.suffix.lower() in usual else usual[0]
    drawn = probe.image.orientation != 1 or suffix not in _KEPT_SUFFIXES
    reading = examination.reading
    plain = reading is not None and reading.habit == "labels" and not diagnosis.code and probe.mask.mode in ("L", "P")
    as_it_is = plain and probe.mask.format == "PNG" and probe.mask.orientation == 1 == probe.fit.turn
    as_it_is = as_it_is and all(value == label for value, label in reading.table.items()) if reading else False
    done = [] if as_it_is else [_words(diagnosis.code or _habit_words(examination), diagnosis.detail)]
    done += [f"mask turned (EXIF orientation {probe.fit.turn})"] if probe.fit.turn != probe.fit.usual else []
    done += [f"name-differs: its image is {image.name}"] if probe.item.renamed else []
    done += [f"image named {suffix}"] if suffix != image.suffix.lower() else []
    done += ["image stored upright"] if probe.image.orientation != 1 else []
    done += ["image stored as PNG"] if suffix not in _KEPT_SUFFIXES else []
    return Step(
        image=image,
        mask=mask,
        to_image=part / "images" / f"{stem}{'.png' if drawn else suffix}",
        to_mask=part / "masks" / f"{stem}.png",
        drawn=drawn,
        recipe=None if as_it_is else diagnosis.recipe,
        turn=probe.fit.turn,
        done="; ".join(words for words in done if words),
    )


def _words(code: str, detail: str) -> str:
    return f"{code}: {detail}" if code and detail else code


def _habit_words(examination: Examination) -> str:
    return habit_code(examination.reading) if examination.reading is not None else ""
