"""The scores on a terminal, as tables; what the page shows in full."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from maskwright.metrics.bootstrap import bootstrap, change
from maskwright.metrics.boundary_meter import boundary_values, has_boundary
from maskwright.metrics.instance import instance_value
from maskwright.metrics.panoptic import Group, PanopticResult, class_quality, panoptic_quality
from maskwright.metrics.scores import scores
from maskwright.report.choice import PART_NAMES, Comparison, choose, reasons
from maskwright.report.comparison import gmacs, p_value, rate, table_rows
from maskwright.report.instances import ScoredObjects
from maskwright.report.tables import BOUNDARY_LABELS, SCORE_LABELS
from maskwright.types import EvaluationResult


def show(readings: Mapping[str, Mapping[str, EvaluationResult]], page: Path) -> None:
    """Print the scores, and where the page lies.

    Args:
        readings: name of each reading of the truth → the stages scored by it, of which the first is the base; the name may
            be empty where there is but one.
        page: the page.
    """
    console = Console()
    # Wide enough for every column where nobody watches: a table cut to 80 columns is useless in a log.
    wide = console if console.is_terminal else Console(width=120 if len(readings) == 1 else 140)
    wide.print(_score_table(readings))
    for name, stages in readings.items():
        if has_boundary(stages.values()):
            wide.print(_boundary_table(stages, name))
    print(f"report: {page}")


def show_comparison(comparison: Comparison, page: Path) -> None:
    """Print the candidates of a comparison, which to take and why, and where the page lies."""
    console = Console()
    wide = console if console.is_terminal else Console(width=150)
    score = f"{SCORE_LABELS[comparison.statistic]},\n{PART_NAMES[comparison.part]}"
    table = Table(title=f"{comparison.images} {PART_NAMES[comparison.part]} images; {comparison.budget}")
    tested = comparison.reported_images > 0
    columns = [
        score,
        *(["test"] if tested else []),
        "against\nthe best",
        "p\n(Holm)",
        "parameters",
        "GMACs",
        "images/s",
    ]
    table.add_column("", overflow="fold")
    for column in [*columns, "s/epoch"]:
        table.add_column(column, justify="right", no_wrap=True)
    for row in table_rows(comparison):
        best = row.finding == "best"
        table.add_row(
            f"{row.one.label}{' *' if row.chosen else ''}",
            f"{row.score:.3f}",
            *([f"{row.one.reported:.3f}"] if tested else []),
            "–" if best else f"{row.gap:+.3f}",
            "–" if best else p_value(row.p_holm),
            f"{row.one.parameters / 1e6:.2f} M",
            gmacs(row.one.macs),
            rate(row.one.measured.images_per_second),
            rate(row.one.epoch_seconds),
        )
    wide.print(table)
    chosen = comparison.candidates[choose(comparison)]
    weights = "" if chosen.pretrained == "none" else f" --model.pretrained {chosen.pretrained}"
    print(f"take {chosen.label} (*): --model {chosen.model}{weights}")
    for reason in reasons(comparison):
        print(f"  {reason}")
    print(f"report: {page}")


def show_objects(stages: Mapping[str, ScoredObjects]) -> None:
    """Print AP, AR and panoptic quality of every stage; the page has the rest."""
    console = Console()
    wide = console if console.is_terminal else Console(width=120)
    first = next(iter(stages.values())).objects
    table = Table(title=f"{first.true_objects} objects in {len(first.names)} images")
    columns = ["", "", "AP", "AP50", "AP75", "AR", "PQ", "SQ", "RQ"]
    for column in columns:
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for name, stage in stages.items():
        quality = panoptic_quality(stage.panoptic)
        for kind in stage.objects.matches:
            values = [instance_value(stage.objects, one, kind=kind) for one in ("ap", "ap50", "ap75", "ar")]
            values += list(quality) if kind == "mask" else []
            row = ["–" if np.isnan(value) else f"{value:.4f}" for value in values]
            table.add_row(name if kind == "mask" else "", {"mask": "masks", "box": "boxes"}[kind], *row)
    wide.print(table)


def show_panoptic(stages: Mapping[str, PanopticResult]) -> None:
    """Print panoptic quality of every stage, of all classes, of things and of stuff; the page has the rest."""
    console = Console()
    first = next(iter(stages.values()))
    table = Table(title=f"panoptic quality in {len(first.names)} images")
    for column in ["", "", "PQ", "SQ", "RQ", "classes"]:
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for name, one in stages.items():
        known = np.isfinite(class_quality(one)[0])
        groups: dict[Group, tuple[int, ...]] = {
            "all": one.things + one.stuff,
            "things": one.things,
            "stuff": one.stuff,
        }
        for group, labels in groups.items():
            values = [f"{value:.4f}" if np.isfinite(value) else "–" for value in panoptic_quality(one, group)]
            row = name if group == "all" else ""
            table.add_row(row, group, *values, f"{known[list(labels)].sum()} of {len(labels)}")
    (console if console.is_terminal else Console(width=120)).print(table)


def _score_table(readings: Mapping[str, Mapping[str, EvaluationResult]]) -> Table:
    name, first = next(iter(readings.items()))
    base = next(iter(first.values()))
    binary = len(base.classes) == 2
    main_score, heading = ("iou_dataset", "IoU data set") if binary else ("miou_present", "mIoU present")
    alone = f", {name}" if name and len(readings) == 1 else ""
    table = Table(title=f"{len(base.names)} images, at their own size{alone}")
    columns = ["", "IoU per image", heading, "Dice", "accuracy"]
    if len(first) > 1:
        columns += ["change of IoU per image", "better", "worse"]
    if len(readings) > 1:
        table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="left" if not column else "right", no_wrap=True)
    for reading, stages in readings.items():
        table.add_section()
        base = next(iter(stages.values()))
        for name, result in stages.items():
            s = scores(result)
            row = [
                *([reading if result is base else ""] if len(readings) > 1 else []),
                name,
                f"{s.iou_per_image:.4f}",
                f"{getattr(s, main_score):.4f}",
                f"{s.dice_dataset:.4f}",
                f"{s.pixel_accuracy:.4f}",
            ]
            if result is not base:
                c = change(base, result)
                row += [f"{c.interval:+.4f}", f"{c.better:.0%}", f"{c.worse:.0%}"]
            table.add_row(*row)
    return table


def _boundary_table(stages: Mapping[str, EvaluationResult], reading: str) -> Table:
    base = next(iter(stages.values()))
    what = f", {reading}" if reading else ""
    table = Table(title=f"Boundary scores{what}, mean over the images that have one [95 % interval]")
    for column in ["", "score", "images", "mean", *(["change"] if len(stages) > 1 else [])]:
        table.add_column(column, justify="left" if column in ("", "score") else "right", no_wrap=True)
    for name, result in stages.items():
        table.add_section()
        for field, label in BOUNDARY_LABELS.items():
            images = np.isfinite(boundary_values(result, field)).sum()
            row = [name, label, str(images), f"{bootstrap(result, field):.4f}"]
            table.add_row(*row, *([f"{change(base, result, field).interval:+.4f}"] if result is not base else []))
    return table
