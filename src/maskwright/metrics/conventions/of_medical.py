"""The numbers of tools for medical images: nnU-Net v2 and MONAI.

Departs from them in nothing but precision: MONAI divides and adds in float32.
"""

from math import nan

from maskwright.metrics.conventions.choices import Choices, Classes
from maskwright.metrics.conventions.convention import Convention, Overlap


def _nnunet(key: str, score: Overlap) -> Convention:
    return Convention(
        key=f"nnunet.{key}",
        tool="nnU-Net",
        version="2",
        checked="formula",
        score=score,
        call=f"compute_metrics_on_folder(...)['foreground_mean']['{score}']",
        many=Choices(
            score=score,
            pool="image",
            order="images first",
            classes="foreground",
            never=nan,
        ),
        note="A case without the label in truth and prediction is left out; a false alarm on such a case counts 0. A "
        "label that no case holds makes the foreground mean nan. The ignore label's pixels are out.",
    )


def _monai(metric: str, score: Overlap, key: str, options: str, choices: Choices, suffix: str = "") -> Convention:
    return Convention(
        key=f"monai.{key}",
        tool="MONAI",
        version="1.5",
        checked="formula",
        score=score,
        call=f"{metric}({options}).aggregate(){suffix}",
        many=choices,
        note="It takes no ignored label: blank ignored pixels in both one-hot tensors, as these numbers do.",
    )


def _monai_family(metric: str, score: Overlap, name: str) -> tuple[Convention, ...]:
    def choices(classes: Classes, absent: float | None, spurious: float | None) -> Choices:
        return Choices(
            score=score,
            pool="image",
            classes=classes,
            absent=absent,
            spurious=spurious,
            nothing=0.0,
        )

    by_class = Choices(
        score=score,
        pool="image",
        order="images first",
        classes="foreground",
        spurious=None,
        never=0.0,
    )
    left_out = "include_background=False"
    return (
        _monai(metric, score, f"{name}", "", choices("all", None, None)),
        _monai(metric, score, f"{name}.foreground", left_out, choices("foreground", None, None)),
        _monai(
            metric,
            score,
            f"{name}.foreground.empty1",
            f"{left_out}, ignore_empty=False",
            choices("foreground", 1.0, 0.0),
        ),
        _monai(
            metric, score, f"{name}.foreground.by-class", f"{left_out}, reduction='mean_batch'", by_class, ".mean()"
        ),
    )


MEDICAL: tuple[Convention, ...] = (
    _nnunet("dice.foreground_mean", "Dice"),
    _nnunet("iou.foreground_mean", "IoU"),
    *_monai_family("DiceMetric", "Dice", "dice"),
    *_monai_family("MeanIoU", "IoU", "iou"),
)
