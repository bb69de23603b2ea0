"""The classes of a data set: their names and colours, and how the values stored in its masks become labels.

Besides `classes.yaml`, the tables of other tools are read: see `read_class_table`.
"""

import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from jaxtyping import Integer, UInt8

from ..errors import DataError
from ..types import IGNORE_INDEX
from .colours import Colour, hexadecimal
from .io import describe_labels

_KEYS = ("names", "ignore", "binary_foreground", "colours", "ignore_colours")
_SPELLED = {"colors": "colours", "ignore_colors": "ignore_colours"}

_MAX_TABLE_BYTES = 2**20
"""A file beyond it is no table of at most 255 classes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassTable:
    """Class names and the encoding of stored masks.

    Attributes:
        names: 2 to 255 different names, index = label; None until they are found in the masks.
        ignore: a stored value, of any integer range, that means ignored; 255 means so always.
        binary_foreground: the one value beside 0 in binary masks, which becomes label 1; None where values are labels.
        values: stored value 0..255 → label, 255 = ignored, for masks of fixed numbers; None where values are labels.
        colours: RGB of the labels, for masks whose classes are colours and for showing; None where they have none.
        ignore_colours: RGB of ignored pixels in masks whose classes are colours.

    Raises:
        DataError: names missing, empty or equal; one stored value with two meanings; or not one colour of its own for each
            name.
    """

    names: tuple[str, ...] | None = None
    ignore: int | None = None
    binary_foreground: int | None = None
    values: Mapping[int, int] | None = None
    colours: tuple[Colour, ...] | None = None
    ignore_colours: tuple[Colour, ...] = ()

    def __post_init__(self) -> None:
        _check_colours(self.names, self.colours, self.ignore_colours)
        binary = self.binary_foreground
        if self.names is not None:
            if not 2 <= len(self.names) <= IGNORE_INDEX or len(set(self.names)) < len(self.names) or "" in self.names:
                raise DataError(
                    f"class names are {list(self.names)}; expected 2 to 255 different names, background first"
                )
            if binary is not None and len(self.names) != 2:
                raise DataError(f"binary_foreground is set beside {len(self.names)} class names; expected 2")
        if binary is not None and (not 1 <= binary <= 255 or binary == self.ignore):
            raise DataError(f"binary_foreground is {binary}; expected 1 to 255, and another value than ignore")

    def encode(self, stored: Integer[np.ndarray, "h w"], *, path: Path) -> UInt8[np.ndarray, "h w"]:
        """Return the labels of a stored mask: 0..C-1, and 255 where ignored.

        Raises:
            DataError: values outside the classes; says which, and in how many pixels of `path`.
        """
        meaning = np.full(256, -1, np.int16)
        meaning[IGNORE_INDEX] = IGNORE_INDEX
        if self.values is not None:
            for value, label in self.values.items():
                meaning[value] = label
        elif self.binary_foreground is None:
            count = IGNORE_INDEX if self.names is None else len(self.names)
            meaning[:count] = np.arange(count)
        else:
            meaning[0], meaning[self.binary_foreground] = 0, 1
        labels = np.where((stored >= 0) & (stored <= 255), meaning[stored & 255], -1)
        if self.ignore is not None:
            labels[stored == self.ignore] = IGNORE_INDEX
        if (labels < 0).any():
            raise DataError(f"{path}: holds {describe_labels(stored[labels < 0])}; expected {self._expected(stored)}")
        return labels.astype(np.uint8)

    def _expected(self, stored: Integer[np.ndarray, "h w"]) -> str:
        if self.values is not None:
            return f"{_ranges(self.values)} or 255 (ignored). Take the mask anew from the data set's own files."
        if self.binary_foreground is not None:
            return f"0 and {self.binary_foreground} only. Correct binary_foreground in classes.yaml."
        last = IGNORE_INDEX - 1 if self.names is None else len(self.names) - 1
        values = np.unique(stored)
        remedy = "Name the class, or set `ignore`, in classes.yaml."
        if len(values) == 2 and values[0] == 0:
            remedy = f"If {values[1]} is the foreground, set `binary_foreground: {values[1]}` in classes.yaml."
        return f"0..{last} or 255 (ignored). {remedy}"


def _ranges(values: Mapping[int, int]) -> str:
    """Name whole numbers in short: "0..18, 33"."""
    ordered = sorted(values)
    firsts = [value for value in ordered if value - 1 not in values]
    lasts = [value for value in ordered if value + 1 not in values]
    return ", ".join(f"{a}..{b}" if a < b else f"{a}" for a, b in zip(firsts, lasts, strict=True))


def load_classes(path: Path) -> ClassTable:
    """Read `classes.yaml`; where there is no such file, the table has no names.

    Raises:
        DataError: not readable, not YAML, unknown keys, or values of another type than the module's `ClassTable` wants.
    """
    if not path.exists():
        return ClassTable()
    try:
        return _parse(yaml.safe_load(path.read_text(encoding="utf-8-sig")))
    except DataError as error:
        raise DataError(f"{path}: {error}.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot be read as YAML: {error}") from error


def read_class_table(path: Path) -> ClassTable:
    """Read the class table of any tool; the order of the file is that of the labels.

    - `.yaml`, `.yml`: `classes.yaml`;
    - `.csv`: a header `name,r,g,b` and a line per class, as CamVid's `class_dict.csv`;
    - `.json`: a list of names, or of objects with `name` and, as wanted, `color`: "#rrggbb" or [r, g, b];
    - other text: CVAT's and VOC's `labelmap.txt` with lines `name:r,g,b:parts:actions`, or a name per line.

    Raises:
        DataError: not readable, of none of these forms, or not the names and colours that `ClassTable` wants.
    """
    if path.suffix.lower() in (".yaml", ".yml") and path.is_file():
        return load_classes(path)
    names, colours = read_class_names(path)
    try:
        return ClassTable(names=names, colours=colours)
    except DataError as error:
        raise DataError(f"{path}: {error}.") from error


class ClassNames(NamedTuple):
    """Names in a tool's own order, with or without a background, and their colours where each has one."""

    names: tuple[str, ...]
    colours: tuple[Colour, ...] | None = None


