"""Prediction with the weights and classes that a library or repository has, without training: `torchvision:` and `hf:`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import yaml
from jaxtyping import UInt8

from ..data.catalog import DataConfig
from ..data.loading import to_float
from ..errors import BatchError, ConfigError
from ..files import write_text
from ..instances import of_each
from ..models import ModelConfig, Segmenter, build, class_names
from ..models.mask_rcnn import build_mask_rcnn, is_mask_rcnn
from ..models.segments import segments
from ..models.transformers_nets import QueryNetwork
from ..types import IGNORE_INDEX, Instances
from .detector import Detector, TrainedDetector, check_threshold
from .network import choose_device
from .predict import Predictor, Save, predict_images
from .predict_instances import Finder, find_in_folder, refuse_mask_options
from .run import TrainedModel

SURE = 0.5
"""Score that a segment of a universal network must reach, unless the caller says otherwise; transformers' own."""


class SegmentFinder:
    """Finds objects with a universal network of transformers, see `models.segments`.

    Args:
        segmenter: the network.
        classes: its own class names; found objects have a background before them, so the label of the first is 1.
        device: "auto", "cpu" or "cuda".
        threshold: score that an object must reach, 0–1; None takes `SURE`.

    Raises:
        ConfigError: a threshold outside 0–1.
    """

    channels = 3

    def __init__(
        self, segmenter: Segmenter, classes: Sequence[str], *, device: str = "auto", threshold: float | None = None
    ) -> None:
        check_threshold(threshold)
        self.classes = ("background", *classes)
        self.threshold = SURE if threshold is None else threshold
        self.device = torch.device(choose_device(device))
        self.segmenter = segmenter.to(self.device).eval()

    def find(self, image: UInt8[np.ndarray, "h w 3"], *, name: str) -> Instances:
        """Return the objects of an image, 0–255."""
        batch = to_float(torch.from_numpy(image).permute(2, 0, 1)[None]).to(self.device)
        (found,) = segments(self.segmenter, batch, task="instance", threshold=self.threshold)
        return of_each(
            name,
            (one.mask.cpu().numpy() for one in found),
            size=(image.shape[0], image.shape[1]),
            classes=np.array([one.label + 1 for one in found], np.int64),
            scores=np.array([one.score for one in found], np.float32),
        )


def predict_with_library(
    name: str,
    images: Path,
    out: Path,
    *,
    save: Save | Literal["instances"] = "labels",
    size: int = 0,
    flip: bool = False,
    method: str | None = None,
    device: str = "auto",
    threshold: float | None = None,
) -> list[Path]:
    """Predict every image of a folder (or one image) with a model's own weights; what is already there is not done again.

    Beside the outputs, `classes.yaml` names the labels.

    Args:
        name: a model of `torchvision:` or `hf:`; what it lacks of weights is fetched.
        images: a folder, or one file.
        out: folder of the outputs, created if need be.
        save: see `predict_folder`; "instances", of Mask R-CNN and universal networks, see `predict_instances`.
        size: side of the square that images are resized to for the network, pixels; 0 keeps their size.
        flip: see `Predictor`.
        method: see `Predictor`.
        device: "auto", "cpu" or "cuda".
        threshold: of instances: score that an object must reach, 0–1; None takes the model's own.

    Returns:
        The output files, in the order of the images.

    Raises:
        BatchError: some images failed; all others are written, the failed ones named.
        ConfigError: a model without weights of its own, or whose weights cannot be had; settings that do not fit it; `out`
            holds outputs of another model or other settings.
        DataError: no image there.
    """
    config = ModelConfig(name=name, pretrained="full")
    origin: dict[str, str | int | None] = {"model": name, "size": size}
    if save == "instances":
        refuse_mask_options(name, flip=flip, method=method)
        finder = library_finder(config, size=size, device=device, threshold=threshold)
        with _classes_beside(out, finder.classes):
            return find_in_folder(finder, images, out, settings={**origin, "flip": False}, threshold=threshold)
    classes = class_names(config)
    if len(classes) > IGNORE_INDEX and save == "labels":
        raise ConfigError(
            f"model {name!r} has {len(classes)} classes, of which 8-bit labels hold {IGNORE_INDEX}; save probabilities"
        )
    model = TrainedModel(
        network=build(config, num_classes=len(classes)).eval(),
        classes=classes,
        data=DataConfig(size=size),
        size=size,
        precision="fp32",
        name=name,
    )
    predictor = Predictor(model, device=device, flip=flip, method=method)
    with _classes_beside(out, classes):
        return predict_images(predictor, images, out, save=save, origin=origin)


def library_finder(
    config: ModelConfig, *, size: int = 0, device: str = "auto", threshold: float | None = None
) -> Finder:
    """Build a model with its own weights as what finds objects; the options are those of `predict_with_library`.

    Raises:
        ConfigError: a model that finds no objects; a `size` for a universal network; weights that cannot be had.
    """
    classes = class_names(config)
    if is_mask_rcnn(config):
        network = build_mask_rcnn(config, num_classes=len(classes)).eval()
        model = TrainedDetector(network=network, classes=classes, data=DataConfig(size=size), name=config.name)
        return Detector(model, device=device, threshold=threshold)
    segmenter = build(config, num_classes=len(classes))
    if not isinstance(segmenter.net, QueryNetwork):
        raise ConfigError(
            f"model {config.name!r} gives masks of classes and finds no objects; --save instances takes Mask R-CNN of "
            "torchvision: and universal networks of hf:, such as Mask2Former"
        )
    if size:
        raise ConfigError(f"size is {size}, but objects of {config.name!r} are found at the image's own; leave it out")
    return SegmentFinder(segmenter, classes, device=device, threshold=threshold)


@contextmanager
def _classes_beside(out: Path, classes: Sequence[str]) -> Iterator[None]:
    """Name the classes in the folder of the outputs, once these, or all but a few, are written."""
    text = yaml.safe_dump({"names": list(classes)}, sort_keys=False, allow_unicode=True)
    try:
        yield
    except BatchError:
        if out.is_dir():
            write_text(out / "classes.yaml", text)
        raise
    write_text(out / "classes.yaml", text)
