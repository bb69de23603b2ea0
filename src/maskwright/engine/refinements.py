"""`refinement.csv`: what refinement did to each mask of a folder, one row per image, see `BatchTable`."""

import statistics
from collections.abc import Mapping
from pathlib import Path

from ..refine.outcome import RefinementReport
from .table import BatchTable

TABLE = "refinement.csv"
"""File in the folder of the refined masks."""

COLUMNS = ("name", "changed_pixels", "changed_share", "estimated_gain", "kept", "seconds")
"""Its columns: the image's stem, then the attributes of `RefinementReport`; no gain is an empty cell."""


class RefinementTable(BatchTable[RefinementReport]):
    """The table while a batch refines masks, whose names are the images' stems."""

    columns = COLUMNS

    @staticmethod
    def cells(row: RefinementReport) -> tuple[object, ...]:
        gain = "" if row.estimated_gain is None else f"{row.estimated_gain:.5f}"
        kept = "true" if row.kept else "false"
        return row.changed_pixels, f"{row.changed_share:.6f}", gain, kept, f"{row.seconds:.4f}"

    @staticmethod
    def row_of(*cells: str) -> RefinementReport:
        changed_pixels, changed_share, estimated_gain, kept, seconds = cells
        return RefinementReport(
            changed_pixels=int(changed_pixels),
            changed_share=float(changed_share),
            estimated_gain=float(estimated_gain) if estimated_gain else None,
            kept=kept.lower() == "true",  # spreadsheets write TRUE
            seconds=float(seconds),
        )


def read_refinements(path: Path) -> dict[str, RefinementReport]:
    """Read a table as stem → report, see `BatchTable.read`."""
    return RefinementTable.read(path)


def summary_line(rows: Mapping[str, RefinementReport]) -> str:
    """Return what the rows, at least one, say together."""
    reports = rows.values()
    parts = [f"changed {statistics.median(report.changed_share for report in reports):.2%} of an image (median)"]
    if any(report.estimated_gain is not None for report in reports):
        parts.append(f"the gate left {sum(report.kept for report in reports)} of {len(reports)} masks alone")
    parts.append(f"{statistics.median(report.seconds for report in reports):.3g} s per image (median)")
    return ", ".join(parts)
