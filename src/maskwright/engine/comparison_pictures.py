"""The images that the page of a comparison shows, with the masks of all candidates."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..data.io import as_colours
from ..metrics import image_iou
from ..report.comparison import Shown
from ..report.records import Look, Picture
from ..types import Dataset, EvaluationResult
from .network import decide
from .predict import Predictor

COUNT = 3
"""Images of each kind."""


def telling_images(
    results: Mapping[str, Sequence[EvaluationResult]], chosen: str, *, count: int = COUNT
) -> tuple[list[str], list[str]]:
    """Return the images on which `chosen` does worst, and of the others those on which the candidates differ most.

    Args:
        results: candidate → counts of its trainings, all of the same images in the same order.
        chosen: one of them.
        count: of each kind, at most.
    """
    names = next(iter(results.values()))[0].names
    ious = {name: np.mean([image_iou(result) for result in of_one], axis=0) for name, of_one in results.items()}
    worst = [i for i in np.argsort(ious[chosen], kind="stable") if np.isfinite(ious[chosen][i])][:count]
    spread = np.ptp(np.stack(list(ious.values())), axis=0)
    widest = [i for i in np.argsort(-spread, kind="stable") if spread[i] > 0 and i not in worst][:count]
    return [names[i] for i in worst], [names[i] for i in widest]


def show_images(
    dataset: Dataset,
    results: Mapping[str, Sequence[EvaluationResult]],
    runs: Mapping[str, Sequence[Path]],
    *,
    names: Sequence[str],
    look: Look,
    device: str,
) -> dict[str, Shown]:
    """Predict the named images with the first run of each candidate.

    Args:
        dataset: that holds them.
        results: counts of that data set; see `telling_images`.
        runs: candidate → its runs.
        names: of the images.
        look: of the labels.
        device: "auto", "cpu" or "cuda".
    """
    index = {name: i for i, name in enumerate(dataset.names)}
    samples = {name: dataset[index[name]] for name in names}
    images = {name: sample.image.permute(1, 2, 0).numpy() for name, sample in samples.items()}
    masks: dict[str, dict[str, np.ndarray]] = {name: {} for name in names}
    scores: dict[str, dict[str, float]] = {name: {} for name in names}
    for candidate, (run, *_) in runs.items():
        predictor = Predictor.load(run, device=device)
        ious = dict(zip(results[candidate][0].names, image_iou(results[candidate][0]), strict=True))
        for name, image in images.items():
            masks[name][candidate] = decide(predictor.logits(image)).numpy().astype(np.uint8)
            scores[name][candidate] = float(ious[name])
    shown = {}
    for name, sample in samples.items():
        truth = None if sample.target is None else sample.target.numpy()
        picture = Picture(image=as_colours(images[name]), truth=truth, masks=masks[name], look=look)
        shown[name] = Shown(name=name, picture=picture, scores=scores[name])
    return shown
