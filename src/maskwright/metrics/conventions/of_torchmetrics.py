"""The numbers of torchmetrics: the Jaccard index, F1, accuracy, and the metrics of `torchmetrics.segmentation`.

Departs from it in nothing but precision: torchmetrics divides and adds in float32.
"""

from maskwright.metrics.conventions.choices import Average, Choices
from maskwright.metrics.conventions.convention import Convention, Label

_NO_IGNORED = (
    "The metric takes no ignored label and stops at label 255: blank ignored pixels in both one-hot tensors, as these "
    "numbers do."
)
_POOLED = "num_classes=C, ignore_index=255"


def _row(
    key: str, score: Label, call: str, many: Choices | None, two: Choices | None = None, note: str = ""
) -> Convention:
    return Convention(
        key=f"torchmetrics.{key}",
        tool="torchmetrics",
        version="1.9.0",
        checked="tool",
        score=score,
        call=call,
        many=many,
        two=two,
        note=note,
    )


_JACCARD = (
    _row(
        "jaccard.macro",
        "IoU",
        f"MulticlassJaccardIndex({_POOLED})",
        Choices(score="IoU"),
        note="average='macro' is the default.",
    ),
    _row(
        "jaccard.micro",
        "IoU",
        f"MulticlassJaccardIndex({_POOLED}, average='micro')",
        Choices(score="IoU", average="micro", absent=0.0),
    ),
    _row(
        "jaccard.weighted",
        "IoU",
        f"MulticlassJaccardIndex({_POOLED}, average='weighted')",
        Choices(score="IoU", average="weighted"),
    ),
    _row(
        "jaccard.binary",
        "IoU",
        "BinaryJaccardIndex(ignore_index=255)",
        None,
        Choices(score="IoU", classes="foreground", absent=0.0),
    ),
    _row(
        "jaccard.macro.ignore0",
        "IoU",
        "MulticlassJaccardIndex(num_classes=2, ignore_index=0)",
        None,
        Choices(score="recall", classes="foreground", spurious=None),
        note="ignore_index=0 does not leave the background's score out, it leaves the background's pixels out: false "
        "alarms on them are not seen, and the number is the recall. Pixels with label 255 have to be gone before.",
    ),
)

_F1 = (
    _row("f1.macro", "Dice", f"MulticlassF1Score({_POOLED})", Choices(score="Dice", nothing=0.0)),
    _row(
        "f1.micro",
        "Dice",
        f"MulticlassF1Score({_POOLED}, average='micro')",
        Choices(score="Dice", average="micro", absent=0.0),
        note="It is the pixel accuracy.",
    ),
    _row(
        "f1.weighted",
        "Dice",
        f"MulticlassF1Score({_POOLED}, average='weighted')",
        Choices(score="Dice", average="weighted", nothing=0.0),
    ),
    _row(
        "f1.binary",
        "Dice",
        "BinaryF1Score(ignore_index=255)",
        None,
        Choices(score="Dice", classes="foreground", absent=0.0),
    ),
    _row(
        "f1.binary.samplewise",
        "Dice",
        "BinaryF1Score(ignore_index=255, multidim_average='samplewise')(preds, target).mean()",
        None,
        Choices(score="Dice", pool="image", classes="foreground", absent=0.0),
        note="A rightly empty mask counts 0, and so does an image whose every pixel is ignored.",
    ),
)

_ACCURACY = (
    _row(
        "accuracy.micro",
        "accuracy",
        f"MulticlassAccuracy({_POOLED}, average='micro')",
        Choices(score="recall", average="micro", absent=0.0),
    ),
    _row(
        "accuracy.macro",
        "accuracy",
        f"MulticlassAccuracy({_POOLED})",
        Choices(score="recall", nothing=0.0),
        note="average='macro' is the default: this is the mean class accuracy, not the share of right pixels.",
    ),
)

_PER_IMAGE = Choices(score="IoU", pool="image", order="pairs")
_MEAN_IOU = (
    _row("mean_iou", "IoU", "segmentation.MeanIoU(num_classes=C, input_format='index')", _PER_IMAGE, note=_NO_IGNORED),
    _row(
        "mean_iou.foreground",
        "IoU",
        "segmentation.MeanIoU(num_classes=C, include_background=False, input_format='index')",
        Choices(score="IoU", pool="image", order="pairs", classes="foreground"),
        note=_NO_IGNORED,
    ),
    _row(
        "mean_iou.per_class",
        "IoU",
        "segmentation.MeanIoU(num_classes=C, per_class=True, input_format='index').compute().mean()",
        Choices(score="IoU", pool="image", order="images first", never=-1.0),
        note=f"The tool marks a class that never occurs by -1, and a mean taken over its answer counts that. {_NO_IGNORED}",
    ),
    _row(
        "mean_iou.functional",
        "IoU",
        "functional.segmentation.mean_iou(preds, target, num_classes=C, input_format='index').nanmean()",
        Choices(score="IoU", pool="image"),
        note=_NO_IGNORED,
    ),
)


_AVERAGES: tuple[Average, ...] = ("macro", "micro", "weighted")


def _dice(average: Average, level: str, background: bool) -> Convention:
    option = "" if background else ", include_background=False"
    return _row(
        f"dice.{average}.{level}{'' if background else '.foreground'}",
        "Dice",
        f"segmentation.DiceScore(num_classes=C, average='{average}', aggregation_level='{level}'{option}, "
        "input_format='index')",
        Choices(
            score="Dice",
            pool="image" if level == "samplewise" else "set",
            classes="all" if background else "foreground",
            average=average,
        ),
        note=_NO_IGNORED,
    )


TORCHMETRICS: tuple[Convention, ...] = (
    *_JACCARD,
    *_F1,
    *_ACCURACY,
    *_MEAN_IOU,
    *(
        _dice(average, level, background)
        for average in _AVERAGES
        for level in ("samplewise", "global")
        for background in (True, False)
    ),
)
