"""`maskwright doctor`: inspect a data set, say what is wrong with it, and write a clean copy."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..data.catalog import DATASETS, DataConfig, open_data
from ..data.classes import read_class_names
from ..data.doctor.examination import Examination
from ..data.doctor.facts import Probe
from ..data.doctor.inspection import Options, findings_of, inspect_annotations, inspect_folder, inspect_parts
from ..data.doctor.kinds import Finding
from ..data.doctor.repair import Plan, plan_copy, take_step, twins_to_drop, write_classes, write_fixes
from ..data.doctor.workers import spread
from ..data.formats import FORMATS, AnnotationSet, recognise_format
from ..errors import ConfigError, DataError, WriteError
from ..files import write_json
from ..progress import Bar
from ..report.doctor import DoctorReport, FoundKind, write_doctor_report
from .doctor_pictures import pictures_of

JSON_FILE = "doctor.json"
PAGE = "report.html"
SHOWN_FILES = 200
"""Files of a kind that the page names; the JSON has all."""


@dataclass(frozen=True, kw_only=True)
class Checkup:
    """What the doctor found and did.

    Attributes:
        examination: the facts.
        findings: the gravest first.
        plan: what a clean copy of files keeps; None where nothing can be kept, or there are no mask files.
        annotations: those of another tool, where the data set is such.
        verdict: in a sentence or two.
    """

    examination: Examination
    findings: tuple[Finding, ...]
    plan: Plan | None
    annotations: AnnotationSet | None
    verdict: str

    @property
    def has_errors(self) -> bool:
        """Whether training or scores would be wrong, or files cannot be used."""
        return any(finding.kind.severity == "error" for finding in self.findings)


def check_data(data: str, options: Options) -> Checkup:
    """Inspect a data set.

    Args:
        data: a folder, or `NAME:DIR` of the catalogue.
        options: what is known of it.

    Raises:
        DataError, ConfigError: it cannot be found or opened at all.
    """
    kind, colon, path = data.partition(":")
    annotations = None
    if colon and kind in DATASETS and kind != "folder":
        examination = _by_reader(data, Path(path).expanduser(), options)
    else:
        root = Path(path if colon and kind == "folder" else data).expanduser()
        annotations = _annotations(root, options)
        if annotations is None:
            examination = inspect_folder(root, options, _progress)
        else:
            examination = inspect_annotations(root, annotations, options, _progress)
    findings = findings_of(examination)
    try:
        plan = plan_copy(examination) if examination.reading is not None else None
    except DataError:
        plan = None
    return Checkup(
        examination=examination,
        findings=tuple(findings),
        plan=plan,
        annotations=annotations,
        verdict=_verdict(examination, findings, plan),
    )


def write_checkup(folder: Path, checkup: Checkup, *, data: str, commands: Sequence[str]) -> Path:
    """Write `doctor.json` and the page into a folder; return the page."""
    report = _report(checkup, data=data, commands=commands)
    write_json(folder / JSON_FILE, _record(checkup, data))
    write_doctor_report(folder / PAGE, report)
    return folder / PAGE


def write_copy(checkup: Checkup, out: Path, *, workers: int) -> tuple[int, int]:
    """Write the clean copy into a new folder, whole or not at all; return how many samples it has, and were left out.

    Raises:
        DataError: nothing can be kept, or the data set is one that its own reader gives.
        WriteError: the folder is not empty, or cannot be written.
    """
    root = checkup.examination.root
    if out.resolve().is_relative_to(root.resolve()):
        raise ConfigError(f"--out {out} lies inside the data set; choose a folder outside, so that it stays as it is")
    require_empty(out)
    unfinished = out.parent / f".{out.name}.unfinished"
    try:
        shutil.rmtree(unfinished, ignore_errors=True)  # of a run that was killed
        if checkup.annotations is not None:
            kept, left_out = _copy_annotations(checkup.examination, checkup.annotations, unfinished)
        elif checkup.examination.reading is None:
            raise DataError(
                "--fix mends files, but this data set has a reader of its own; give its folder without a name."
            )
        else:
            kept, left_out = _copy_files(checkup, unfinished, workers)
        if out.is_dir():
            out.rmdir()
        os.replace(unfinished, out)
    except OSError as error:
        raise WriteError(f"cannot write {out}: {error.strerror or error}; check the path and the disk") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return kept, left_out


def _copy_files(checkup: Checkup, folder: Path, workers: int) -> tuple[int, int]:
    if checkup.plan is None:
        raise DataError("no sample can be kept or mended; the findings say why. Mend the files by hand.")
    steps, failed = checkup.plan.steps, {}
    with Bar("write", total=len(steps), unit="samples") as bar:
        for index, why in spread(partial(take_step, root=folder), steps, workers=workers):
            if why:
                failed[index] = why
            bar.advance()
    shown = checkup.examination.shown
    left_out = [*checkup.plan.left_out, *((shown(steps[index].mask), why) for index, why in failed.items())]
    mended = [(shown(s.mask), s.done) for index, s in enumerate(steps) if s.done and index not in failed]
    write_classes(folder, checkup.plan.names)
    write_fixes(folder, left_out, mended)
    return len(steps) - len(failed), len(left_out)


def _copy_annotations(examination: Examination, annotations: AnnotationSet, folder: Path) -> tuple[int, int]:
    """Draw the annotations of another tool as label maps, but for those with errors."""
    why = {examination.probes[index].item.title: words for index, words in twins_to_drop(examination).items()}
    for probe in examination.probes:
        for problem in probe.problems.values():
            why[probe.item.title] = problem.words
    kept = [item for item in annotations.items if (f"{item.part}/{item.name}" if item.part else item.name) not in why]
    if not kept:
        raise DataError("no sample can be kept; the findings say why. Mend the annotations by hand.")
    with Bar("write", total=len(kept), unit="samples") as bar:
        failed = FORMATS["folder"].write(replace(annotations, items=tuple(kept)), folder, done=bar.advance)
    write_fixes(folder, [*why.items(), *((words, "") for words in failed)], [])
    return len(kept) - len(failed), len(why) + len(failed)


def require_empty(out: Path) -> None:
    """Refuse a folder that holds anything.

    Raises:
        WriteError: it is not empty, or no folder.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise WriteError(f"{out} is there and not empty; choose another folder for --out, or delete that one")


