"""Everything that the doctor can find, in one table: code, severity, what it means, and what `--fix` does about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
"""error: the file cannot be used, or training or scores would be wrong; warning: worth a look; note: good to know."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One kind of finding.

    Attributes:
        severity: see `Severity`.
        title: a few words.
        explanation: one sentence.
        fix: what `--fix` does, one sentence; "" where nothing is to be done.
    """

    severity: Severity
    title: str
    explanation: str
    fix: str = ""


_LEFT_OUT = "Left out, and listed in fixes.csv."


def _error(title: str, explanation: str, fix: str = _LEFT_OUT) -> Kind:
    return Kind(severity="error", title=title, explanation=explanation, fix=fix)


def _warning(title: str, explanation: str, fix: str = "") -> Kind:
    return Kind(severity="warning", title=title, explanation=explanation, fix=fix)


def _note(title: str, explanation: str) -> Kind:
    return Kind(severity="note", title=title, explanation=explanation)


KINDS: dict[str, Kind] = {
    # Files that cannot be read.
    "empty-file": _error("empty file", "The file has no bytes; a copy or download was cut off."),
    "damaged-file": _error(
        "damaged or unusable file", "The file is truncated or corrupt, or holds what can be no picture and no mask."
    ),
    "not-an-image": _error("not an image", "The content is of no picture format, whatever the name says."),
    "too-large": _error("too large", "The header tells of more pixels than fit in memory; such files serve as bombs."),
    "not-a-file": _error("no regular file", "A folder, a pipe or a link that leads nowhere stands in place of a file."),
    "several-frames": _error("several frames", "An animation or a file of several pages has no single picture to train on."),
    # Files that do not belong together.
    "missing-mask": _error("image without a mask", "Training and scoring need a mask for every image."),
    "missing-image": _error("mask without an image", "The picture was renamed, lost, or never there."),
    "duplicate-stem": _error(
        "two files of one name", "Several files share a name but for their suffix, so which belongs to the other is a guess."
    ),
    "name-differs": _error(
        "names differ in case or form",
        "Image and mask match only when case, Unicode form and spaces are left out of account, which most tools do not do.",
        "Both get the image's name, in Unicode form NFC.",
    ),
    "size-differs": _error("sizes differ", "Image and mask have different sizes, as after cropping or scaling one of them."),
    "orientation": _error(
        "turned against each other",
        "EXIF turns the photograph (or the mask) when it is shown, and the other lies as it is stored.",
        "The mask is turned to the upright image, where sizes or edges tell how; else left out.",
    ),
    # Masks that are not labels.
    "labels-outside": _error(
        "labels outside the classes",
        "The mask holds numbers that are no class; training would fail or learn a class that is not there.",
        "Such pixels become 255 (ignored); a mask of mostly such pixels is left out.",
    ),
    "mask-0-255": _error(
        "0 and 255 instead of labels",
        "The foreground is stored as 255 (or another number) for the eye; as labels, 255 is ignored and nothing is learnt.",
        "Exact: the value becomes label 1; left out where there are several foreground classes.",
    ),
    "mask-scaled": _error(
        "labels stretched over the greys",
        "The labels are multiplied by a step so that they can be seen, and are read as other classes.",
        "Exact: the values become labels in their order.",
    ),
    "label-shift": _error(
        "labels shifted by one",
        "The labels count from 1 (or 0 means unlabelled), so every class is taken for its neighbour.",
        "Exact: one is subtracted; an unlabelled 0 becomes 255 (ignored).",
    ),
    "mask-rgb": _error(
        "classes as colours", "The classes are stored as colours, not as numbers.", "Exact: by the table of colours."
    ),
    "colours-unknown": _error(
        "colours without a table",
        "The classes are stored as colours, and nothing says which colour is which class (--classes does).",
        "Where the whole set is so, the colours are numbered, black first; single masks are left out.",
    ),
    "palette-differs": _error(
        "palettes in another order",
        "The same colour stands at different indices in different files, so the same number means different classes.",
        "Exact: by the colours.",
    ),
    "odd-encoding": _error(
        "stored otherwise than the rest",
        "The mask holds plain labels in a set that stores them in another way.",
        "Exact: taken as labels.",
    ),
    "mask-antialiased": _error(
        "anti-aliased borders",
        "The mask was drawn or resized with smoothing, so mixtures of two labels along borders read as other classes.",
        "By the nearest class; mixtures that could be of several classes become 255 (ignored).",
    ),
    "mask-lossy": _error(
        "lossy compression",
        "JPEG or WebP changes the numbers of a mask, most of all along its borders.",
        "By the nearest class; mixtures that could be of several classes become 255 (ignored).",
    ),
    "mask-alpha": _error(
        "labels beside or in the opacity",
        "The mask is partly transparent, so what it shows depends on who opens it.",
        "By its colours where these are labels, else the opaque pixels are the foreground.",
    ),
    "mask-float": _error(
        "floating-point mask",
        "The mask is stored in a type for fractions, which readers of labels refuse.",
        "Exact where all numbers are whole; else left out.",
    ),
    "mask-probabilities": _error(
        "probabilities instead of labels",
        "The mask is soft: it says how sure somebody was, not which class it is.",
        "With two classes, 0.5 and less is background; else left out.",
    ),
    "instance-numbers": _error(
        "numbers of objects instead of classes",
        "Every object has a number of its own, which would make each of them a class.",
        "With one foreground class every object becomes label 1; else left out.",
    ),
    # Pictures that stand in the set twice.
    "same-image": _error(
        "the same picture in two parts",
        "A picture of the training part is scored again, byte for byte or resized or compressed anew: scores flatter.",
        "Kept in the later-scored part (test before val before train), left out of the other.",
    ),
    # Warnings.
    "wrong-extension": _warning(
        "suffix of another format", "The content is of another format than the name says; some tools refuse it.",
        "The copy has the right suffix.",
    ),
    "mask-16-bit": _warning(
        "16-bit mask", "Labels that fit in 8 bits are stored in 16; tools that cut to 8 bits read zeros or noise.",
        "Exact: stored in 8 bits.",
    ),
    "near-duplicate-parts": _warning(
        "almost the same picture in two parts", "Pictures as alike as frames of one film: scores flatter."
    ),
    "near-duplicate": _warning("almost the same picture twice", "Pictures so alike that the second adds little."),
    "mask-shared": _warning(
        "one mask for different images", "Two pictures that differ have the very same mask; one is likely wrong."
    ),
    "mask-moved": _warning(
        "mask beside its object", "The borders of the mask meet the image's edges only after it is moved by some pixels."
    ),
    "specks": _warning("tiny specks", "Many pieces of a few pixels, as stray clicks or thresholds leave them."),
    "holes": _warning("tiny holes", "Many gaps of a few pixels within objects."),
    "polygonal": _warning(
        "polygonal borders",
        "The outline is of few straight lines, as clicks far apart leave it; it cuts corners, and scores of edges suffer.",
    ),
    "ragged": _warning("ragged borders", "Borders as of noise rather than of a shape, as from a threshold or a bad resize."),
    "empty-mask": _warning("empty mask", "Nothing is labelled but background; right for pictures without objects."),
    "one-class-mask": _warning("mask of one class only", "The whole picture is one class."),
    "class-absent": _warning("class that never occurs in a part", "It cannot be learnt there, or its score is undefined."),
    "class-rare": _warning("rare class", "So few images or pixels that its score will be mostly chance."),
    "class-dominant": _warning(
        "dominant class", "One class has nearly all pixels, so pixel accuracy says nothing; look at IoU."
    ),
    "odd-image": _warning(
        "image of another kind", "Its channels, bit depth or opacity differ from those of most images."
    ),
    "exif-orientation": _warning(
        "image turned by EXIF", "Tools that ignore EXIF see it lying; its mask fits the upright picture.",
        "The copy is stored upright.",
    ),
    "odd-name": _warning(
        "awkward name", "Spaces, odd characters and names that differ only in case break scripts and copies.",
        "Unicode form NFC in the copy.",
    ),
    "not-in-a-part": _warning("in no part", "No list names the sample, or two do, so nobody uses it.", _LEFT_OUT),
    "odd-annotation": _warning("odd annotation", "The reader of the annotations left something out or took it as it could."),
    # Notes.
    "class-balance": _note("class balance", "Pixels and images of each class."),
    "sizes": _note("sizes", "Width and height of the images, pixels."),
    "formats": _note("formats", "What the files are."),
    "licences": _note("licence", "Files beside the data that may tell what it may be used for."),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Concern:
    """A file, or what else is concerned, and what is special about it."""

    name: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One kind, with all that it concerns.

    Attributes:
        code: a key of KINDS.
        concerns: files, by their path below the data set, or classes.
        whole: it is a habit of the whole set and not of single files.
        items: titles of the samples concerned, for pictures; see `facts.Item`.
    """

    code: str
    concerns: tuple[Concern, ...]
    whole: bool = False
    items: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """What is found."""
        return KINDS[self.code]


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Sort findings by severity, habits of the whole set first, then as in the table."""
    severities: list[Severity] = ["error", "warning", "note"]
    codes = list(KINDS)
    return sorted(findings, key=lambda one: (severities.index(one.kind.severity), not one.whole, codes.index(one.code)))
