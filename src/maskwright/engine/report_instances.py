"""From scored objects to the page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ..data.io import read_image
from ..data.naming import list_images
from ..report import Picture, Report, Stage, write_report
from ..report.instances import instance_sections
from .instances import InstanceEvaluation, Truth, found_in, label_map
from .reporting import machine_facts


def report_instances(
    out: Path,
    results: Mapping[str, InstanceEvaluation],
    folders: Mapping[str, Path],
    *,
    truth: Truth,
    images: Path | None,
    commands: Sequence[str],
) -> None:
    """Write the page of scored objects: their tables, and all that the page says of masks, objects of a class together.

    Args:
        out: the page.
        results: stage name → its scores, the base first.
        folders: stage name → its predictions.
        truth: what they were scored against.
        images: folder of images with the names of the truth, for display; None takes the data set's own, else grey.
        commands: command lines that make it again.
    """
    found = {name: found_in(path, truth) for name, path in folders.items()}
    paths = {path.stem: path for path in list_images(images)} if images is not None else {}

    def picture(name: str) -> Picture:
        true = truth.read(name)
        if truth.pixels is not None and name not in paths:
            pixels = truth.pixels(name)
        else:
            pixels = image_or_grey(paths.get(name), true.size)
        masks = {stage: label_map(one(name, true.size)) for stage, one in found.items()}
        return Picture(image=pixels, truth=label_map(true), masks=masks)

    write_report(
        out,
        Report(
            title=" → ".join(results),
            summary_subject=truth.what,
            commands=tuple(commands),
            facts=machine_facts(),
            curves=(),
            stages=tuple(Stage(name=name, result=one.masks) for name, one in results.items()),
            strips=(),
            pictures=picture,
            notes=("Scores of pixels take all objects of a class together; those of single objects are further down.",),
            sections=instance_sections(results),
        ),
    )


def image_or_grey(path: Path | None, size: tuple[int, ...]) -> UInt8[np.ndarray, "h w 3"]:
    """Return the image to show: grey where there is none of this size, (height, width)."""
    pixels = np.full((*size, 3), 128, np.uint8)
    if path is None:
        return pixels
    read = read_image(path)
    return read if read.shape == pixels.shape else pixels