def _annotations(root: Path, options: Options) -> AnnotationSet | None:
    """Read annotations of another tool, where the files are such; masks that are pictures are inspected as files."""
    name = None if options.masks else recognise_format(root)
    if name in (None, "folder"):
        return None
    names = read_class_names(options.classes) if options.classes is not None else None
    return FORMATS[name].read(root, options.images, names)


def _by_reader(data: str, root: Path, options: Options) -> Examination:
    splits = open_data(DataConfig(name=data, val_fraction=0))
    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    given = {part: one for part, one in parts.items() if one is not None}
    return inspect_parts(root, given, options, _progress)


def _progress(results: Iterator[tuple[int, Probe]], total: int) -> Iterator[tuple[int, Probe]]:
    with Bar("inspect", total=total, unit="samples") as bar:
        for result in results:
            yield result
            bar.advance()


def _verdict(examination: Examination, findings: Sequence[Finding], plan: Plan | None) -> str:
    total = len(examination.probes)
    samples = f"{total} sample{'s' if total != 1 else ''}"
    counts = Counter(finding.kind.severity for finding in findings)
    if not counts["error"]:
        kinds = "1 kind of warning is" if counts["warning"] == 1 else f"{counts['warning']} kinds of warnings are"
        rest = f"{kinds} worth a look." if counts["warning"] else "Nothing to remark."
        return f"No errors in {samples}. {rest}"
    concerned = {title for finding in findings if finding.kind.severity == "error" for title in finding.items}
    where = f"all {samples}" if len(concerned) == total > 1 else f"{len(concerned)} of {samples}"
    kinds = f"{counts['error']} kinds of errors" if counts["error"] > 1 else "1 kind of error"
    if plan is None:
        return f"{kinds} in {where}."
    mended = sum(bool(step.done) for step in plan.steps)
    return f"{kinds} in {where}; --fix mends {mended} and leaves out {len(plan.left_out)}."


def found_kinds(checkup: Checkup, *, drawn: bool = False) -> list[FoundKind]:
    """Return the findings as the terminal and, `drawn` with pictures, the page show them."""
    return [
        FoundKind(
            code=finding.code,
            severity=finding.kind.severity,
            title=finding.kind.title,
            explanation=finding.kind.explanation,
            fix=finding.kind.fix,
            whole=finding.whole,
            count=len(finding.concerns),
            files=tuple((concern.name, concern.detail) for concern in finding.concerns[:SHOWN_FILES]),
            pictures=pictures_of(checkup.examination, finding) if drawn else (),
        )
        for finding in checkup.findings
    ]


def _report(checkup: Checkup, *, data: str, commands: Sequence[str]) -> DoctorReport:
    return DoctorReport(
        data=data,
        samples=len(checkup.examination.probes),
        verdict=checkup.verdict,
        kinds=tuple(found_kinds(checkup, drawn=True)),
        commands=tuple(commands),
    )


def _record(checkup: Checkup, data: str) -> dict[str, object]:
    reading = checkup.examination.reading
    return {
        "data": data,
        "samples": len(checkup.examination.probes),
        "verdict": checkup.verdict,
        "errors": checkup.has_errors,
        "masks": None if reading is None else {"stored_as": reading.habit, "classes": reading.count},
        "findings": [
            {
                "code": finding.code,
                "severity": finding.kind.severity,
                "title": finding.kind.title,
                "explanation": finding.kind.explanation,
                "fix": finding.kind.fix,
                "whole_set": finding.whole,
                "concerns": [{"name": one.name, "detail": one.detail} for one in finding.concerns],
            }
            for finding in checkup.findings
        ],
    }
