"""A CSV table beside the outputs of a batch, one row per image, for spreadsheets.

A row is appended before its output is written, so that a batch that was killed has the rows of all outputs that it wrote.
Rows whose output is missing are dropped when the next batch adds its first one.
"""

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from ..errors import ConfigError
from ..files import append_text, write_text

Row = TypeVar("Row")


class BatchTable(ABC, Generic[Row]):
    """The table while a batch writes its outputs; use it as a context manager, which leaves its rows in the images' order.

    A file that stands there is not touched before the first row is added.

    Args:
        path: the table.
        outputs: name of every image → its output, in the order of the rows.

    Raises:
        ConfigError: a file that stands there is no such table.
    """

    columns: ClassVar[tuple[str, ...]]
    """Headings: the image's name, then what `cells` gives."""

    def __init__(self, path: Path, outputs: Mapping[str, Path]) -> None:
        self.path = path
        self.outputs = {utf8(name): output for name, output in outputs.items()}
        self.rows = self.read(path) if path.exists() else {}
        self.begun = False

    def __enter__(self) -> "BatchTable[Row]":
        return self

    def __exit__(self, *_: object) -> None:
        if self.begun:
            self._write()

    @classmethod
    def read(cls, path: Path) -> dict[str, Row]:
        """Read a table as name → row. The last of several rows of one name counts; a last line that was cut off does not.

        Raises:
            ConfigError: the file is no such table.
        """
        try:
            text = path.read_text(encoding="utf-8")
            first, *rows = csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
            if tuple(first) != cls.columns:
                raise ValueError(f"its first line is not {','.join(cls.columns)}")
            return {name: cls.row_of(*cells) for name, *cells in rows}
        except (OSError, ValueError, TypeError, csv.Error) as error:
            raise ConfigError(f"{path} cannot be read ({error}); move it away, or choose another --out") from None

    @staticmethod
    @abstractmethod
    def cells(row: Row) -> Sequence[object]:
        """Return what stands in a row behind the name."""

    @staticmethod
    @abstractmethod
    def row_of(*cells: str) -> Row:
        """Return the row whose cells these are; ValueError and TypeError say that they are no such cells."""

    def add(self, name: str, row: Row) -> None:
        """Add the row of one image, or replace it."""
        if not self.begun:
            self.rows = {known: row for known, row in self.rows.items() if self._has_output(known)}
            self._write()
            self.begun = True
        append_text(self.path, _joined((utf8(name), *self.cells(row))))
        self.rows[utf8(name)] = row

    def _has_output(self, name: str) -> bool:
        return name in self.outputs and self.outputs[name].exists()

    def _write(self) -> None:
        lines = [_joined((name, *self.cells(self.rows[name]))) for name in self.outputs if name in self.rows]
        write_text(self.path, _joined(self.columns) + "".join(lines))


def utf8(name: str) -> str:
    """Return a file's name as `write_text` writes it."""
    return name.encode("utf-8", errors="backslashreplace").decode()


def _joined(cells: Sequence[object]) -> str:
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()
