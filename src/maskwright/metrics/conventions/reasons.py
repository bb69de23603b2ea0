"""Which conventions agree on these masks, and why two of them do not.

Two conventions differ in a few choices. Taking over one choice after the other leads from the one number to the other;
what a choice contributes depends on the order, and so its share is the mean over all orders (Shapley 1953, "A value for
n-person games"). The shares add up to the difference. Orders that pass through a combination without a value are left
out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from math import isnan, nan

import numpy as np
from numpy.typing import NDArray

from maskwright.metrics.conventions.choices import Choices, Drawn, Policy, evaluate, said
from maskwright.metrics.conventions.convention import Convention
from maskwright.metrics.conventions.table import convention

POINT = 100
"""A score of 1 in points."""

SHOWN = 10
"""Parts of a point that a sentence tells apart."""

EQUAL = 1e-9
"""Shares below are those of rounding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Conventions of one kind of score that agree on these masks.

    Attributes:
        score: "IoU", "Dice" or "accuracy".
        keys: of the conventions, by falling value.
        low, high: the smallest and the largest value, nan in the group of those without a value.
    """

    score: str
    keys: tuple[str, ...]
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """One choice in which two conventions differ, and what it contributes on these masks.

    Attributes:
        axis: the field of `Choices`; "all choices" where the shares cannot be told apart.
        text: what the one does instead of the other.
        share: of the difference, other minus base; the shares of all reasons add up to it.
    """

    axis: str
    text: str
    share: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """Why one convention gives another number than another for the same masks.

    Attributes:
        base, other: keys of the conventions.
        base_value, other_value: their values; nan where there is none.
        reasons: the choices that differ, the weightiest first.
        sentence: the same in words, in points of 0.01; what it states adds up as well.
    """

    base: str
    other: str
    base_value: float
    other_value: float
    reasons: tuple[Reason, ...]
    sentence: str

    @property
    def difference(self) -> float:
        """Other minus base."""
        return self.other_value - self.base_value

    def __str__(self) -> str:
        return self.sentence


def groups(scores: Mapping[str, float], tolerance: float = 5e-4) -> tuple[Group, ...]:
    """Which conventions agree: those of one kind of score whose values lie within `tolerance` of the group's highest.

    Args:
        scores: keys of conventions and their values, as from `convention_scores`.
        tolerance: 5e-4 is what three decimals show.

    Returns:
        The groups, IoU before Dice before accuracy, each by falling value; those without a value come last.

    Raises:
        ConfigError: a key is no convention's.
    """
    found: list[Group] = []
    for score in ("IoU", "Dice", "accuracy"):
        of_score = {key: value for key, value in scores.items() if convention(key).score == score}
        known = sorted((key for key in of_score if not isnan(of_score[key])), key=lambda key: -of_score[key])
        while known:
            highest = of_score[known[0]]
            together = [key for key in known if highest - of_score[key] <= tolerance]
            found.append(Group(score=score, keys=tuple(together), low=of_score[together[-1]], high=highest))
            known = known[len(together) :]
        unknown = tuple(key for key in of_score if isnan(of_score[key]))
        if unknown:
            found.append(Group(score=score, keys=unknown, low=nan, high=nan))
    return tuple(sorted(found, key=lambda group: isnan(group.low)))


def why(base: str | Convention, other: str | Convention, counts: NDArray[np.int64]) -> Explanation:
    """Why `other` gives another number than `base` for these masks, choice by choice.

    Args:
        base, other: conventions, or their keys.
        counts: int64, (N, 3, C): pixels that are true positive, predicted, in the truth.

    Returns:
        The reasons with their shares, which add up to the difference, and a sentence that says them.

    Raises:
        ConfigError: a key is no convention's.
    """
    first, second = (convention(c) if isinstance(c, str) else c for c in (base, other))
    drawn = Drawn(counts)
    values = [float(c.of_drawn(drawn)[0]) for c in (first, second)]
    reasons: tuple[Reason, ...] = ()
    if not any(isnan(value) for value in values):
        choices = [c.choices(counts.shape[-1]) for c in (first, second)]
        reasons = _reasons(choices[0], choices[1], drawn)
    return Explanation(
        base=first.key,
        other=second.key,
        base_value=values[0],
        other_value=values[1],
        reasons=reasons,
        sentence=_sentence((first, second), (values[0], values[1]), reasons),
    )


def _reasons(base: Choices, other: Choices, drawn: Drawn) -> tuple[Reason, ...]:
    base, other = _without_idle(base, other), _without_idle(other, base)
    axes = [field.name for field in fields(Choices) if not _same(getattr(base, field.name), getattr(other, field.name))]
    values = [
        _mixed(base, other, [a for i, a in enumerate(axes) if mask >> i & 1], drawn) for mask in range(1 << len(axes))
    ]
    shares = shares_of_orders(values)
    if shares is None:
        texts = ", ".join(_TEXTS[axis](base, other, drawn) for axis in axes)
        return (Reason(axis="all choices", text=texts, share=values[-1] - values[0]),)
    found = [
        Reason(axis=axis, text=_TEXTS[axis](base, other, drawn), share=share)
        for axis, share in zip(axes, shares, strict=True)
    ]
    return tuple(sorted(found, key=lambda reason: -abs(reason.share)))


def _without_idle(choices: Choices, beside: Choices) -> Choices:
    """The choices with those that change nothing, where pixels are pooled, taken over from the other side."""
    if choices.pool == "set":
        return replace(choices, order=beside.order, never=beside.never)
    return choices


def _same(one: object, two: object) -> bool:
    """Whether two choices are the same; nan is the same as nan."""
    return one == two or (isinstance(one, float) and isinstance(two, float) and isnan(one) and isnan(two))


def _mixed(base: Choices, other: Choices, taken: list[str], drawn: Drawn) -> float:
    """The value with some choices of `other` and the rest of `base`."""
    return float(evaluate(replace(base, **{axis: getattr(other, axis) for axis in taken}), drawn)[0])


def shares_of_orders(values: list[float]) -> list[float] | None:
    """What each of k steps contributes, mean over the orders in which every value on the way is known.

    Args:
        values: of every set of steps, 2**k: bit i of the index says whether step i is taken; nan is unknown.

    Returns:
        k shares whose sum is the last value minus the first; None where no order has all its values.
    """
    steps = len(values).bit_length() - 1
    masks = range(len(values))
    before, after = ([0.0] * len(values) for _ in range(2))
    before[0], after[-1] = 1.0, 1.0
    for mask in masks:
        if mask and not isnan(values[mask]):
            before[mask] = sum(before[mask ^ 1 << i] for i in range(steps) if mask >> i & 1)
    for mask in reversed(masks[:-1]):
        if not isnan(values[mask]):
            after[mask] = sum(after[mask | 1 << i] for i in range(steps) if not mask >> i & 1)
    if after[0] == 0:
        return None
    shares = []
    for i in range(steps):
        share = 0.0
        for mask in masks:
            weight = before[mask] * after[mask | 1 << i] if not mask >> i & 1 else 0.0
            if weight:
                share += weight * (values[mask | 1 << i] - values[mask])
        shares.append(share / after[0])
    return shares


def _sentence(pair: tuple[Convention, Convention], values: tuple[float, float], reasons: tuple[Reason, ...]) -> str:
    first, second = pair
    without = [c.key for c, value in zip(pair, values, strict=True) if isnan(value)]
    if without:
        names = " and ".join(without)
        return f"{names} {'give' if len(without) == 2 else 'gives'} no number for these masks; see the definition."
    if not reasons:
        return f"{second.key} and {first.key} make the same choices."
    shown = [float(f"{value:.3f}") for value in values]
    total = round((shown[1] - shown[0]) * POINT * SHOWN)
    stated = _rounded([reason.share for reason in reasons], total)
    if not any(stated):
        much = "nothing" if all(abs(reason.share) < EQUAL for reason in reasons) else f"less than {1 / SHOWN:g} points"
        return f"{second.key} and {first.key} make different choices, which change {much} for these masks."
    said_reasons = [
        f"{units / SHOWN:+.1f} because {reason.text}" for units, reason in zip(stated, reasons, strict=True) if units
    ]
    side = "above" if total > 0 else "below"
    head = f"{second.key} ({values[1]:.3f}) is {abs(total) / SHOWN:.1f} points {side} {first.key} ({values[0]:.3f})"
    if total == 0:
        head = f"{second.key} ({values[1]:.3f}) equals {first.key} ({values[0]:.3f}), as its choices cancel"
    return f"{head}: {'; '.join(said_reasons)}."


def _rounded(shares: list[float], total: int) -> list[int]:
    """The shares in tenths of a point, rounded such that they add up to `total` (largest remainders).

    `total` is the difference of two values as they are shown, which are rounded, too; the larger a share, the more of what
    it is off by goes to that share.
    """
    exact = np.array(shares) * POINT * SHOWN
    size = np.abs(exact)
    exact += (total - exact.sum()) * size / max(float(size.sum()), EQUAL)
    down = np.floor(exact)
    missing = max(0, total - int(down.sum()))
    up = np.argsort(down - exact, kind="stable")[:missing]
    down[up] += 1
    return [int(value) for value in down]


def _pool(base: Choices, other: Choices, drawn: Drawn) -> str:
    ways = {"set": "the pixels of all images are pooled", "image": "every image is scored and the mean taken"}
    short = {"set": "of pooling the pixels of all images", "image": "of scoring every image"}
    return f"{ways[other.pool]} instead {short[base.pool]}"


def _order(base: Choices, other: Choices, drawn: Drawn) -> str:
    ways = {
        "classes first": "the mean is taken over the classes of an image and then over the images",
        "images first": "the mean is taken over the images of a class and then over the classes",
        "pairs": "one mean is taken over all pairs of image and class",
    }
    return f"{ways[other.order]} ({base.order} otherwise)"


def _classes(base: Choices, other: Choices, drawn: Drawn) -> str:
    return (
        "the background is left out" if other.classes == "foreground" else "the background is a class like the others"
    )


def _average(base: Choices, other: Choices, drawn: Drawn) -> str:
    ways = {
        "macro": "every class weighs alike",
        "micro": "the pixels of all classes are added before dividing",
        "weighted": "classes weigh by their pixels in the truth",
    }
    return f"{ways[other.average]} ({base.average} otherwise)"


def _score(base: Choices, other: Choices, drawn: Drawn) -> str:
    names = {
        "recall": "the share of true pixels that are found",
        "agreement": "the accuracy of each class against all others, true negatives included",
    }
    return f"it is {names.get(other.score, other.score)} instead of {names.get(base.score, base.score)}"


def _case(name: str, field: str) -> Callable[[Choices, Choices, Drawn], str]:
    """Words for what a kind of class counts, and how many there are of it in the pools that are scored."""

    def text(base: Choices, other: Choices, drawn: Drawn) -> str:
        by_image = "image" in (base.pool, other.pool)
        foreground = "foreground" in (base.classes, other.classes)
        counts = drawn.counts if by_image else drawn.counts.sum(axis=0)[None]
        counts = counts[..., 1:] if foreground else counts
        hit, predicted, truth = counts[:, 0], counts[:, 1], counts[:, 2]
        cases = {
            "absent": predicted + truth == 0,
            "spurious": (truth == 0) & (predicted > 0),
            "missed": (truth > 0) & (hit == 0),
        }[field]
        what = "images" if by_image and cases.shape[1] == 1 else "pairs of image and class" if by_image else "classes"
        return (
            f"{name} ({int(cases.sum())} of {cases.size} {what}) "
            f"{_instead(getattr(base, field), getattr(other, field))}"
        )

    return text


def _instead(base: Policy, other: Policy) -> str:
    if other is None:
        return f"is left out instead of counting {said(base)}"
    return f"counts {said(other)} instead of {'being ' if base is None else ''}{said(base)}"


def _unscored(base: Choices, other: Choices, drawn: Drawn) -> str:
    blank = int((drawn.counts[:, 2].sum(axis=-1) == 0).sum())
    ways = {"absent": "count as images without the classes", "left out": "are left out"}
    return f"images whose every pixel is ignored ({blank}) {ways[other.unscored]}"


def _never(base: Choices, other: Choices, drawn: Drawn) -> str:
    return f"a class with a score in no image {_instead(base.never, other.never)}"


def _nothing(base: Choices, other: Choices, drawn: Drawn) -> str:
    return f"nothing to score counts {other.nothing:g} instead of {base.nothing:g}"


def _divided(base: Choices, other: Choices, drawn: Drawn) -> str:
    return f"the result is {'' if other.divided else 'not '}divided by the number of classes once more"


_TEXTS: dict[str, Callable[[Choices, Choices, Drawn], str]] = {
    "score": _score,
    "pool": _pool,
    "order": _order,
    "classes": _classes,
    "average": _average,
    "absent": _case("what neither truth nor prediction holds", "absent"),
    "spurious": _case("what is predicted but not there", "spurious"),
    "missed": _case("what is there but missed altogether", "missed"),
    "unscored": _unscored,
    "never": _never,
    "nothing": _nothing,
    "divided": _divided,
}
"""Each choice in words; a field of `Choices` each."""
