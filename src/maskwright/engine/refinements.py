"""`refinement.csv`: what refinement did to each mask of a folder, one row per image, for spreadsheets.

A row is appended before its mask is written, so that a batch that was killed has the rows of all masks that it wrote. Rows
whose mask is missing are dropped when the next batch adds its first one.
"""

import csv
import io
import statistics
from collections.abc import Mapping
from pathlib import Path

from ..errors import ConfigError
from ..files import append_text, write_text
from ..refine.outcome import RefinementReport

TABLE = "refinement.csv"
"""File in the folder of the refined masks."""

COLUMNS = ("name", "changed_pixels", "changed_share", "estimated_gain", "kept", "seconds")
"""Its columns: the image's stem, then the attributes of `RefinementReport`; no gain is an empty cell."""


class RefinementTable:
    """The table while a batch writes masks; use it as a context manager, which leaves its rows in the images' order.

    A file that stands there is not touched before the first row is added.

    Args:
        path: the table.
        outputs: stem of every image → its refined mask, in the order of the rows.

    Raises:
        ConfigError: a file that stands there is no such table.
    """

    def __init__(self, path: Path, outputs: Mapping[str, Path]) -> None:
        self.path = path
        self.outputs = {_utf8(name): output for name, output in outputs.items()}
        self.rows = read_refinements(path) if path.exists() else {}
        self.begun = False

    def __enter__(self) -> "RefinementTable":
        return self

    def __exit__(self, *_: object) -> None:
        if self.begun:
            self._write()

    def add(self, name: str, report: RefinementReport) -> None:
        """Add the row of one image, or replace it."""
        if not self.begun:
            self.rows = {known: row for known, row in self.rows.items() if self._has_mask(known)}
            self._write()
            self.begun = True
        append_text(self.path, _line(_utf8(name), report))
        self.rows[_utf8(name)] = report

    def _has_mask(self, name: str) -> bool:
        return name in self.outputs and self.outputs[name].exists()

    def _write(self) -> None:
        lines = [_line(name, self.rows[name]) for name in self.outputs if name in self.rows]
        write_text(self.path, _joined(COLUMNS) + "".join(lines))


def read_refinements(path: Path) -> dict[str, RefinementReport]:
    """Read a table as stem → report. The last of several rows of one stem counts; a last line that was cut off does not.

    Raises:
        ConfigError: the file is no such table.
    """
    try:
        text = path.read_text(encoding="utf-8")
        first, *rows = csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
        if tuple(first) != COLUMNS:
            raise ValueError(f"its first line is not {','.join(COLUMNS)}")
        return {name: _report(*cells) for name, *cells in rows}
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read ({error}); move it away, or choose another --out") from None


def summary_line(rows: Mapping[str, RefinementReport]) -> str:
    """Return what the rows, at least one, say together."""
    reports = rows.values()
    parts = [f"changed {statistics.median(report.changed_share for report in reports):.2%} of an image (median)"]
    if any(report.estimated_gain is not None for report in reports):
        parts.append(f"the gate left {sum(report.kept for report in reports)} of {len(reports)} masks alone")
    parts.append(f"{statistics.median(report.seconds for report in reports):.3g} s per image (median)")
    return ", ".join(parts)


def _line(name: str, report: RefinementReport) -> str:
    gain = "" if report.estimated_gain is None else f"{report.estimated_gain:.5f}"
    kept = "true" if report.kept else "false"
    return _joined((name, report.changed_pixels, f"{report.changed_share:.6f}", gain, kept, f"{report.seconds:.4f}"))


def _report(changed_pixels: str, changed_share: str, estimated_gain: str, kept: str, seconds: str) -> RefinementReport:
    return RefinementReport(
        changed_pixels=int(changed_pixels),
        changed_share=float(changed_share),
        estimated_gain=float(estimated_gain) if estimated_gain else None,
        kept=kept.lower() == "true",  # spreadsheets write TRUE
        seconds=float(seconds),
    )


def _joined(cells: tuple[object, ...]) -> str:
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _utf8(name: str) -> str:
    """The name as `write_text` writes it."""
    return name.encode("utf-8", errors="backslashreplace").decode()
