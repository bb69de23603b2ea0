"""Scores of masks, each with one stated definition; all are derived from exact counts, at the image's own size.

Six common tools report anything from 0.564 to 0.905 as the mIoU of the very same predictions: they differ in what they
average over and in what an empty mask or an absent class counts. Here `DEFINITIONS` states both for every field of
`Scores`, and the fields `empty_images`, `absent_classes`, `spurious_classes` and `unscored_images` count how often it
mattered.

Functions that take `counts` work on arrays (..., 3, C) of pixels: true positive, predicted, in the truth. With the
leading axis of images they give the score of each image, on the sum over images that of the data set.
"""

from dataclasses import dataclass, fields
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.types import EvaluationResult

Counts = NDArray[np.int64] | NDArray[np.float64]
Values = NDArray[np.float64]

_PER_CLASS = "One value per class from the pixels of all images together: "
_SCORED = "over the scored pixels of all images together"
_MASK = (
    "that of the foreground if there are two classes (`empty_value` where neither prediction nor truth holds any), "
    "with more classes the mean over the classes, background included, that occur in the truth"
)
_MACRO = (
    "mean over the classes that the truth or the prediction holds, background included, every class alike; a value "
    "that is undefined for one of them (never predicted, or never in the truth) counts 0"
)
_MICRO = (
    "with true positives, false positives and false negatives summed over all classes, background included; as every "
    "pixel has one label, it equals the pixel accuracy"
)
_WEIGHTED = (
    "mean over all classes, background included, weighted by the pixels of each in the truth; a class that the truth "
    "does not hold weighs nothing, one that is never predicted counts 0"
)

DEFINITIONS: dict[str, str] = {
    "images": "Number of images.",
    "unscored_images": "Images whose every pixel is ignored; they have no score and enter no mean.",
    "empty_images": "Images of two-class data with no foreground in prediction and truth; they score `empty_value`.",
    "absent_classes": "Classes that neither truth nor prediction of the whole set holds; `miou_all` counts each as "
    "`absent_value`, every other mean leaves them out.",
    "spurious_classes": "Classes that are predicted somewhere but are nowhere in the truth; `miou_present` leaves them "
    "out, `miou_all` and the macro means count them 0.",
    "ignored_pixels": "Pixels of the ignored label, left out of everything.",
    "empty_value": "The score of an image, or a set, of two classes with no foreground in prediction and truth; "
    "nan leaves it out.",
    "absent_value": "What `miou_all` counts for a class that neither truth nor prediction holds; nan leaves it out.",
    "iou_per_image": f"Mean over the images of the image's IoU, TP / (TP + FP + FN): {_MASK} of that image.",
    "iou_dataset": f"IoU, TP / (TP + FP + FN), of the counts of all images together: {_MASK} of the set.",
    "miou_present": "Mean of the IoU of the counts of all images together over the classes, background included, "
    "that occur in the truth of any image; the others are left out.",
    "miou_all": "Mean of the IoU of the counts of all images together over every class, background included; a class "
    "that neither truth nor prediction holds counts `absent_value`.",
    "dice_per_image": f"Mean over the images of the image's Dice, 2 TP / (2 TP + FP + FN): {_MASK} of that image.",
    "dice_dataset": f"Dice, 2 TP / (2 TP + FP + FN), of the counts of all images together: {_MASK} of the set.",
    "pixel_accuracy": f"Share of pixels whose predicted label is the true one, background included, {_SCORED}.",
    "precision_macro": f"Precision, TP / (TP + FP), {_SCORED}: {_MACRO}.",
    "precision_micro": f"Precision, TP / (TP + FP), {_SCORED}, {_MICRO}.",
    "precision_weighted": f"Precision, TP / (TP + FP), {_SCORED}: {_WEIGHTED}.",
    "recall_macro": f"Recall, TP / (TP + FN), {_SCORED}: {_MACRO}.",
    "recall_micro": f"Recall, TP / (TP + FN), {_SCORED}, {_MICRO}.",
    "recall_weighted": f"Recall, TP / (TP + FN), {_SCORED}: {_WEIGHTED}.",
    "f1_macro": f"F1, 2 TP / (2 TP + FP + FN), {_SCORED}: {_MACRO}.",
    "f1_micro": f"F1, 2 TP / (2 TP + FP + FN), {_SCORED}, {_MICRO}.",
    "f1_weighted": f"F1, 2 TP / (2 TP + FP + FN), {_SCORED}: {_WEIGHTED}.",
    "iou": f"{_PER_CLASS}TP / (TP + FP + FN), nan where neither truth nor prediction holds the class.",
    "dice": f"{_PER_CLASS}2 TP / (2 TP + FP + FN), nan where neither truth nor prediction holds the class.",
    "precision": f"{_PER_CLASS}TP / (TP + FP), nan where the class is never predicted.",
    "recall": f"{_PER_CLASS}TP / (TP + FN), nan where the truth does not hold the class.",
    "f1": f"{_PER_CLASS}the same number as `dice`, under the name that goes with precision and recall.",
    "support": f"{_PER_CLASS}pixels of the class in the truth.",
}
"""What each field of `Scores` is, in words, with its policy for empty masks and absent classes."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scores:
    """The scores of one `EvaluationResult`. `DEFINITIONS` says in words what each field is.

    Scores are float64 in [0, 1], nan where undefined; per-class arrays are float64, (C,), `support` int64, (C,).
    """

    classes: tuple[str, ...]

    images: int
    unscored_images: int
    empty_images: int
    absent_classes: int
    spurious_classes: int
    ignored_pixels: int
    empty_value: float
    absent_value: float

    iou_per_image: float
    iou_dataset: float
    miou_present: float
    miou_all: float
    dice_per_image: float
    dice_dataset: float
    pixel_accuracy: float

    precision_macro: float
    precision_micro: float
    precision_weighted: float
    recall_macro: float
    recall_micro: float
    recall_weighted: float
    f1_macro: float
    f1_micro: float
    f1_weighted: float

    iou: Values
    dice: Values
    precision: Values
    recall: Values
    f1: Values
    support: NDArray[np.int64]

    def as_dict(self) -> dict[str, Any]:
        """Every field as plain Python that JSON can hold: arrays and tuples become lists, nan becomes None."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


