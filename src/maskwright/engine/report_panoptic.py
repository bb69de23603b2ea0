"""From scored panoptic files to the page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..data.coco_panoptic import NO_SEGMENT, PanopticTruth
from ..data.naming import list_images
from ..report import Picture, Report, Stage, write_report
from ..report.panoptic import panoptic_sections
from ..types import IGNORE_INDEX
from .panoptic import PanopticEvaluation, segment_labels
from .reporting import image_or_grey, machine_facts


def report_panoptic(
    out: Path,
    results: Mapping[str, PanopticEvaluation],
    *,
    truth: PanopticTruth,
    images: Path | None,
    commands: Sequence[str],
) -> None:
    """Write the page of scored segments: their tables, and all that the page says of masks, segments of a class together.

    Args:
        out: the page.
        results: stage name → its scores, the base first.
        truth: what they were scored against.
        images: folder of images with the names of the truth, for display; None shows grey.
        commands: command lines that make it again.
    """
    files = {file.name: file for file in truth.images.values()}
    paths = {path.stem: path for path in list_images(images)} if images is not None else {}

    def picture(name: str) -> Picture:
        labels = segment_labels(files[name].read(), void=IGNORE_INDEX)
        masks = {stage: segment_labels(one.files[name].read(), void=0) for stage, one in results.items()}
        return Picture(image=image_or_grey(paths.get(name), labels.shape), truth=labels, masks=masks)

    write_report(
        out,
        Report(
            title=" → ".join(results),
            summary_subject=f"{len(files)} images of {truth.path}",
            commands=tuple(commands),
            facts=machine_facts(),
            curves=(),
            stages=tuple(Stage(name=name, result=one.masks) for name, one in results.items()),
            strips=(),
            pictures=picture,
            notes=(
                "Scores of pixels take all segments of a class together; those of single segments are further down.",
                f"Class 0, {NO_SEGMENT}, is what no predicted segment covers. The truth has none of it: its void pixels and "
                "crowds are ignored.",
            ),
            sections=panoptic_sections({name: one.panoptic for name, one in results.items()}),
        ),
    )
