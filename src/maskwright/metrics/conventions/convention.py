"""One number as one tool reports it: who, by which call, by which definition, and its value from exact counts."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import ConfigError
from maskwright.metrics.conventions.choices import Choices, Drawn, Values, describe, evaluate

Label = Literal["IoU", "Dice", "accuracy"]
"""What a tool calls its number; `Choices.score` is what is computed."""

Overlap = Literal["IoU", "Dice"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Convention:
    """A number that a tool reports.

    Attributes:
        key: stable name, such as "smp.iou.micro-imagewise".
        tool: whose number it is.
        version: of the tool that was compared.
        checked: "tool", this package's tests run the tool itself; "formula", they run the tool's formula, written anew
            pixel by pixel, because the tool is not installed with them.
        score: what the tool calls the number: "IoU", "Dice" or "accuracy".
        call: the code that a user of the tool writes.
        many: the choices for more than two classes; None where the tool, so called, takes two classes only.
        two: the choices for two classes, background and foreground; None where they are those of `many`.
        note: what surprises about it, and what the tool does with ignored pixels; may be empty.
    """

    key: str
    tool: str
    version: str
    checked: Literal["tool", "formula"]
    score: Label
    call: str
    many: Choices | None
    two: Choices | None = None
    note: str = ""

    @property
    def definition(self) -> str:
        """What is averaged over what, which classes enter, and what empty masks and absent classes count."""
        if self.many is None:
            said = f"Two classes only (nan with more). {describe(self.choices(2), 2)}"
        elif self.two is None:
            said = describe(self.many)
        else:
            said = f"With two classes: {describe(self.two, 2)} With more: {describe(self.many, 3)}"
        return f"{said} {self.note}".rstrip()

    def applies(self, num_classes: int) -> bool:
        """Whether the tool, so called, gives a number for so many classes."""
        return self.many is not None or num_classes == 2

    def choices(self, num_classes: int) -> Choices:
        """The choices for so many classes, at least two, for which the convention applies."""
        chosen = self.two if num_classes == 2 and self.two is not None else self.many
        if chosen is None:
            raise ConfigError(
                f"{self.key} is defined for two classes only; got {num_classes}: take a convention for more classes"
            )
        return chosen

    def of(self, counts: NDArray[np.int64]) -> float:
        """The number, from counts int64, (N, 3, C); nan where the tool gives nan or refuses."""
        return float(self.of_drawn(Drawn(counts))[0])

    def of_draws(self, counts: NDArray[np.int64], times: Values) -> Values:
        """The number of each resample, float64, (R,), from counts (N, 3, C) and `times`, (R, N): how often each image
        is drawn."""
        return self.of_drawn(Drawn(counts, times))

    def of_drawn(self, drawn: Drawn) -> Values:
        """Like `of_draws`, from a record that several conventions can share."""
        num_classes = drawn.counts.shape[-1]
        if not self.applies(num_classes):
            return np.full(len(drawn.times), np.nan)
        return evaluate(self.choices(num_classes), drawn)
