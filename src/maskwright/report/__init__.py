"""The page that shows whether refinement helped, and where.

    write_report(Path("report.html"), Report(title="Digits", stages=(coarse, refined), ...))

The first stage is the base that every other one is compared with.
"""

from maskwright.report.page import write_report
from maskwright.report.records import Convention, Curve, Look, Picture, Report, Stage, Strip

__all__ = ["Convention", "Curve", "Look", "Picture", "Report", "Stage", "Strip", "write_report"]
