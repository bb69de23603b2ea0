"""What commands print when they are done."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..engine.borders import Readings
    from ..types import EvaluationResult


def command_line() -> str:
    """Return the command as it was typed, for the page."""
    return shlex.join(["maskwright", *sys.argv[1:]])


def show(stages: "Mapping[str, EvaluationResult]", page: Path) -> None:
    """Print the scores of all stages and where the page is."""
    from ..report import terminal

    if stages:
        terminal.show({"": stages}, page)


def show_readings(readings: "Readings", page: Path) -> None:
    """Print the scores of each reading of the border and where the page is."""
    from ..engine.borders import BORDER_NAMES
    from ..report import terminal

    terminal.show({BORDER_NAMES[border] if border else "": stages for border, stages in readings.items()}, page)
