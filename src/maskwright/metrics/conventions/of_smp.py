"""The numbers of segmentation-models-pytorch's `smp.metrics`.

Departs from it in one thing: the weighted reductions need `class_weights` from the user, and here these are the pixels
of each class in the truth of all images.
"""

from dataclasses import replace

from maskwright.metrics.conventions.choices import Choices, Score
from maskwright.metrics.conventions.convention import Convention, Label

_STATS = "get_stats(output, target, mode='multiclass', num_classes=C, ignore_index=255)"
_BINARY_STATS = "get_stats(output, target, mode='binary')"
_WEIGHTS = "class_weights=truth.bincount(minlength=C).float()"
_NAMES: dict[str, tuple[Label, Score]] = {
    "iou": ("IoU", "IoU"),
    "f1": ("Dice", "Dice"),
    "accuracy": ("accuracy", "agreement"),
}
_BINARY_NOTE = (
    "The mode takes no ignored label: set ignored pixels to 0 in output and target, as these numbers do; in the "
    "accuracy, they then count as right, and here they are left out."
)

REDUCTIONS: dict[str, Choices] = {
    "micro": Choices(score="IoU", average="micro"),
    "macro": Choices(score="IoU", absent=1.0),
    "weighted": Choices(score="IoU", average="weighted", absent=1.0, unscored="left out"),
    "micro-imagewise": Choices(score="IoU", pool="image", average="micro", absent=1.0),
    "macro-imagewise": Choices(score="IoU", pool="image", order="images first", absent=1.0),
    "weighted-imagewise": Choices(
        score="IoU", pool="image", order="images first", average="weighted", absent=1.0, divided=True
    ),
}
"""What each `reduction` does, with the default `zero_division=1.0`; "micro" divides without it."""

_NOTES = {
    "micro": "Large classes decide it; Dice so pooled is the pixel accuracy.",
    "macro": "Classes that do not occur at all count 1 and lift the mean.",
    "micro-imagewise": "Each image's pixels are pooled over its classes, background included; Dice so pooled is the "
    "image's pixel accuracy.",
    "macro-imagewise": "A class that an image does not hold counts 1 for that image: with many classes most terms of the "
    "mean are such ones.",
    "weighted-imagewise": "The tool takes the mean of terms that its weights have already normalised, so that the "
    "number is C times too small.",
}


def _multiclass(metric: str, reduction: str) -> Convention:
    label, score = _NAMES[metric]
    weights = f", {_WEIGHTS}" if "weighted" in reduction else ""
    return Convention(
        key=f"smp.{metric}.{reduction}",
        tool="segmentation-models-pytorch",
        version="0.6.0",
        checked="tool",
        score=label,
        call=f"tp, fp, fn, tn = {_STATS}; {metric}{_suffix(metric)}(tp, fp, fn, tn, reduction='{reduction}'{weights})",
        many=replace(REDUCTIONS[reduction], score=score),
        note=_NOTES.get(reduction, ""),
    )


def _binary(metric: str, reduction: str, zero_division: float = 1.0) -> Convention:
    label, score = _NAMES[metric]
    choices = replace(REDUCTIONS[reduction], score=score, classes="foreground")
    if reduction != "micro":
        choices = replace(choices, absent=zero_division)
    option, suffix = ("", "") if zero_division == 1 else (f", zero_division={zero_division:g}", ".empty0")
    return Convention(
        key=f"smp.{metric}.binary.{reduction}{suffix}",
        tool="segmentation-models-pytorch",
        version="0.6.0",
        checked="tool",
        score=label,
        call=f"tp, fp, fn, tn = {_BINARY_STATS}; "
        f"{metric}{_suffix(metric)}(tp, fp, fn, tn, reduction='{reduction}'{option})",
        many=None,
        two=choices,
        note=_BINARY_NOTE,
    )


def _suffix(metric: str) -> str:
    return "" if metric == "accuracy" else "_score"


SMP: tuple[Convention, ...] = (
    *(_multiclass(metric, reduction) for metric in ("iou", "f1") for reduction in REDUCTIONS),
    *(_multiclass("accuracy", reduction) for reduction in ("micro", "macro", "micro-imagewise", "macro-imagewise")),
    *(_binary(metric, reduction) for metric in _NAMES for reduction in ("micro", "micro-imagewise")),
    _binary("iou", "micro-imagewise", zero_division=0.0),
    _binary("f1", "micro-imagewise", zero_division=0.0),
)
