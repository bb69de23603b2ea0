"""Objects of a folder of images: a 16-bit map of numbers for each image, and one `instances.json` in COCO's format."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from ..data.coco_objects import Entry, entries_of, write_results
from ..data.io import write_labels
from ..data.naming import output_names
from ..errors import BatchError
from ..files import append_text, write_text
from ..instances import of_contours, of_labels, to_map
from ..refine.affinity import probabilities_and_entropy
from ..types import Instances
from .batch import run_batch
from .network import decide
from .predict import ADVICE, Predictor

OBJECTS = "instances.json"
"""All found objects, in the folder of the maps."""

PENDING = ".instances.jsonl"
"""Objects of the images that were done before a stop; they go into `OBJECTS` at the end."""


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


def predict_instances(
    run: Path, images: Path, out: Path, *, flip: bool = False, method: str | None = None, device: str = "auto"
) -> list[Path]:
    """Find the objects of every image of a folder (or one image); what is already there is not done again.

    Writes for each image a 16-bit PNG, 0 = none, i = the i-th object of the image in `instances.json`; and that file, the
    results of all images in COCO's format, with the label as `category_id` and the image's `file_name`.

    Args:
        run: run folder of a segmenter or a refined one.
        images: a folder, or one file.
        out: folder of the outputs, created if need be.
        flip: see `Predictor`.
        method: see `Predictor`.
        device: "auto", "cpu" or "cuda".

    Returns:
        The maps, in the order of the images.

    Raises:
        BatchError: some images failed; all others are written, the failed ones named.
        ConfigError: `out` holds outputs of another run, other images or another `flip` or `method`.
        DataError: no image there; more than 65,535 objects in one.
    """
    predictor = Predictor.load(run, device=device, flip=flip, method=method)
    paths = predictor.images_of(images)
    names = output_names(paths)
    outputs = {path: out / f"{names[path]}.png" for path in paths}

    def one(path: Path) -> None:
        found = find_instances(predictor, predictor.read(path), name=names[path])
        # The objects first: where the map is, they are known.
        _remember(out, path.name, entries_of(found, file_name=path.name))
        write_labels(outputs[path], to_map(found))

    settings = predictor.settings(run, images, "instances")
    try:
        run_batch(outputs, one, label="predict", settings=settings, memory_advice=ADVICE)
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
