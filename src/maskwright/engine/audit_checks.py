"""What numbers hide that no count shows: the size at which masks were scored, and images that the training saw."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ..metrics.scores import pixel_accuracy
from ..types import EvaluationResult
from .audit import Audited, Scored
from .audit_overlap import overlap

FEWEST_SIDE = 64
"""Side in pixels from which a square that all masks share looks like a network's input."""


def cautions(audited: Audited, *, train: Path | None = None) -> tuple[str, ...]:
    """Return what the reader of the numbers must know beside what the counts tell, a sentence each.

    Args:
        audited: the counts.
        train: folder of the training images.
    """
    several = len(audited.stages) > 1
    found = [*_skipped(audited), *_network_size(audited)]
    for stage in audited.stages.values():
        found += [f"{stage.name}: {text}" if several else text for text in _of_stage(stage, audited)]
    return (*found, *_twins(audited), *(overlap(audited, train) if train is not None else ()))


def _skipped(audited: Audited) -> Iterator[str]:
    if audited.skipped:
        images = len(audited.sizes) + len(audited.skipped)
        yield (
            f"{len(audited.skipped)} of {images} images could not be scored and were left out; every number is of the other "
            f"{len(audited.sizes)}."
        )


def _network_size(audited: Audited) -> Iterator[str]:
    sizes = set(audited.sizes)
    (height, width), *others = sizes
    if others or height != width or height < FEWEST_SIDE or len(audited.sizes) < 2:
        return
    square = f"All true masks are {width} x {height} pixels"
    for name in audited.stages[next(iter(audited.stages))].result.names:
        image = audited.truth.image(name)
        if image is None:
            yield (
                f"{square}. If the images are not, everything was scored at the network's size, where edges are easier: "
                "give the images with --images to find out."
            )
            return
        if image.shape[:2] != (height, width):
            yield (
                f"{square}, but images such as {name} have {image.shape[1]} x {image.shape[0]}: truth and predictions were "
                "scored at the network's size, where edges are easier. Score at the images' own size before you compare "
                "with numbers of others."
            )
            return


def _of_stage(stage: Scored, audited: Audited) -> Iterator[str]:
    images = len(stage.result.names)
    if stage.resized:
        sizes = ", ".join(f"{width} x {height}" for height, width in sorted(stage.sizes)[:3])
        yield (
            f"{stage.resized} of {images} predictions are not of the size of their truth ({sizes}"
            f"{', ...' if len(stage.sizes) > 3 else ''}) and were brought to it by the nearest pixel: this is not the score "
            "that the model could reach at the image's own size."
        )
    if _perfect(stage.result):
        yield "Every prediction equals its true mask, pixel by pixel: is the folder a copy of the truth?"
    elif stage.constant == images and images > 1:
        yield "Every prediction is a single label all over: the model says the same everywhere."
    elif stage.constant > images // 2:
        yield f"{stage.constant} of {images} predictions are a single label all over."


def _perfect(result: EvaluationResult) -> bool:
    return bool((pixel_accuracy(result.counts.sum(axis=0)) == 1).all())


def _twins(audited: Audited) -> Iterator[str]:
    """Folders whose counts are the same image by image."""
    alike = Counter(stage.result.counts.tobytes() for stage in audited.stages.values())
    names = [stage.name for stage in audited.stages.values() if alike[stage.result.counts.tobytes()] > 1]
    if names:
        yield f"The folders {' and '.join(names)} have the same counts in every image: are they copies of each other?"
