"""The numbers of benchmarks' own scripts: Cityscapes (and KITTI, which uses its script), PASCAL VOC, COCO-Stuff.

Departs from them in one thing: they know their classes, and here the classes are those of the data at hand.
"""

from math import nan

from maskwright.metrics.conventions.choices import Choices
from maskwright.metrics.conventions.convention import Convention, Label


def _row(key: str, tool: str, version: str, score: Label, call: str, choices: Choices, note: str) -> Convention:
    return Convention(
        key=key,
        tool=tool,
        version=version,
        checked="formula",
        score=score,
        call=call,
        many=choices,
        note=note,
    )


def _coco_stuff(key: str, score: Label, choices: Choices) -> Convention:
    call = f"COCOStuffeval(...).summarize()  # {key}"
    return _row(
        f"cocostuff.{key}",
        "COCO-Stuff",
        "2017",
        score,
        call,
        choices,
        "Unlabelled pixels are out; without any pixel, the script refuses.",
    )


BENCHMARKS: tuple[Convention, ...] = (
    _row(
        "cityscapes.iou",
        "Cityscapes, KITTI",
        "2.2",
        "IoU",
        "python -m cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling  # averageScoreClasses",
        Choices(score="IoU"),
        "The official mean is over the 19 classes evaluated, none of which is a background. Pixels whose true label is "
        "ignored are out; a pixel predicted as an ignored label is a miss of its true class.",
    ),
    _row(
        "voc.iou",
        "PASCAL VOC devkit",
        "2012",
        "IoU",
        "VOCevalseg(VOCopts, id)",
        Choices(score="IoU", absent=nan),
        "The official mean is over 21 classes, the background among them. The border's pixels, 255, are out.",
    ),
    _coco_stuff("mIoU", "IoU", Choices(score="IoU", spurious=None)),
    _coco_stuff("fwIoU", "IoU", Choices(score="IoU", average="weighted", spurious=None)),
    _coco_stuff("mAcc", "accuracy", Choices(score="recall", spurious=None)),
    _coco_stuff("pAcc", "accuracy", Choices(score="recall", average="micro")),
)
