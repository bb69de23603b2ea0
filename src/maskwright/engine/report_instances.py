"""From scored objects to the page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..data.naming import list_images
from ..instances import surest
from ..report import Curve, Picture, Report, Stage, write_report
from ..report.instances import instance_sections
from .instances import Found, InstanceEvaluation, Truth, label_map
from .reporting import image_or_grey, machine_facts


def report_instances(
    out: Path,
    results: Mapping[str, InstanceEvaluation],
    found: Mapping[str, Found],
    *,
    truth: Truth,
    images: Path | None,
    commands: Sequence[str],
    threshold: float = 0.0,
    curves: Sequence[Curve] = (),
    facts: Mapping[str, str] | None = None,
    config: str = "",
) -> None:
    """Write the page of scored objects: their tables, and all that the page says of masks, objects of a class together.

    Args:
        out: the page.
        results: stage name → its scores, the base first.
        found: stage name → what returns its predictions, such as `instances.found_in`.
        truth: what they were scored against.
        images: folder of images with the names of the truth, for display; None takes the data set's own, else grey.
        commands: command lines that make it again.
        threshold: score that an object must reach to be shown, that of `evaluate_instances`.
        curves: of the training, of a run's own page.
        facts: what else is needed to make it again; None tells the machine alone.
        config: the run's configuration as YAML.
    """
    paths = {path.stem: path for path in list_images(images)} if images is not None else {}

    def picture(name: str) -> Picture:
        true = truth.read(name)
        if truth.pixels is not None and name not in paths:
            pixels = truth.pixels(name)
        else:
            pixels = image_or_grey(paths.get(name), true.size)
        masks = {stage: label_map(surest(one(name, true.size), threshold)) for stage, one in found.items()}
        return Picture(image=pixels, truth=label_map(true), masks=masks)

    write_report(
        out,
        Report(
            title=" → ".join(results),
            summary_subject=truth.what,
            commands=tuple(commands),
            facts=machine_facts() if facts is None else facts,
            curves=tuple(curves),
            stages=tuple(Stage(name=name, result=one.masks) for name, one in results.items()),
            strips=(),
            pictures=picture,
            notes=_notes(threshold),
            config=config,
            sections=instance_sections(results),
        ),
    )


def _notes(threshold: float) -> tuple[str, ...]:
    notes = ["Scores of pixels take all objects of a class together; those of single objects are further down."]
    if threshold:
        notes.append(
            f"Scores of pixels and panoptic quality take predicted objects whose score is {threshold:g} or more; average "
            "precision and recall take all."
        )
    return tuple(notes)