def read_class_names(path: Path) -> ClassNames:
    """Read the names and colours of any tool's table.

    Raises:
        DataError: as `read_class_table`, but for names and colours that are too few or equal.
    """
    try:
        # Before it is read: a picture or an archive given by mistake can be large.
        if path.stat().st_size > _MAX_TABLE_BYTES:
            raise DataError(f"has {path.stat().st_size} bytes; expected a table of at most {IGNORE_INDEX} classes")
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() in (".yaml", ".yml"):
            table = _parse(yaml.safe_load(text))
            if table.names is None:
                raise DataError("has no names; expected the key `names`")
            return ClassNames(table.names, table.colours)
        return _PARSERS.get(path.suffix.lower(), _text_table)(text)
    except DataError as error:
        raise DataError(f"{path}: {error}.") from error
    except (OSError, ValueError, RecursionError, csv.Error, yaml.YAMLError) as error:
        raise DataError(
            f"{path}: cannot be read as a class table: {error}; expected classes.yaml, CSV with the header name,r,g,b, a "
            "labelmap.txt, a text with a name per line, or a JSON list"
        ) from error


def _csv_table(text: str) -> ClassNames:
    rows = list(csv.reader(text.splitlines(), skipinitialspace=True, strict=True))
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    if not {"name", "r", "g", "b"} <= set(header):
        raise DataError(f"has the header {header[:8]}; expected name,r,g,b")
    filled = [row for row in rows[1:] if any(row)]
    if any(len(row) != len(header) for row in filled):
        raise DataError(f"has lines of other than the header's {len(header)} columns")
    columns = [header.index(key) for key in ("name", "r", "g", "b")]
    cells = [[row[column].strip() for column in columns] for row in filled]
    return ClassNames(tuple(row[0] for row in cells), tuple(_colour(row[1:]) for row in cells))


def _json_table(text: str) -> ClassNames:
    content = json.loads(text)
    entries = [{"name": one} if isinstance(one, str) else one for one in content] if isinstance(content, list) else []
    if not entries or not all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in entries):
        raise DataError("holds no list of classes; expected names, or objects with name and color")
    colours = [one.get("color", one.get("colour")) for one in entries]
    names = tuple(one["name"] for one in entries)
    return ClassNames(names, None if None in colours else tuple(_colour(one) for one in colours))


