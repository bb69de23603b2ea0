"""Objects of a folder of images: a 16-bit map of numbers for each image, and one `instances.json` in COCO's format."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import UInt8

from ..data.coco_objects import Entry, entries_of, write_results
from ..data.io import read_image_of, write_labels
from ..data.naming import output_names
from ..errors import BatchError, ConfigError
from ..files import append_text, write_text
from ..instances import of_contours, of_labels, surest, to_map
from ..refine.affinity import probabilities_and_entropy
from ..types import Instances
from .batch import digest_of, run_batch
from .detector import Detector, check_threshold, kind_of, load_detector
from .network import decide
from .predict import ADVICE, Predictor, images_in, source_of
from .run import INSTANCES, model_file

OBJECTS = "instances.json"
"""All found objects, in the folder of the maps."""

PENDING = ".instances.jsonl"
"""Objects of the images that were done before a stop; they go into `OBJECTS` at the end."""


class Finder(Protocol):
    """What finds the objects of an image; `channels` of the images that it takes, `classes` by label, 0 = background."""

    @property
    def channels(self) -> int: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    def find(self, image: UInt8[np.ndarray, "h w i"], *, name: str) -> Instances: ...


class MaskFinder:
    """Finds objects in the masks of a trained model, see `find_instances`.

    Args:
        predictor: the model.
        threshold: score that an object must reach, 0–1; None takes all.
    """

    def __init__(self, predictor: Predictor, *, threshold: float | None = None) -> None:
        check_threshold(threshold)
        self.predictor = predictor
        self.threshold = threshold or 0.0

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return self.predictor.model.data.channels

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, index = label."""
        model = self.predictor.model
        return model.classes[:2] if model.data.contour else model.classes

    def find(self, image: UInt8[np.ndarray, "h w i"], *, name: str) -> Instances:
        """Return the objects of an image."""
        return surest(find_instances(self.predictor, image, name=name), self.threshold)


def find_instances(predictor: Predictor, image: UInt8[np.ndarray, "h w i"], *, name: str) -> Instances:
    """Return the objects that a trained model sees in an image, 0–255, with the channels that it was trained on.

    Of a model that was trained with `data.contour`, see `instances.of_contours`; of any other, the connected pieces of
    each class, see `instances.of_labels`.
    """
    logits = predictor.logits(image)
    probabilities = probabilities_and_entropy(logits[None])[0][0].numpy()
    if predictor.model.data.contour:
        return of_contours(name, probabilities)
    if len(probabilities) == 1:
        probabilities = np.concatenate([1 - probabilities, probabilities])
    return of_labels(name, decide(logits).to(torch.uint8).numpy(), probabilities)


def open_finder(
    run: Path,
    *,
    flip: bool = False,
    method: str | None = None,
    device: str = "auto",
    threshold: float | None = None,
) -> Finder:
    """Read the model of a run, of whichever kind, as what finds objects; the options are those of `predict_instances`.

    Raises:
        CheckpointError: the run has no model that can be read.
        ConfigError: an option that a network which finds objects by itself does not know; an unknown method.
    """
    if kind_of(run) != INSTANCES:
        return MaskFinder(Predictor.load(run, device=device, flip=flip, method=method), threshold=threshold)
    refuse_mask_options(str(run), flip=flip, method=method)
    return Detector(load_detector(run), device=device, threshold=threshold)


def refuse_mask_options(what: str, *, flip: bool, method: str | None) -> None:
    """Refuse options that work on the logits of masks, for a network that has none.

    Raises:
        ConfigError: one is given.
    """
    if flip or method not in (None, "none"):
        given = "flip" if flip else f"method {method}"
        raise ConfigError(f"{given} works on masks of classes, but {what} finds objects by itself; leave it out")


def predict_instances(
    run: Path,
    images: Path,
    out: Path,
    *,
    flip: bool = False,
    method: str | None = None,
    device: str = "auto",
    threshold: float | None = None,
) -> list[Path]:
    """Find the objects of every image of a folder (or one image); what is already there is not done again.

    Writes for each image a 16-bit PNG, 0 = none, i = the i-th object of the image in `instances.json`; and that file, the
    results of all images in COCO's format, with the label as `category_id` and the image's `file_name`.

    Args:
        run: run folder of a segmenter, a refined one, or a network that finds objects.
        images: a folder, or one file.
        out: folder of the outputs, created if need be.
        flip: see `Predictor`.
        method: see `Predictor`.
        device: "auto", "cpu" or "cuda".
        threshold: score that an object must reach, 0–1; None takes all that the network finds.

    Returns:
        The maps, in the order of the images.

    Raises:
        BatchError: some images failed; all others are written, the failed ones named.
        ConfigError: `out` holds outputs of another run, other images or another `flip`, `method` or `threshold`.
        DataError: no image there; more than 65,535 objects in one.
    """
    finder = open_finder(run, flip=flip, method=method, device=device, threshold=threshold)
    origin = {"run": digest_of(model_file(run))}
    settings = finder.predictor.made_with if isinstance(finder, MaskFinder) else {"flip": False}
    return find_in_folder(finder, images, out, settings={**origin, **settings}, threshold=threshold)


def find_in_folder(
    finder: Finder, images: Path, out: Path, *, settings: Mapping[str, str | int | None], threshold: float | None
) -> list[Path]:
    """Write what `predict_instances` writes, of anything that finds objects.

    Args:
        finder: finds them.
        images: a folder, or one file.
        out: folder of the outputs.
        settings: which model, and how it was used; kept beside the outputs.
        threshold: the finder's own, likewise kept.
    """
    paths = images_in(images, channels=finder.channels)
    names = output_names(paths)
    outputs = {path: out / f"{names[path]}.png" for path in paths}

    def one(path: Path) -> None:
        found = finder.find(read_image_of(path, channels=finder.channels), name=names[path])
        # The objects first: where the map is, they are known.
        _remember(out, path.name, entries_of(found, file_name=path.name))
        write_labels(outputs[path], to_map(found))

    kept = {**settings, "images": source_of(images), "save": "instances"}
    if threshold is not None:
        kept["threshold"] = str(threshold)
    try:
        run_batch(outputs, one, label="predict", settings=kept, memory_advice=ADVICE)
    except BatchError:
        _gather(out, [path.name for path in paths if outputs[path].exists()])
        raise
    _gather(out, [path.name for path in paths])
    return [outputs[path] for path in paths]


def _remember(out: Path, file_name: str, entries: Sequence[Entry]) -> None:
    pending = out / PENDING
    if not pending.exists():
        write_text(pending, "")
    # The line's end comes first: what a killed process left unfinished then spoils no other line.
    append_text(pending, "\n" + json.dumps({"file_name": file_name, "objects": entries}))


def _gather(out: Path, done: Sequence[str]) -> None:
    """Write the objects of all finished images, those of earlier calls included, into one file."""
    known: dict[str, list[Entry]] = {}
    if (out / OBJECTS).exists():
        for entry in json.loads((out / OBJECTS).read_text(encoding="utf-8")):
            known.setdefault(entry["file_name"], []).append(entry)
    if (out / PENDING).exists():
        for line in (out / PENDING).read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):
                record = json.loads(line)
                known[record["file_name"]] = record["objects"]
    write_results(out / OBJECTS, {file_name: known.get(file_name, []) for file_name in done})
    (out / PENDING).unlink(missing_ok=True)
