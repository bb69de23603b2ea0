"""The numbers of general frameworks: scikit-learn, Keras and TensorFlow, fastai.

Departs from them in precision: Keras works in float32 and adds 1e-7 to what it divides by (together below 3e-7);
fastai adds pixels in float32 batch by batch.
"""

from dataclasses import replace

from maskwright.metrics.conventions.choices import Choices
from maskwright.metrics.conventions.convention import Convention, Label, Overlap


def _sklearn(key: str, score: Label, call: str, many: Choices | None, two: Choices | None = None) -> Convention:
    return Convention(
        key=f"sklearn.{key}",
        tool="scikit-learn",
        version="1.9.1",
        checked="tool",
        score=score,
        call=call,
        many=many,
        two=two,
        note="Ignored pixels have to be taken out before; without any pixel, the tool refuses.",
    )


def _sklearn_family(function: str, key: str, score: Overlap) -> tuple[Convention, ...]:
    call = f"{function}(truth, prediction"
    base = Choices(score=score, unscored="left out")

    def row(name: str, options: str, choices: Choices) -> Convention:
        return _sklearn(f"{key}.{name}", score, f"{call}, {options})", choices)

    return (
        row("macro", "average='macro'", base),
        row("macro.labels", "average='macro', labels=range(C)", replace(base, absent=0.0)),
        row("macro.labels.zero1", "average='macro', labels=range(C), zero_division=1.0", replace(base, absent=1.0)),
        row("micro", "average='micro'", replace(base, average="micro")),
        row("weighted", "average='weighted'", replace(base, average="weighted")),
        _sklearn(f"{key}.binary", score, f"{call})", None, replace(base, classes="foreground", absent=0.0)),
    )


_SKLEARN = (
    *_sklearn_family("jaccard_score", "jaccard", "IoU"),
    *_sklearn_family("f1_score", "f1", "Dice"),
    _sklearn(
        "accuracy",
        "accuracy",
        "accuracy_score(truth, prediction)",
        Choices(score="recall", average="micro", unscored="left out"),
    ),
    _sklearn(
        "balanced_accuracy",
        "accuracy",
        "balanced_accuracy_score(truth, prediction)",
        Choices(score="recall", spurious=None, unscored="left out"),
    ),
)


def _keras(key: str, call: str, many: Choices | None, two: Choices | None = None) -> Convention:
    return Convention(
        key=f"keras.{key}",
        tool="Keras, TensorFlow",
        version="3",
        checked="formula",
        score="IoU",
        call=call,
        many=many,
        two=two,
        note="Pixels of ignore_class are out.",
    )


_KERAS = (
    _keras("MeanIoU", "MeanIoU(num_classes=C, ignore_class=255)", Choices(score="IoU", nothing=0.0)),
    _keras(
        "IoU.foreground",
        "IoU(num_classes=2, target_class_ids=[1], ignore_class=255)",
        None,
        Choices(score="IoU", classes="foreground", absent=0.0),
    ),
)


def _fastai(key: str, score: Label, call: str, many: Choices | None, two: Choices | None = None) -> Convention:
    return Convention(
        key=f"fastai.{key}",
        tool="fastai",
        version="2",
        checked="formula",
        score=score,
        call=call,
        many=many,
        two=two,
        note="It takes no ignored label: what is predicted on such pixels counts as a false alarm there; here they are "
        "left out.",
    )


_FASTAI = (
    _fastai("DiceMulti", "Dice", "DiceMulti()", Choices(score="Dice")),
    _fastai("JaccardCoeffMulti", "IoU", "JaccardCoeffMulti()", Choices(score="IoU")),
    _fastai("Dice", "Dice", "Dice()", None, Choices(score="Dice", classes="foreground")),
    _fastai("JaccardCoeff", "IoU", "JaccardCoeff()", None, Choices(score="IoU", classes="foreground")),
)

FRAMEWORKS: tuple[Convention, ...] = (*_SKLEARN, *_KERAS, *_FASTAI)