def scores(result: EvaluationResult, *, empty: float = 1.0, absent: float = 0.0) -> Scores:
    """Derive every score from the counts.

    Args:
        result: the counts of a data set; N may be 0, which leaves every score undefined.
        empty: what an image of two-class data with no foreground in prediction and truth scores; nan leaves it out.
        absent: what `miou_all` counts for a class that neither truth nor prediction holds; nan leaves it out.

    Returns:
        The scores; what each is stands in `DEFINITIONS`.
    """
    total = result.counts.sum(axis=0)
    hit, predicted, truth = _parts(total)
    iou, dice, precision, recall = class_iou(total), class_dice(total), _ratio(hit, predicted), _ratio(hit, truth)
    accuracy = float(pixel_accuracy(total))
    unscored = result.counts[:, 2].sum(axis=-1) == 0
    return Scores(
        classes=result.classes,
        images=len(result.names),
        unscored_images=int(unscored.sum()),
        empty_images=int((_is_empty(result.counts) & ~unscored).sum()),
        absent_classes=int(np.isnan(iou).sum()),
        spurious_classes=int(((predicted > 0) & (truth == 0)).sum()),
        ignored_pixels=int(result.ignored.sum()),
        empty_value=empty,
        absent_value=absent,
        iou_per_image=float(mean(mask_iou(result.counts, empty=empty))),
        iou_dataset=float(mask_iou(total, empty=empty)),
        miou_present=float(miou_present(total)),
        miou_all=float(mean(np.where(np.isnan(iou), absent, iou))),
        dice_per_image=float(mean(mask_dice(result.counts, empty=empty))),
        dice_dataset=float(mask_dice(total, empty=empty)),
        pixel_accuracy=accuracy,
        precision_macro=_macro(precision, total),
        precision_micro=accuracy,
        precision_weighted=_weighted(precision, total),
        recall_macro=_macro(recall, total),
        recall_micro=accuracy,
        recall_weighted=_weighted(recall, total),
        f1_macro=_macro(dice, total),
        f1_micro=accuracy,
        f1_weighted=_weighted(dice, total),
        iou=iou,
        dice=dice,
        precision=precision,
        recall=recall,
        f1=dice.copy(),
        support=total[2].copy(),
    )


