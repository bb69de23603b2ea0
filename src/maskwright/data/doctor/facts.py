"""What is known of a pair of files after it was read once: small records that travel between processes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .corners import Corners
from .edges import Shift, Texture

THUMB = 32
"""Side in pixels of the grey thumbnail by which pictures are compared."""


MOST_VALUES = 300
SPECK_PIXELS = 12
NO_TEXTURE = Texture(0, 0, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """The files of one sample.

    Attributes:
        name: what the sample is called; unique in its part.
        part: "train", "val", "test", or "" where there are no parts.
        images: its pictures; one, unless something is wrong.
        masks: its masks, likewise.
        index: of the sample within its part, where a data set's own reader reads it; else -1.
        renamed: image and mask share their name only when case and Unicode form are left out of account.
    """

    name: str
    part: str = ""
    images: tuple[Path, ...] = ()
    masks: tuple[Path, ...] = ()
    index: int = -1
    renamed: bool = False

    @property
    def title(self) -> str:
        """What it is called in a report: `part/name`, or the name."""
        return f"{self.part}/{self.name}" if self.part else self.name


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Why a file cannot be used: the code of a kind, and in words."""

    code: str
    words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFacts:
    """Of one picture.

    Attributes:
        format: by its content.
        mode: Pillow's mode of the stored pixels, or the type of the samples.
        height, width: upright, pixels.
        orientation: EXIF's.
        digest: of the file's bytes; of the pixels where a reader gave them.
        thumb: THUMB × THUMB grey levels of the upright picture.
        contrast: standard deviation of the thumbnail, grey levels.
    """

    format: str
    mode: str
    height: int
    width: int
    orientation: int
    digest: bytes
    thumb: bytes
    contrast: float


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskFacts:
    """Of one mask. Values are the stored numbers, palette indices, or 24-bit codes of colours where it is `coloured`.

    Attributes:
        format, mode, digest: as of a picture.
        height, width: as stored, before any turn.
        orientation: EXIF's.
        coloured: the channels differ.
        values: pixels of the most frequent values, at most MOST_VALUES of them.
        distinct: how many different values there are.
        whole: all values are whole numbers.
        low, high: extremes of the values.
        inexact: why the samples cannot be labels, "" where they can.
        palette: colour of each value in use, where a palette gives it.
        alpha: pixels by opacity, at most MOST_VALUES of them; empty without that channel.
        pieces: connected pieces of each value, where there are at most MOST_VALUES values.
        specks, holes: pieces of at most SPECK_PIXELS pixels, of the foreground and of the value 0.
        frame: the value most frequent along the edges of the picture.
        texture: of the borders.
        corners: of the outline of the largest piece that is not of the value of the frame; None where it tells nothing.
        pixel_digest: of the values, equal for equal masks whatever their files.
    """

    format: str
    mode: str
    digest: bytes
    height: int
    width: int
    orientation: int
    coloured: bool
    values: Mapping[float, int]
    distinct: int
    whole: bool
    low: float
    high: float
    inexact: str
    palette: Mapping[int, int] = field(default_factory=dict)
    alpha: Mapping[int, int] = field(default_factory=dict)
    pieces: Mapping[float, int] = field(default_factory=dict)
    specks: int = 0
    holes: int = 0
    frame: float = 0
    texture: Texture = NO_TEXTURE
    corners: Corners | None = None
    pixel_digest: bytes = b""

    @property
    def pixels(self) -> int:
        """Of the mask."""
        return self.height * self.width


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """How the mask lies on its upright image.

    Attributes:
        turn: EXIF orientation that brings the stored mask onto it; None where none does, since the sizes differ, or where
            it would be a guess.
        usual: the orientation that a reader applies: the mask's own.
        certain: the turn follows from the sizes, or one is clearly the best by the edges.
        shift: see `edges.find_shift`; None where it cannot be told.
    """

    turn: int | None
    usual: int
    certain: bool = True
    shift: Shift | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """All facts of one item.

    Attributes:
        item: what was read.
        image, mask: None where the file is missing or cannot be read.
        problems: of each file that cannot be read.
        fit: None unless both were read.
    """

    item: Item
    image: ImageFacts | None = None
    mask: MaskFacts | None = None
    problems: Mapping[Path, Problem] = field(default_factory=dict)
    fit: Fit | None = None
