"""What an inspection knows at its end; the checks and the repair read it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .diagnosis import Diagnosis
from .encoding import Known, Reading
from .facts import MaskFacts, Probe
from .recipe import IGNORED, Recipe
from .twins import Twins


@dataclass(frozen=True, kw_only=True, slots=True)
class Examination:
    """A data set after every file was read once.

    Attributes:
        root: of the data set; names in findings are paths below it.
        probes: facts of every sample, by part and name.
        known: what the user says of the classes.
        reading: the habit of the masks; None where a reader gave the labels.
        diagnoses: of every mask that was read, by the index of its sample.
        twins: pictures that stand there twice.
        licences: files that may tell the licence.
        notes: what was odd in annotations of another tool, each with its file.
        broken: annotations that could not be read at all.
    """

    root: Path
    probes: tuple[Probe, ...]
    known: Known
    reading: Reading | None
    diagnoses: Mapping[int, Diagnosis]
    twins: tuple[Twins, ...] = ()
    licences: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()

    def shown(self, path: Path) -> str:
        """Return a path as reports name it."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)

    def mask_name(self, index: int) -> str:
        """Return what the mask of a sample is called."""
        item = self.probes[index].item
        return self.shown(item.masks[0]) if item.masks else item.title

    def image_name(self, index: int) -> str:
        """Return what the image of a sample is called."""
        item = self.probes[index].item
        return self.shown(item.images[0]) if item.images else item.title


def label_counts(mask: MaskFacts, recipe: Recipe) -> dict[int, int]:
    """Return the pixels of each label from those of each stored value; values without a label are left out."""
    counts: Counter[int] = Counter()
    for value, pixels in (mask.alpha if recipe.layer == "alpha" else mask.values).items():
        stored = mask.palette.get(int(value), -1) if recipe.layer == "palette" else value
        if recipe.threshold is not None:
            counts[int(stored >= recipe.threshold)] += pixels
        elif stored in recipe.table:
            counts[recipe.table[int(stored)]] += pixels
    return {label: pixels for label, pixels in sorted(counts.items()) if label != IGNORED}
