"""maskwright's own numbers, the fields of `maskwright.metrics.scores.Scores` with their default policies."""

from dataclasses import replace

from maskwright import __version__
from maskwright.metrics.conventions.choices import Choices
from maskwright.metrics.conventions.convention import Convention, Label, Overlap

_SET = Choices(score="IoU", spurious=None, unscored="left out")
_SET_TWO = Choices(score="IoU", classes="foreground", absent=1.0, unscored="left out")


def _row(field: str, score: Label, many: Choices, two: Choices | None = None) -> Convention:
    return Convention(
        key=f"maskwright.{field}",
        tool="maskwright",
        version=__version__,
        checked="tool",
        score=score,
        call=f"scores(result).{field}",
        many=many,
        two=two,
        note="Ignored pixels are out.",
    )


def _mask_scores(score: Overlap, name: str) -> tuple[Convention, ...]:
    many, two = (replace(choices, score=score) for choices in (_SET, _SET_TWO))
    return (
        _row(f"{name}_per_image", score, replace(many, pool="image"), replace(two, pool="image")),
        _row(f"{name}_dataset", score, many, two),
    )


MASKWRIGHT: tuple[Convention, ...] = (
    *_mask_scores("IoU", "iou"),
    _row("miou_present", "IoU", _SET),
    _row("miou_all", "IoU", Choices(score="IoU", absent=0.0)),
    *_mask_scores("Dice", "dice"),
    _row("f1_macro", "Dice", Choices(score="Dice")),
    _row("f1_micro", "Dice", Choices(score="Dice", average="micro")),
    _row("f1_weighted", "Dice", Choices(score="Dice", average="weighted")),
    _row("recall_macro", "accuracy", Choices(score="recall")),
    _row("pixel_accuracy", "accuracy", Choices(score="recall", average="micro")),
)
