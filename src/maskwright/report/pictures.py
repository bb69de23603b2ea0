"""Images and label maps as small pictures inside a page: data URIs of at most 320 pixels a side.

The class colours begin with those of Okabe & Ito (2008) and go on with Paul Tol's "light" scheme (2021), both made to
stay apart for colour-blind readers; the order puts the brightest first, since they are shown on a dark background.
"""

import base64
import colorsys
import io

import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray
from PIL import Image

from maskwright.report.records import RGB, Colours, Labels
from maskwright.types import IGNORE_INDEX

MAX_SIDE = 320
"""Pixels; twice the size at which pictures are shown, so that they stay sharp on a phone."""

_PHOTO_SIDE = 128
"""Pixels; from here on an image is a photograph and stored as JPEG, below it every pixel is kept."""

BACKGROUND_COLOUR = "#1d2330"
IGNORED_COLOUR = "#c3c7cf"
CLASS_COLOURS = (
    *("#f2cf3d", "#56b4e9", "#e8743b", "#2bb58c", "#d98bb8", "#3f7fd0", "#e69f00", "#b9c93f", "#b04e9b", "#8fd8e8"),
    *("#ffaabb", "#9a8f2a", "#44bb99", "#7a5fc0", "#eedd88", "#a34450", "#99ddff", "#5f8f3a", "#c9a27a", "#dddddd"),
)
"""Colours of the classes 1, 2, …; class 0 has BACKGROUND_COLOUR."""

FIXED_COLOUR, BROKEN_COLOUR, WRONG_COLOUR = "#0072b2", "#d55e00", "#4a4a4a"
CHANGE_LEGEND = ((FIXED_COLOUR, "fixed"), (BROKEN_COLOUR, "broken"), (WRONG_COLOUR, "wrong before and after"))
MISTAKE_LEGEND = ((FIXED_COLOUR, "missed"), (BROKEN_COLOUR, "too much"), (WRONG_COLOUR, "wrong class"))

_GREY_LEVELS = 12
"""Faint grey steps of the image behind marked pixels; with the three marks they fit in a 4-bit palette."""
_GREY_RANGE = (200, 250)


def class_colour(label: int, colours: Colours = ()) -> str:
    """The colour of a class, "#rrggbb": of `colours`, RGB by label, else the same on every page."""
    if label < len(colours):
        return "#{:02x}{:02x}{:02x}".format(*colours[label])
    if label == 0:
        return BACKGROUND_COLOUR
    if label == IGNORE_INDEX:
        return IGNORED_COLOUR
    if label <= len(CLASS_COLOURS):
        return CLASS_COLOURS[label - 1]
    # Beyond the hand-picked colours: hues a golden angle apart, so that neighbouring labels differ most.
    red, green, blue = colorsys.hls_to_rgb(label * 0.618034 % 1.0, 0.45 + 0.1 * (label % 3), 0.6)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def is_small(image: RGB) -> bool:
    """Whether an image is shown with every pixel, enlarged, rather than as a photograph."""
    height, width = image.shape[:2]
    return bool(max(height, width) <= _PHOTO_SIDE)


def image_uri(image: RGB, *, max_side: int = MAX_SIDE) -> str:
    """An image as a data URI: PNG with every pixel where it is small, else JPEG of at most `max_side` pixels a side."""
    picture = Image.fromarray(image)
    if is_small(image):
        return _data_uri(picture, "png", optimize=True)
    size = _shown_size(picture, max_side)
    return _data_uri(picture.resize(size, Image.Resampling.BOX), "jpeg", quality=82, optimize=True)


def mask_uri(mask: Labels, colours: Colours = ()) -> str:
    """A label map in the class colours, as a data URI; `colours` as in `class_colour`."""
    return _palette_uri(mask, [class_colour(label, colours) for label in range(256)])


def change_uri(image: RGB, truth: Labels, before: Labels, after: Labels) -> str:
    """Where a refinement fixed and where it broke pixels (CHANGE_LEGEND), over the faded image, as a data URI."""
    scored = truth != IGNORE_INDEX
    was_right, is_right = before == truth, after == truth
    marks = (~was_right & is_right, was_right & ~is_right, ~was_right & ~is_right)
    return _marked_uri(image, tuple(scored & mark for mark in marks))


def mistakes_uri(image: RGB, truth: Labels, mask: Labels, *, background: bool = True) -> str:
    """What a mask misses, has too much, or gives the wrong class (MISTAKE_LEGEND), over the faded image.

    Where class 0 is no `background`, nothing can be missed or too much: every mistake is a wrong class.
    """
    mistaken = (truth != IGNORE_INDEX) & (mask != truth)
    missed, extra = mistaken & (mask == 0) & background, mistaken & (truth == 0) & background
    return _marked_uri(image, (missed, extra, mistaken & ~missed & ~extra))


def _marked_uri(image: RGB, marks: tuple[Bool[ndarray, "h w"], ...]) -> str:
    """The faded grey image with the pixels of each mark in its colour: fixed, broken, wrong."""
    luminance = image @ np.array([0.299, 0.587, 0.114])
    indices = (luminance * _GREY_LEVELS / 256).astype(np.uint8)
    for number, mark in enumerate(marks):
        indices[mark] = _GREY_LEVELS + number
    greys = [f"#{3 * f'{level:02x}'}" for level in np.linspace(*_GREY_RANGE, _GREY_LEVELS).round().astype(int)]
    return _palette_uri(indices, [*greys, FIXED_COLOUR, BROKEN_COLOUR, WRONG_COLOUR])


def _palette_uri(indices: Labels, colours: list[str]) -> str:
    # Pillow stores as few bits per pixel as the palette allows, so it ends with the last colour in use.
    used = colours[: int(indices.max(initial=0)) + 1]
    picture = Image.fromarray(indices)
    picture.putpalette(bytes.fromhex("".join(colour[1:] for colour in used)))
    return _data_uri(picture.resize(_shown_size(picture), Image.Resampling.NEAREST), "png", optimize=True)


def _shown_size(picture: Image.Image, max_side: int = MAX_SIDE) -> tuple[int, int]:
    """Width and height within `max_side`, never enlarged."""
    shrink = min(1.0, max_side / max(picture.size))
    return max(1, round(picture.width * shrink)), max(1, round(picture.height * shrink))


def _data_uri(picture: Image.Image, kind: str, **settings: int) -> str:
    stream = io.BytesIO()
    picture.save(stream, kind, **settings)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def label_palette(num_classes: int, colours: Colours = ()) -> UInt8[ndarray, "k 3"]:
    """Return the colours that label PNGs show in a viewer, the report's; `colours` as in `class_colour`."""
    return np.array([list(bytes.fromhex(class_colour(label, colours)[1:])) for label in range(num_classes)], np.uint8)