def _text_table(text: str) -> ClassNames:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    found = [re.fullmatch(r"(.+?):(\d+,\s*\d+,\s*\d+)?:[^:]*:[^:]*", line) for line in lines]
    names = [line[1] if line else "" for line in found]
    if not lines or not all(found):
        # labelme's lists begin with __ignore__, which is no class.
        names = [line for line in lines if line != "__ignore__"]
        if not names or any("\0" in name or len(name) > 200 for name in names):
            raise DataError("is no list of names; expected one per line")
        return ClassNames(tuple(names))
    written = [line[2] for line in found if line]
    colours = None if None in written else tuple(_colour(one.split(",")) for one in written)
    return ClassNames(tuple(names), colours)


_PARSERS: Mapping[str, Callable[[str], ClassNames]] = {".csv": _csv_table, ".json": _json_table}


def _colour(value: object) -> Colour:
    """Read "#rrggbb" or three numbers from 0 to 255, also as text.

    Raises:
        DataError: neither.
    """
    if isinstance(value, str) and re.fullmatch("#[0-9a-fA-F]{6}", value):
        value = list(bytes.fromhex(value[1:]))
    parts = [int(one) if isinstance(one, str | int) and str(one).strip().isdecimal() else -1 for one in _listed(value)]
    if len(parts) != 3 or not all(0 <= one <= 255 for one in parts):
        raise DataError(f"a colour is {value!r}; expected [r, g, b] of 0 to 255, or #rrggbb")
    red, green, blue = parts
    return red, green, blue


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _check_colours(
    names: Sequence[str] | None, colours: Sequence[Colour] | None, ignore_colours: Sequence[Colour]
) -> None:
    if colours is None:
        if ignore_colours:
            raise DataError("ignore_colours are set without colours; set the classes' colours too")
        return
    if names is None or len(names) != len(colours):
        raise DataError(f"{len(colours)} colours are set for {len(names or ())} names; expected one for each name")
    every = [*colours, *ignore_colours]
    same = [hexadecimal(one) for one in dict.fromkeys(every) if every.count(one) > 1]
    if same:
        raise DataError(f"the colours {', '.join(same[:5])} stand for two classes each; expected different ones")


def _parse(content: object) -> ClassTable:
    fields = content if isinstance(content, dict) else {"names": content}
    fields = {_SPELLED.get(key, key) if isinstance(key, str) else key: value for key, value in fields.items()}
    unknown = [key for key in fields if key not in _KEYS]
    if unknown:
        raise DataError(f"has the keys {unknown}; expected {', '.join(_KEYS)}")
    by_name = fields.get("colours")
    if isinstance(by_name, dict) and "names" not in fields:
        fields = {"names": list(by_name), **fields}
    names = _names(fields["names"]) if "names" in fields else None
    return ClassTable(
        names=names,
        ignore=_whole(fields.get("ignore"), "ignore"),
        binary_foreground=_whole(fields.get("binary_foreground"), "binary_foreground"),
        colours=_colours(by_name, names),
        ignore_colours=tuple(_colour(one) for one in _listed(fields.get("ignore_colours") or [])),
    )


def _colours(value: object, names: Sequence[str] | None) -> tuple[Colour, ...] | None:
    if value is None:
        return None
    if isinstance(value, dict):
        if names is None or set(value) != set(names):
            raise DataError(f"colours has the names {list(value)[:10]}; expected the class names, each once")
        value = [value[name] for name in names]
    if not isinstance(value, list):
        raise DataError(f"colours is {value!r}; expected a list of [r, g, b], or a mapping of name to [r, g, b]")
    return tuple(_colour(one) for one in value)


def _names(value: object) -> tuple[str, ...]:
    if isinstance(value, dict):
        if set(value) != set(range(len(value))):
            raise DataError(f"names has the indices {list(value)}; expected 0 to {len(value) - 1}, each once")
        value = [value[index] for index in range(len(value))]
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise DataError(f"names is {value!r}; expected a list of names, or a mapping of index to name, as text")
    return tuple(value)


def _whole(value: object, key: str) -> int | None:
    if value is not None and type(value) is not int:
        raise DataError(f"{key} is {value!r}; expected a whole number")
    return value
