"""Pictures of what the doctor found: an image, its mask in colours, and the mask's borders on the image."""

import numpy as np
from jaxtyping import UInt8

from ..data.decode import MAX_PIXELS
from ..data.doctor.examination import Examination
from ..data.doctor.kinds import Finding
from ..data.doctor.samples import Samples, read_samples
from ..data.io import read_image
from ..errors import ImageError
from ..report.doctor import FoundPicture

PICTURES = 3
"""Of each kind of finding."""

_MOST_PIXELS = 2**24
_MARK = np.array([255, 40, 120], np.uint8)

assert _MOST_PIXELS <= MAX_PIXELS


def pictures_of(examination: Examination, finding: Finding) -> tuple[FoundPicture, ...]:
    """Return the first samples of a finding that can be shown; those of notes are not."""
    if finding.kind.severity == "note":
        return ()
    index_of = {probe.item.title: index for index, probe in enumerate(examination.probes)}
    shown = []
    for title in finding.items[:PICTURES]:
        picture = _picture(examination, index_of[title])
        if picture is not None:
            shown.append(picture)
    return tuple(shown)


def _picture(examination: Examination, index: int) -> FoundPicture | None:
    item = examination.probes[index].item
    image = mask = borders = None
    try:
        if item.images:
            image = read_image(item.images[0], max_pixels=_MOST_PIXELS)
    except ImageError:
        image = None
    try:
        if item.masks and item.masks[0].stat().st_size < _MOST_PIXELS:
            samples = read_samples(item.masks[0], item.masks[0].read_bytes())
            mask = _visible(samples)
            borders = _with_borders(image, samples)
    except (ImageError, OSError):
        mask = None
    if image is None or mask is None:  # one without the other shows nothing of what is wrong
        return None
    return FoundPicture(name=item.title, image=image, mask=mask, borders=borders)


def _visible(samples: Samples) -> UInt8[np.ndarray, "h w 3"]:
    """Return colours in which all stored values can be told apart, as they are stored."""
    values = samples.values
    if samples.coloured or (samples.palette is not None and values.max() < 256):
        codes = values if samples.palette is None else samples.palette[values].clip(min=0)
        return np.stack([codes >> 16 & 255, codes >> 8 & 255, codes & 255], axis=2).astype(np.uint8)
    found, ranks = np.unique(values, return_inverse=True)
    levels = np.linspace(0, 255, max(len(found), 2)).astype(np.uint8)
    return np.repeat(levels[ranks.reshape(values.shape)][..., None], 3, axis=2)


def _with_borders(image: UInt8[np.ndarray, "h w 3"] | None, samples: Samples) -> UInt8[np.ndarray, "h w 3"] | None:
    """Return the image with the mask's borders on it; None where their sizes differ."""
    values = samples.values
    if image is None or image.shape[:2] != values.shape:
        return None
    marked = np.zeros(values.shape, bool)
    marked[:, 1:] |= values[:, 1:] != values[:, :-1]
    marked[1:] |= values[1:] != values[:-1]
    if max(values.shape) > 400:  # so that a line is seen when the picture is scaled down
        marked[1:] |= marked[:-1].copy()
        marked[:, 1:] |= marked[:, :-1].copy()
    drawn = image.copy()
    drawn[marked] = _MARK
    return drawn
