"""The classes of a data set: their names, and how the values stored in its masks become labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from jaxtyping import Integer, UInt8

from ..errors import DataError
from ..types import IGNORE_INDEX
from .io import describe_labels

_KEYS = ("names", "ignore", "binary_foreground")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassTable:
    """Class names and the encoding of stored masks.

    Attributes:
        names: 2 to 255 different names, index = label; None until they are found in the masks.
        ignore: a stored value, of any integer range, that means ignored; 255 means so always.
        binary_foreground: the one value beside 0 in binary masks, which becomes label 1; None where values are labels.
        values: stored value 0..255 → label, 255 = ignored, for masks of fixed numbers; None where values are labels.

    Raises:
        DataError: names missing, empty or equal; or one stored value with two meanings.
    """

    names: tuple[str, ...] | None = None
    ignore: int | None = None
    binary_foreground: int | None = None
    values: Mapping[int, int] | None = None

    def __post_init__(self) -> None:
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


def _parse(content: object) -> ClassTable:
    fields = content if isinstance(content, dict) else {"names": content}
    unknown = [key for key in fields if key not in _KEYS]
    if unknown:
        raise DataError(f"has the keys {unknown}; expected {', '.join(_KEYS)}")
    return ClassTable(
        names=_names(fields["names"]) if "names" in fields else None,
        ignore=_whole(fields.get("ignore"), "ignore"),
        binary_foreground=_whole(fields.get("binary_foreground"), "binary_foreground"),
    )


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
