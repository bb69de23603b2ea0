"""What lies in a folder of outputs."""

import os
from pathlib import Path

from maskwright.engine.batch import RECORD
from maskwright.engine.refinements import TABLE


def names_in(folder: Path) -> list[str]:
    """Return the names of all files, hidden ones too, but for the records of what they were made with and how."""
    return sorted(name for name in os.listdir(folder) if name not in (RECORD, TABLE))
