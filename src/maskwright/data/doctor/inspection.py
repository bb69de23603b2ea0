"""From a data set to its examination: every file is read once, by several processes, and the set judged as a whole."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import ConfigError, DataError, MaskwrightError
from ...types import Dataset, Sample
from ..classes import ClassTable, load_classes, read_class_table
from ..folder import read_sample
from ..formats import AnnotationSet
from .checks import check_all
from .diagnosis import Diagnosis, diagnose
from .encoding import Known, read_set
from .examination import Examination
from .facts import Item, Probe, Problem
from .kinds import Finding, in_order
from .probe import probe, probe_arrays
from .recipe import IGNORED, Recipe
from .remarks import remark_all
from .sources import find_items
from .twins import find_twins
from .workers import spread


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to inspect, and what is known of it.

    Args:
        images, masks: folders, where they have no usual names.
        classes: table of the classes, of any form that `read_class_table` reads; else the set's own `classes.yaml`.
        num_classes: how many classes there are, the background included, where there is no table.
        workers: processes that read.
    """

    images: Path | None = None
    masks: Path | None = None
    classes: Path | None = None
    num_classes: int | None = None
    workers: int = 2

    def __post_init__(self) -> None:
        if self.num_classes is not None and not 2 <= self.num_classes <= 255:
            raise ConfigError(f"num_classes is {self.num_classes}; expected 2 to 255, the background included")
        if self.workers < 0:
            raise ConfigError(f"workers is {self.workers}; expected 0 or more")


Progress = Callable[[Iterator[tuple[int, Probe]], int], Iterator[tuple[int, Probe]]]
"""Passes results on, and shows how far they are of so many."""


class MissingPicture(DataError):
    """An annotation whose picture was not found."""


class AnnotatedPart:
    """One part of a set of annotations of any tool; satisfies `Dataset`.

    Args:
        annotations: all of the set.
        part: which of it.
    """

    def __init__(self, annotations: AnnotationSet, part: str) -> None:
        self.items = tuple(item for item in annotations.items if item.part == part)
        self.classes = annotations.classes
        self.names = tuple(item.name for item in self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        """Read the picture and draw the labels.

        Raises:
            MissingPicture: there is none.
            ImageError, DataError: it cannot be read, or differs in size.
        """
        item = self.items[index]
        if item.image is not None:
            return read_sample(item.name, item.image, item.labels(), mask=f"of {item.name}")
        if item.embedded is None:
            raise MissingPicture(
                f"{item.name}: its picture was not found; expected it beside the annotations, or --images"
            )
        with tempfile.NamedTemporaryFile() as file:
            file.write(item.embedded())
            file.flush()
            return read_sample(item.name, Path(file.name), item.labels(), mask=f"of {item.name}")


class ReaderProbe:
    """Reads the samples of a data set by its own reader; can be pickled where the data set can."""

    def __init__(self, parts: Mapping[str, Dataset]) -> None:
        self.parts = parts

    def __call__(self, item: Item) -> Probe:
        """Return the facts of one sample; what its reader refuses is a problem of its image."""
        try:
            sample = self.parts[item.part][item.index]
        except MaskwrightError as error:
            code = "missing-image" if isinstance(error, MissingPicture) else "damaged-file"
            code = "size-differs" if "expected the same" in str(error) else code
            return Probe(item=item, problems={Path(item.name): Problem(code=code, words=str(error))})
        labels = None if sample.target is None else sample.target.numpy()
        return probe_arrays(item, sample.image.permute(1, 2, 0).numpy(), labels)


def inspect_folder(root: Path, options: Options, progress: Progress) -> Examination:
    """Inspect pictures and masks in a folder.

    Raises:
        DataError: no folder, or nothing in it looks like pictures; a class table that cannot be read.
    """
    known = _known(root, options)
    found = find_items(root, images=options.images, masks=options.masks)
    probes = _probes(probe, found.items, options.workers, progress)
    reading = read_set([one.mask for one in probes if one.mask is not None], known)
    diagnoses = {index: diagnose(one.mask, reading) for index, one in enumerate(probes) if one.mask is not None}
    return Examination(
        root=root,
        probes=tuple(probes),
        known=known,
        reading=reading,
        diagnoses=diagnoses,
        twins=tuple(find_twins([one.image for one in probes], [one.item.part for one in probes])),
        licences=found.licences,
    )


def inspect_parts(root: Path, parts: Mapping[str, Dataset], options: Options, progress: Progress) -> Examination:
    """Inspect a data set that has a reader of its own, through it: its labels are labels."""
    items = [
        Item(name=name, part=part, index=index) for part, data in parts.items() for index, name in enumerate(data.names)
    ]
    probes = _probes(ReaderProbe(parts), items, options.workers, progress)
    classes = next(iter(parts.values())).classes
    recipe = Recipe(table={IGNORED: IGNORED, **{label: label for label in range(len(classes))}})
    fine = Diagnosis(code="", detail="", recipe=recipe)
    return Examination(
        root=root,
        probes=tuple(probes),
        known=Known(count=len(classes), names=tuple(classes)),
        reading=None,
        diagnoses={index: fine for index, one in enumerate(probes) if one.mask is not None},
        twins=tuple(find_twins([one.image for one in probes], [one.item.part for one in probes])),
    )


def inspect_annotations(root: Path, annotations: AnnotationSet, options: Options, progress: Progress) -> Examination:
    """Inspect a set of annotations of any tool."""
    parts = {part: AnnotatedPart(annotations, part) for part in sorted({item.part for item in annotations.items})}
    examination = inspect_parts(root, parts, options, progress)
    return replace(examination, notes=tuple(annotations.notes), broken=annotations.broken)


def findings_of(examination: Examination) -> list[Finding]:
    """Return everything that was found, the gravest first."""
    return in_order([*check_all(examination), *remark_all(examination)])


def _probes(function: Callable[[Item], Probe], items: Sequence[Item], workers: int, progress: Progress) -> list[Probe]:
    probes: dict[int, Probe] = {}
    for index, one in progress(spread(function, items, workers=workers), len(items)):
        probes[index] = one
    return [probes[index] for index in range(len(items))]


def _known(root: Path, options: Options) -> Known:
    own = root / "classes.yaml"
    if options.classes is not None:
        if not options.classes.is_file():
            raise DataError(f"{options.classes}: is no file; expected a table of classes.")
        return _words(read_class_table(options.classes), own=options.classes.resolve() == own.resolve())
    table = load_classes(own)
    if table == ClassTable():
        return Known(count=options.num_classes)
    if options.num_classes is not None and table.names is not None and options.num_classes != len(table.names):
        raise ConfigError(f"num_classes is {options.num_classes}, but {own} names {len(table.names)} classes")
    return _words(table, own=True)


def _words(table: ClassTable, *, own: bool) -> Known:
    colours = {_code(colour): label for label, colour in enumerate(table.colours or ())}
    ignored = {_code(colour): IGNORED for colour in table.ignore_colours}
    return Known(
        count=len(table.names) if table.names else None,
        names=table.names or (),
        ignore=table.ignore,
        foreground=table.binary_foreground,
        colours={**colours, **ignored},
        own=own,
    )


def _code(colour: tuple[int, int, int]) -> int:
    return (colour[0] << 16) | (colour[1] << 8) | colour[2]
