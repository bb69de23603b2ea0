"""What `maskwright doctor` found: on the terminal, and as one self-contained HTML page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from maskwright.files import write_text
from maskwright.report.gallery import Row, Tile
from maskwright.report.page import environment
from maskwright.report.pictures import image_uri, is_small
from maskwright.report.records import RGB

SEVERITIES = {"error": "errors", "warning": "warnings", "note": "notes"}
"""The gravest first, with their plural."""

LINES = 5
"""Files of a kind that the terminal names."""

_STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold blue"}


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundPicture:
    """One sample as it is stored; what cannot be shown is None. `borders`: the image with the mask's borders."""

    name: str
    image: RGB | None
    mask: RGB | None
    borders: RGB | None


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundKind:
    """One kind of finding.

    Attributes:
        code: stable name.
        severity: "error", "warning" or "note".
        title, explanation, fix: in words.
        whole: it is a habit of the whole set.
        count: of what is concerned.
        files: name and detail of the first of them.
        pictures: of some.
    """

    code: str
    severity: str
    title: str
    explanation: str
    fix: str
    whole: bool
    count: int
    files: Sequence[tuple[str, str]]
    pictures: Sequence[FoundPicture] = ()

    @property
    def extent(self) -> str:
        """How many are concerned, in words."""
        cases = f"{self.count} case{'' if self.count == 1 else 's'}"
        if not self.whole:
            return cases
        return "a habit of the set" if self.count == 1 else f"{cases}, a habit of the set"


@dataclass(frozen=True, kw_only=True, slots=True)
class DoctorReport:
    """Everything that the page shows, the gravest kinds first."""

    data: str
    samples: int
    verdict: str
    kinds: tuple[FoundKind, ...]
    commands: tuple[str, ...]


def write_doctor_report(path: Path, report: DoctorReport) -> None:
    """Write the page, atomically.

    Raises:
        WriteError: the file cannot be written.
    """
    groups = [
        (severity, plural, [(kind, _rows(kind)) for kind in report.kinds if kind.severity == severity])
        for severity, plural in SEVERITIES.items()
    ]
    page = environment().get_template("doctor.html.jinja").render(
        report=report,
        groups=[group for group in groups if group[2]],
        failed=any(kind.severity == "error" for kind in report.kinds),
    )  # fmt: skip
    write_text(path, page)


def show_findings(kinds: Sequence[FoundKind]) -> None:
    """Print the findings: of each kind what it means, how many are concerned, and the first of them."""
    console = Console()
    console = console if console.is_terminal else Console(width=120)
    for kind in kinds:
        style = _STYLES[kind.severity]
        many = "" if kind.severity == "note" else f" ({kind.extent})"
        console.print(f"[{style}]{kind.severity}[/] [bold]{kind.code}[/]: {escape(kind.title)}{many}")
        if kind.severity != "note":
            console.print(Padding(escape(kind.explanation), (0, 0, 0, 2), expand=False), highlight=False)
        limit = len(kind.files) if kind.severity == "note" else LINES
        for name, detail in kind.files[:limit]:
            console.print(
                Padding(escape(f"{name}: {detail}" if detail else name), (0, 0, 0, 4), expand=False), highlight=False
            )
        if kind.count > limit:
            console.print(f"    and {kind.count - limit} more", highlight=False)
        if kind.fix and kind.severity != "note":
            console.print(Padding(f"[dim]--fix: {escape(kind.fix)}[/]", (0, 0, 0, 2), expand=False), highlight=False)


def _rows(kind: FoundKind) -> list[tuple[str, Row]]:
    return [(picture.name, _row(picture)) for picture in kind.pictures]


def _row(picture: FoundPicture) -> Row:
    shown = {"image": picture.image, "mask as stored": picture.mask, "borders on the image": picture.borders}
    tiles = [
        Tile(uri=image_uri(image), caption=caption, pixelated=is_small(image))
        for caption, image in shown.items()
        if image is not None
    ]
    first = next(image for image in shown.values() if image is not None)
    return Row(heading="", tiles=tiles, ratio=float(np.clip(first.shape[1] / first.shape[0], 0.6, 1.8)))
