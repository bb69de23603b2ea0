"""The records that the stages exchange."""

from dataclasses import dataclass
from typing import Protocol, TypedDict

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor

IGNORE_INDEX = 255
"""Label that is never scored and never trained on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One image with its truth, at the image's own size.

    Attributes:
        name: unique within the data set; the stem of the file that it came from.
        image: uint8, (C, H, W); RGB where C = 3, and the first three channels where there are more.
        target: label map, uint8, (H, W), 0 = background where the data has one, 255 = ignored; None where there is no
            truth.
        instances: number of each pixel's object, int32, (H, W), 0 = none; None where the data tells no objects apart.
    """

    name: str
    image: UInt8[Tensor, "c h w"]
    target: UInt8[Tensor, "h w"] | None
    instances: Int32[Tensor, "h w"] | None = None


class Dataset(Protocol):
    """Named samples in a fixed order. Reading sample i decodes its files, nothing else does."""

    classes: tuple[str, ...]
    names: tuple[str, ...]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Splits:
    """A data set cut into the parts that no experiment may mix.

    Attributes:
        train: what a model learns from.
        val: what chooses the best checkpoint; None where the data has no such part.
        test: what is reported; None where the data has no such part.
        background: whether class 0 is what is left of the picture around the objects; False where it is a class like the
            others, such as the sky of a street scene.
    """

    train: Dataset
    val: Dataset | None
    test: Dataset | None
    background: bool = True

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, index = label."""
        return self.train.classes


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What a segmenter says of one image, at the image's own size.

    Attributes:
        name: the sample's name.
        logits: float32, (C, H, W); C = 1 means binary (sigmoid), else softmax over the classes.
    """

    name: str
    logits: Float[Tensor, "c h w"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RefinedMask:
    """A mask before and after refinement, at the image's own size.

    Attributes:
        name: the sample's name.
        steps: logits, float32, (T + 1, C, H, W): steps[0] is the coarse mask, steps[-1] the refined one.
    """

    name: str
    steps: Float[Tensor, "t c h w"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationResult:
    """Exact counts of one set of predictions against its truth; every score is derived from them.

    Attributes:
        classes: class names, index = label, C of them. With two, class 0 is the background; with more, it counts like the
            others in every score, whether it is one or not.
        names: the N scored images.
        counts: int64, (N, 3, C): per image and class the pixels that are true positive, predicted, in the truth.
        confusion: int64, (C, C): pixels by [truth, prediction], all images together.
        ignored: int64, (N,): pixels per image that carry the ignored label and were left out.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    counts: NDArray[np.int64]
    confusion: NDArray[np.int64]
    ignored: NDArray[np.int64]


class RLE(TypedDict):
    """A binary mask in COCO's compressed run lengths, column by column; `size` is [H, W]."""

    size: list[int]
    counts: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Instances:
    """The N objects of one image, predicted or true; they may overlap.

    Attributes:
        name: the image's name.
        size: height and width of the image, pixels.
        masks: one each, of that size.
        classes: int64, (N,): labels, 1 or more.
        scores: float32, (N,): the higher the surer, in [0, 1]; 1 for the truth.
        boxes: float32, (N, 4): left, top, width, height in pixels; None takes those around the masks.
        areas: float64, (N,): pixels, by which sizes are told apart; None takes the masks' own.
        crowd: bool, (N,): regions of several objects that nobody told apart, in the truth; None is none of them.
    """

    name: str
    size: tuple[int, int]
    masks: tuple[RLE, ...]
    classes: Int64[np.ndarray, " n"]
    scores: Float32[np.ndarray, " n"]
    boxes: Float32[np.ndarray, "n 4"] | None = None
    areas: Float[np.ndarray, " n"] | None = None
    crowd: Bool[np.ndarray, " n"] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Segments:
    """One image cut into segments that do not overlap: things (one object each) and stuff (one segment per class).

    Attributes:
        name: the image's name.
        ids: int32, (H, W): number of each pixel's segment, 1 … S; 0 = void: unlabelled, never scored.
        classes: int64, (S,): label of segment i + 1.
        crowd: bool, (S,): see `Instances`; None is none of them.
    """

    name: str
    ids: Int32[np.ndarray, "h w"]
    classes: Int64[np.ndarray, " s"]
    crowd: Bool[np.ndarray, " s"] | None = None
