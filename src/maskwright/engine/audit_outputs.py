"""What an audit leaves: `report.html`, `audit.json`, `audit.csv` (numbers of all tools) and `images.csv`."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ..data.io import as_colours
from ..errors import ConfigError
from ..files import write_json, write_text
from ..metrics.conventions import CONVENTIONS
from ..metrics.scores import image_iou, mask_dice, pixel_accuracy
from ..metrics.sizes import SizeScore
from ..report.audit import AuditReport, pair_sentence, spread_sentence, write_audit_report
from ..report.audit_findings import Difference, Findings, Pair, Stage, find
from ..report.records import Picture
from .audit import AuditConfig, Audited, Scored, fit
from .audit_checks import cautions
from .audit_records import Size
from .evaluate import summary
from .instances import finite, interval_list
from .reporting import machine_facts

PAGE, RECORD, TABLE, IMAGES = "report.html", "audit.json", "audit.csv", "images.csv"


def check_out(out: Path) -> None:
    """Refuse the folder of a run, whose page would be lost.

    Raises:
        ConfigError: it is one.
    """
    if (out / "config.yaml").exists():
        raise ConfigError(f"{out} is the folder of a run, whose page would be lost; choose another --out")


def write_audit(audited: Audited, config: AuditConfig, out: Path, *, commands: Sequence[str]) -> Findings:
    """Derive what the counts say, and write it; each file appears whole or not at all.

    Args:
        audited: the counts.
        config: what was asked for.
        out: the folder.
        commands: command lines that make it again, for the page.

    Raises:
        WriteError: a file cannot be written.
    """
    stages = [
        Stage(name=one.name, source=str(one.source), taken=one.taken, result=one.result, calibration=one.calibration)
        for one in audited.stages.values()
    ]
    findings = find(stages, cautions=cautions(audited, train=config.train), skipped=audited.skipped)
    # The page first: it takes longest, and what stops it leaves nothing.
    write_audit_report(out / PAGE, _report(findings, audited, config, commands))
    write_text(out / TABLE, number_table(findings))
    write_text(out / IMAGES, image_table(findings, audited.sizes))
    write_json(out / RECORD, record_of(findings, audited))
    return findings


def record_of(findings: Findings, audited: Audited) -> dict[str, Any]:
    """Return everything that was found as JSON; what is undefined is None."""
    stages = {
        stage.name: _stage_record(stage, audited.stages[stage.name], findings.sizes[stage.name])
        for stage in findings.stages
    }
    return {
        "quote": {
            stage: {"key": one.key, "value": interval_list(one.interval), "sentence": one.sentence, "rule": one.rule}
            for stage, one in findings.quoted.items()
        },
        "spread": spread_sentence(findings),
        "warnings": list(findings.warnings),
        "differences": [_difference_record(one) for one in findings.differences],
        "conventions": _convention_records(findings),
        "pairs": [_pair_record(one) for one in findings.pairs],
        "truth": {
            "source": audited.truth.source,
            "taken": audited.truth.taken,
            "images": len(audited.sizes),
            "classes": list(findings.first.result.classes),
            "sizes": [[*size, count] for size, count in Counter(audited.sizes).most_common()],
        },
        "skipped": dict(findings.skipped),
        "stages": stages,
        **machine_facts(),
    }


def _difference_record(one: Difference) -> dict[str, Any]:
    return {
        "key": one.convention.key,
        "extreme": one.extreme,
        "value": finite(one.value),
        "by": finite(one.by),
        "parts": [{"share": share, "because": text} for share, text in one.parts],
        "rest": one.rest,
    }


def _convention_records(findings: Findings) -> list[dict[str, Any]]:
    group = {key: number for number, one in enumerate(findings.groups) for key in one.keys}
    return [
        {
            "key": one.key,
            "tool": one.tool,
            "version": one.version,
            "checked": one.checked,
            "score": one.score,
            "call": one.call,
            "definition": one.definition,
            "group": group[one.key],
            "values": {stage.name: interval_list(findings.numbers[stage.name][one.key]) for stage in findings.stages},
        }
        for one in CONVENTIONS
    ]


def _pair_record(one: Pair) -> dict[str, Any]:
    return {
        "base": one.base,
        "other": one.other,
        "difference": interval_list(one.difference),
        "p": finite(one.p),
        "p_holm": finite(one.p_holm),
        "better": finite(one.better),
        "worse": finite(one.worse),
        "conventions_higher": list(one.higher),
        "conventions_lower": list(one.lower),
        "sentence": pair_sentence(one),
    }


def _stage_record(stage: Stage, scored: Scored, sizes: Sequence[SizeScore]) -> dict[str, Any]:
    return {
        "source": stage.source,
        "taken": stage.taken,
        "resized": scored.resized,
        "constant": scored.constant,
        "scores": summary(stage.result),
        "confusion": stage.result.confusion.tolist(),
        "calibration": stage.calibration and stage.calibration.as_dict(),
        "by_size": [{**asdict(one), "iou": interval_list(one.iou)} for one in sizes],
    }


def number_table(findings: Findings) -> str:
    """Return a row for each convention and folder, as CSV; what is undefined is empty."""
    group = {key: number for number, one in enumerate(findings.groups) for key in one.keys}
    rows = [
        {
            "folder": stage.name,
            "key": one.key,
            "tool": one.tool,
            "version": one.version,
            "score": one.score,
            **_cells({"value": interval.value, "low": interval.low, "high": interval.high}),
            "group": group[one.key],
            "quoted": int(one.key == findings.quote.key),
            "checked": one.checked,
            "call": one.call,
            "definition": one.definition,
        }
        for stage in findings.stages
        for one in CONVENTIONS
        for interval in [findings.numbers[stage.name][one.key]]
    ]
    return _csv(rows)


def image_table(findings: Findings, sizes: Sequence[Size]) -> str:
    """Return a row for each image, as CSV: its size and, of each folder, its scores; what is undefined is empty."""
    first = findings.first.result
    scores = {
        stage.name: (image_iou(stage.result), mask_dice(stage.result.counts), pixel_accuracy(stage.result.counts))
        for stage in findings.stages
    }
    rows = []
    for i, (name, (height, width)) in enumerate(zip(first.names, sizes, strict=True)):
        row: dict[str, object] = {
            "image": name,
            "width": width,
            "height": height,
            "scored_pixels": int(first.counts[i, 2].sum()),
            "ignored_pixels": int(first.ignored[i]),
            "true_foreground": int(first.counts[i, 2, 1:].sum()),
        }
        for stage, (iou, dice, accuracy) in scores.items():
            end = f" {stage}" if len(scores) > 1 else ""
            row |= _cells({f"iou{end}": iou[i], f"dice{end}": dice[i], f"accuracy{end}": accuracy[i]})
        rows.append(row)
    return _csv(rows)


def _cells(values: Mapping[str, float]) -> dict[str, str]:
    return {name: f"{value:.6f}" if np.isfinite(value) else "" for name, value in values.items()}


def _csv(rows: Sequence[Mapping[str, object]]) -> str:
    stream = io.StringIO(newline="")
    table = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return stream.getvalue()


def _report(findings: Findings, audited: Audited, config: AuditConfig, commands: Sequence[str]) -> AuditReport:
    images, classes = len(audited.sizes), len(findings.first.result.classes)
    left_out = f", {len(audited.skipped)} left out" if audited.skipped else ""
    names = " and ".join(stage.name for stage in findings.stages)
    return AuditReport(
        title=f"Audit of {names}",
        subject=f"{images} image{'s' if images != 1 else ''} of {classes} classes{left_out}, at the size of the true masks",
        findings=findings,
        truth=audited.truth.source,
        truth_taken=audited.truth.taken,
        pictures=lambda name: _picture(audited, config, name),
        commands=tuple(commands),
        facts=machine_facts(),
        look=audited.truth.look,
    )


def _picture(audited: Audited, config: AuditConfig, name: str) -> Picture:
    truth = audited.truth.read(name)
    size = (truth.shape[0], truth.shape[1])
    masks = {
        stage: _shown(fit(masks.read(name, size), size, resize=config.resize, what=stage).labels)
        for stage, masks in audited.masks.items()
    }
    found = audited.truth.image(name)
    grey = np.full((*size, 3), 128, np.uint8)
    image = grey if found is None or found.shape[:2] != size else as_colours(found)
    return Picture(image=image, truth=truth, masks=masks, look=audited.truth.look)


def _shown(labels: np.ndarray) -> UInt8[np.ndarray, "h w"]:
    """Labels as a page shows them; those that are none, which only ignored pixels may have, as ignored."""
    return np.where((labels < 0) | (labels > 255), 255, labels).astype(np.uint8)