def image_iou(result: EvaluationResult, *, empty: float = 1.0) -> Values:
    """The IoU of each image, as `DEFINITIONS["iou_per_image"]` says; its mean is `Scores.iou_per_image`.

    Args:
        result: the counts of a data set.
        empty: what an image of two-class data with no foreground in prediction and truth scores; nan to leave it out.

    Returns:
        float64, (N,), in [0, 1]; nan for an image whose every pixel is ignored.
    """
    return mask_iou(result.counts, empty=empty)


def class_iou(counts: Counts) -> Values:
    """IoU per class, TP / (TP + FP + FN), (..., C) from (..., 3, C); nan with neither truth nor prediction."""
    hit, predicted, truth = _parts(counts)
    return _ratio(hit, predicted + truth - hit)


def class_dice(counts: Counts) -> Values:
    """Dice per class, 2 TP / (2 TP + FP + FN), (..., C) from (..., 3, C); nan with neither truth nor prediction."""
    hit, predicted, truth = _parts(counts)
    return _ratio(2 * hit, predicted + truth)


def mask_iou(counts: Counts, *, empty: float = 1.0) -> Values:
    """IoU of a mask, (...) from (..., 3, C): of the foreground with two classes, else the mean over those in the truth.

    `empty` is the value of two-class counts with no foreground; counts without any pixel give nan.
    """
    return _mask_score(class_iou(counts), counts, empty)


def mask_dice(counts: Counts, *, empty: float = 1.0) -> Values:
    """Dice of a mask, (...) from (..., 3, C); foreground, `empty` and nan as in `mask_iou`."""
    return _mask_score(class_dice(counts), counts, empty)


def miou_present(counts: Counts) -> Values:
    """Mean IoU over the classes in the truth, background included, (...) from (..., 3, C); nan without any pixel."""
    return mean(np.where(_parts(counts)[2] > 0, class_iou(counts), np.nan))


def pixel_accuracy(counts: Counts) -> Values:
    """Share of pixels with the right label, (...) from (..., 3, C); nan without any pixel."""
    hit, _, truth = _parts(counts)
    return _ratio(hit.sum(axis=-1), truth.sum(axis=-1))


def mean(values: Values) -> Values:
    """Mean over the last axis, (...) from (..., K), nan left out; nan where nothing is left."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1))


def _parts(counts: Counts) -> tuple[Counts, Counts, Counts]:
    """Pixels per class, (..., C) each: true positive, predicted, in the truth."""
    return counts[..., 0, :], counts[..., 1, :], counts[..., 2, :]


def _ratio(part: Counts, whole: Counts) -> Values:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)


def _is_empty(counts: Counts) -> NDArray[np.bool_]:
    """Whether two-class counts hold no foreground, (...) from (..., 3, C); with more classes, never."""
    if counts.shape[-1] != 2:
        return np.zeros(counts.shape[:-2], dtype=np.bool_)
    _, predicted, truth = _parts(counts[..., 1:])
    return np.asarray((predicted + truth).sum(axis=-1) == 0)


def _mask_score(per_class: Values, counts: Counts, empty: float) -> Values:
    truth = _parts(counts)[2]
    if counts.shape[-1] == 2:
        score = np.where(_is_empty(counts), empty, per_class[..., 1])
    else:
        score = mean(np.where(truth > 0, per_class, np.nan))
    return np.where(truth.sum(axis=-1) > 0, score, np.nan)


def _macro(per_class: Values, total: Counts) -> float:
    _, predicted, truth = _parts(total)
    return float(mean(np.where(predicted + truth > 0, np.nan_to_num(per_class, nan=0.0), np.nan)))


def _weighted(per_class: Values, total: Counts) -> float:
    truth = _parts(total)[2]
    return float(_ratio((np.nan_to_num(per_class, nan=0.0) * truth).sum(), truth.sum()))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and isnan(value) else value
