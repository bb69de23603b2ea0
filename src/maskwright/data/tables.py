"""Rows of points or boxes from CSV or JSON.

CSV has a header line; JSON is a list of objects with the same names. A table of several images also has `name`, the stem
of the image.
"""

import csv
import io
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row; `where` is its file and number, for messages."""

    where: str
    fields: Mapping[str, object]

    def is_empty(self, keys: Iterable[str]) -> bool:
        """Whether the row says nothing in any of these columns."""
        return all(self.fields.get(key) in (None, "") for key in keys)

    def number(self, key: str, low: float, high: float, *, default: float | None = None) -> float:
        """Return a finite number within [low, high].

        Raises:
            DataError: it is missing without a default, is no number, or lies outside.
        """
        value = self.fields.get(key)
        if value in (None, "") and default is not None:
            return default
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not low <= number <= high:
            raise DataError(f"{self.where}: {key} is {value!r}; expected a number from {low:g} to {high:g} (pixels).")
        return number

    def label(self, classes: Sequence[str]) -> int:
        """Return `label`, which is a class's number or its name.

        Raises:
            DataError: it is neither.
        """
        value = str(self.fields.get("label", "")).strip()
        if value in classes:
            return tuple(classes).index(value)
        numbers = [str(label) for label in range(len(classes))]
        if value in numbers:
            return numbers.index(value)
        raise DataError(
            f"{self.where}: label is {value!r}; expected 0..{len(classes) - 1} or one of {', '.join(classes[:10])}."
        )


def read_rows(path: Path) -> list[Row]:
    """Read the rows of a file.

    Raises:
        DataError: not readable, not a header with rows, or not a list of objects.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        found = json.loads(text) if path.suffix.lower() == ".json" else _csv_rows(text)
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read: {error}; expected CSV with a header, or a JSON list.") from error
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise DataError(f"{path}: holds {type(found).__name__}; expected a list of objects, one per row.")
    return [Row(where=f"{path}, row {number}", fields=row) for number, row in enumerate(found, start=1)]


def read_table(path: Path) -> dict[str, list[Row]]:
    """Read the rows of several images, by the column `name`.

    Raises:
        DataError: as `read_rows`; a row without a name.
    """
    grouped = defaultdict(list)
    for row in read_rows(path):
        name = row.fields.get("name")
        if not isinstance(name, str) or not name:
            raise DataError(f"{row.where}: name is {name!r}; expected the stem of the image.")
        grouped[name].append(row)
    return dict(grouped)


def _csv_rows(text: str) -> list[dict[str, object]]:
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True, strict=True)
    rows: list[dict[str, object]] = list(reader)
    if not reader.fieldnames:
        raise ValueError("it is empty")
    if any(None in row for row in rows):
        raise ValueError("a row has more values than the header has names")
    return rows
