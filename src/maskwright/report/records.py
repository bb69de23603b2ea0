"""What a report is made of. Every record checks itself when it is created."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from maskwright.errors import DataError
from maskwright.types import EvaluationResult

if TYPE_CHECKING:
    from maskwright.report.instances import Section

RGB = UInt8[ndarray, "h w 3"]
Labels = UInt8[ndarray, "h w"]
Colours = Sequence[tuple[int, int, int]]

NOTICEABLE = 0.01
"""Change of an image's IoU above which the image counts as better or worse."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """The scored masks of one step of the work.

    Attributes:
        name: as the reader knows it, for example "coarse" or "DySPN".
        result: the exact counts of its masks.
    """

    name: str
    result: EvaluationResult


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """The course of one training.

    Attributes:
        name: what was trained.
        train_loss: mean loss of each epoch; may be empty.
        val_score: score on the validation part after each epoch, higher is better; may be empty.
        val_name: what `val_score` is, in words.
    """

    name: str
    train_loss: tuple[float, ...]
    val_score: tuple[float, ...]
    val_name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """How labels are shown.

    Attributes:
        colours: RGB of the classes by label, 0 to 255; empty where the data set has no official ones.
        background: whether class 0 is one.
    """

    colours: Colours = ()
    background: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One image with its truth and its masks, all of one size.

    Attributes:
        image: RGB, uint8, (H, W, 3).
        truth: label map, uint8, (H, W), 255 = ignored; None where there is no truth.
        masks: label maps, uint8, (H, W), by the name of the stage that made them.
        look: of the labels.
    """

    image: RGB
    truth: Labels | None
    masks: Mapping[str, Labels]
    look: Look = Look()

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            came = f"{self.image.dtype} of shape {self.image.shape}"
            raise DataError(f"a picture's image must be uint8 of shape (height, width, 3); got {came}")
        if self.truth is not None:
            check_label_map(self.truth, like=self.image, what="the truth")
        for name, mask in self.masks.items():
            check_label_map(mask, like=self.image, what=f"the mask of {name}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Strip:
    """One image with every step of its refinement.

    Attributes:
        name: the image's name.
        picture: the image, its truth and the finished masks.
        steps: label maps, uint8, (H, W), by refining stage: [0] is the coarse mask, [-1] the refined one, in the
            order of `RefinedMask.steps`.
    """

    name: str
    picture: Picture
    steps: Mapping[str, Sequence[Labels]]

    def __post_init__(self) -> None:
        for stage, masks in self.steps.items():
            if len(masks) == 0:
                raise DataError(
                    f"strip {self.name}: {stage} has no steps; give the coarse mask at least, or leave it out"
                )
            for number, mask in enumerate(masks):
                check_label_map(mask, like=self.picture.image, what=f"strip {self.name}: step {number} of {stage}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Convention:
    """The stages of a report scored once more, by another reading of the same truth.

    Attributes:
        name: of the reading, as a heading: "border ignored".
        stages: with the names and the order of the report's own.
    """

    name: str
    stages: tuple[Stage, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Everything that one page shows.

    Attributes:
        title: heading of the page.
        summary_subject: what was scored, as a noun phrase: "80 test images of multi-digit MNIST".
        commands: command lines that make the run again, in order.
        facts: what else is needed to make it again (data, split sizes, seed, versions, machine in words, minutes).
        curves: the trainings.
        stages: the first is the base that the others are compared with; at least one.
        strips: chosen images with every refinement step.
        pictures: gives the picture of a scored image by its name.
        notes: what the reader must know to judge the numbers, one sentence each.
        config: the run's configuration as YAML; empty where there is none.
        convention: name of the reading of the truth by which `stages` were scored; empty where there is but one.
        others: the scores by other readings.
        look: of the labels, that of the pictures.
        sections: tables of further scores, such as those of objects.
    """

    title: str
    summary_subject: str
    commands: tuple[str, ...]
    facts: Mapping[str, str]
    curves: tuple[Curve, ...]
    stages: tuple[Stage, ...]
    strips: tuple[Strip, ...]
    pictures: Callable[[str], Picture]
    notes: tuple[str, ...] = ()
    config: str = field(default="", repr=False)
    convention: str = ""
    others: tuple[Convention, ...] = ()
    look: Look = Look()
    sections: "tuple[Section, ...]" = ()

    def __post_init__(self) -> None:
        if not self.stages:
            raise DataError("a report needs at least one scored stage; got none; evaluate the run first")
        names = [stage.name for stage in self.stages]
        doubles = sorted({name for name in names if names.count(name) > 1})
        if doubles:
            raise DataError(f"the stages of a report need different names; {', '.join(doubles)} came more than once")
        for other in self.others:
            if [stage.name for stage in other.stages] != names:
                raise DataError(f"the stages scored with {other.name} must be those of the report: {', '.join(names)}")


def check_label_map(mask: Labels, *, like: RGB, what: str) -> None:
    """Raises DataError unless `mask` is a uint8 label map of the size of the image `like`."""
    if mask.shape != like.shape[:2] or mask.dtype != np.uint8:
        raise DataError(
            f"{what} must be uint8 of the image's shape {like.shape[:2]}; got {mask.dtype} of shape {mask.shape}"
        )
