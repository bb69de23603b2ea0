"""The numbers of segmentation toolboxes: mmsegmentation, detectron2, Ultralytics, Hugging Face's evaluate.

Departs from them in precision: mmsegmentation and Ultralytics add pixels in float32, which stops counting a class at
2**24 = 16,777,216 pixels; mmsegmentation and detectron2 print percent, mmsegmentation rounded to two decimals.
"""

from maskwright.metrics.conventions.choices import Choices
from maskwright.metrics.conventions.convention import Convention, Label

_PRESENT = Choices(score="IoU")
_IN_TRUTH = Choices(score="IoU", spurious=None)
_CLASS_ACCURACY = Choices(score="recall", spurious=None)
_PIXEL_ACCURACY = Choices(score="recall", average="micro")


def _mmseg(key: str, score: Label, call: str, choices: Choices, note: str = "") -> Convention:
    return Convention(
        key=f"mmseg.{key}",
        tool="mmsegmentation",
        version="1.2",
        checked="formula",
        score=score,
        call=call,
        many=choices,
        note=f"{note} Ignored pixels (ignore_index) are out.".lstrip(),
    )


_MMSEG = (
    _mmseg("mIoU", "IoU", "IoUMetric(iou_metrics=['mIoU'])", _PRESENT),
    _mmseg(
        "mIoU.nan0",
        "IoU",
        "IoUMetric(iou_metrics=['mIoU'], nan_to_num=0)",
        Choices(score="IoU", absent=0.0),
    ),
    _mmseg("mDice", "Dice", "IoUMetric(iou_metrics=['mDice'])", Choices(score="Dice")),
    _mmseg(
        "mFscore",
        "Dice",
        "IoUMetric(iou_metrics=['mFscore'])",
        Choices(score="Dice", spurious=None, missed=None),
        note="Precision and recall are divided first: a class that is missed altogether, or only predicted, has no "
        "F-score and leaves the mean instead of counting 0, so that mFscore is above mDice.",
    ),
    _mmseg("aAcc", "accuracy", "IoUMetric(...)['aAcc']", _PIXEL_ACCURACY),
    _mmseg("mAcc", "accuracy", "IoUMetric(...)['mAcc']", _CLASS_ACCURACY),
)


def _detectron2(key: str, score: Label, choices: Choices) -> Convention:
    return Convention(
        key=f"detectron2.{key}",
        tool="detectron2",
        version="0.6",
        checked="formula",
        score=score,
        call=f"SemSegEvaluator(...).evaluate()['sem_seg']['{key}']",
        many=choices,
        note="Ignored pixels (ignore_label) are out.",
    )


_DETECTRON2 = (
    _detectron2("mIoU", "IoU", _IN_TRUTH),
    _detectron2("fwIoU", "IoU", Choices(score="IoU", average="weighted", spurious=None)),
    _detectron2("mACC", "accuracy", _CLASS_ACCURACY),
    _detectron2("pACC", "accuracy", _PIXEL_ACCURACY),
)


def _ultralytics(key: str, score: Label, call: str, many: Choices | None, two: Choices | None = None) -> Convention:
    return Convention(
        key=f"ultralytics.{key}",
        tool="Ultralytics",
        version="main of July 2026",
        checked="formula",
        score=score,
        call=call,
        many=many,
        two=two,
        note="Of the semantic task, which scores at the size the network sees; here, at the masks' own. The segment "
        "task has no pixel score: it matches objects by mask IoU and reports their average precision. Pixels of label "
        "255 are out.",
    )


_ULTRALYTICS = (
    _ultralytics(
        "mIoU",
        "IoU",
        "yolo semantic val  # metrics/mIoU, every class named, background too",
        Choices(score="IoU", spurious=None, nothing=0.0),
    ),
    _ultralytics(
        "mIoU.one-class",
        "IoU",
        "yolo semantic val  # metrics/mIoU, one class named",
        None,
        Choices(score="IoU", classes="foreground", absent=0.0),
    ),
    _ultralytics(
        "pixel_acc",
        "accuracy",
        "yolo semantic val  # metrics/pixel_acc",
        Choices(score="recall", average="micro", absent=0.0),
    ),
)


def _evaluate(key: str, score: Label, choices: Choices) -> Convention:
    return Convention(
        key=f"evaluate.{key}",
        tool="evaluate (Hugging Face)",
        version="0.4",
        checked="formula",
        score=score,
        call=f"evaluate.load('mean_iou').compute(..., num_labels=C, ignore_index=255)['{key}']",
        many=choices,
        note="Ignored pixels (ignore_index) are out.",
    )


_EVALUATE = (
    _evaluate("mean_iou", "IoU", _PRESENT),
    _evaluate("mean_accuracy", "accuracy", _CLASS_ACCURACY),
    _evaluate("overall_accuracy", "accuracy", _PIXEL_ACCURACY),
)

TOOLBOXES: tuple[Convention, ...] = (*_MMSEG, *_DETECTRON2, *_ULTRALYTICS, *_EVALUATE)
