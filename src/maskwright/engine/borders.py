"""The border strip of Oxford-IIIT Pet's trimaps: counted as pet, or ignored; scores either way, and both."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from ..data.catalog import DataConfig
from ..data.pets import Border
from ..errors import ConfigError
from ..report import Convention, Stage
from ..types import EvaluationResult

BORDER_NOTES: Mapping[Border, str] = {
    "pet": "The border strip of the Pet trimaps counts as pet (data.border: pet): the edge that is scored is the strip's "
    "outer edge, and a mask that follows the animal's own edge loses.",
    "ignore": "The border strip of the Pet trimaps is ignored (data.border: ignore): no pixel in it is scored, so a mask "
    "may place the edge anywhere in the strip.",
}
"""What the two conventions of `data.border` mean for the scores, `pets` only."""

BORDER_NAMES: Mapping[Border, str] = {"pet": "border as pet", "ignore": "border ignored"}
"""What they are called beside scores by both."""

Readings: TypeAlias = Mapping[Border | None, Mapping[str, EvaluationResult]]
"""Convention of the border, None for that of the data → the stages scored by it, in order."""


def with_border(data: DataConfig, border: Border | None) -> DataConfig:
    """Return the same data with another convention of Pet's border; None leaves it as it is.

    Raises:
        ConfigError: the data is not `pets`, which alone has such a border.
    """
    if border is None:
        return data
    if data.name.partition(":")[0] != "pets":
        raise ConfigError(f"border {border} is given for the data {data.name!r}; only pets have a border to choose for")
    return dataclasses.replace(data, border=border)


def conventions(readings: Readings) -> tuple[tuple[Stage, ...], str, tuple[Convention, ...]]:
    """Return the stages of the first reading, its name where there are others, and those."""
    (_, own), *rest = (
        (border, tuple(Stage(name=name, result=result) for name, result in results.items()))
        for border, results in readings.items()
    )
    others = tuple(Convention(name=BORDER_NAMES[border], stages=stages) for border, stages in rest if border)
    first = next(iter(readings))
    return own, BORDER_NAMES[first] if first and others else "", others


def border_notes(data: DataConfig, borders: Sequence[Border | None] = (None,)) -> tuple[str, ...]:
    """Return what the page says of the conventions that were scored; None is that of the data."""
    if data.name.partition(":")[0] != "pets":
        return ()
    return tuple(BORDER_NOTES[border or data.border] for border in borders)
