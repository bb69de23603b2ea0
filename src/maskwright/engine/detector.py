"""From images to objects with a trained Mask R-CNN."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import UInt8
from numpy import ndarray

from ..data.catalog import DataConfig
from ..data.loading import to_float
from ..data.transforms import resize_pair
from ..errors import CheckpointError, ConfigError
from ..instances import of_each
from ..models import ModelConfig
from ..models.mask_rcnn import Detections, MaskRCNN, pasted, untrained
from ..types import Instances
from . import checkpoint
from .network import choose_device
from .run import INSTANCES, from_dict, model_file


@dataclass(frozen=True, kw_only=True)
class TrainedDetector:
    """A network that finds objects, in evaluation mode.

    Attributes:
        network: Mask R-CNN.
        classes: class names, index = label; label 0 is the background.
        data: the data that it was trained on.
        name: of the run, or of the model.
    """

    network: MaskRCNN
    classes: tuple[str, ...]
    data: DataConfig
    name: str


class Detector:
    """A trained Mask R-CNN, ready to find objects; never in training mode.

    Args:
        model: from `load_detector`.
        device: "auto", "cpu" or "cuda".
        threshold: score that an object must reach, 0–1; None takes all that the network finds.

    Raises:
        ConfigError: a threshold outside 0–1.
    """

    def __init__(self, model: TrainedDetector, *, device: str = "auto", threshold: float | None = None) -> None:
        check_threshold(threshold)
        self.model = model
        self.threshold = threshold or 0.0
        self.device = torch.device(choose_device(device))
        self.network = model.network.to(self.device).eval()

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return self.model.data.channels

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, index = label."""
        return self.model.classes

    def find(self, image: UInt8[ndarray, "h w i"], *, name: str) -> Instances:
        """Return the objects of an image, 0–255, with the channels that the network was trained on."""
        tensor = torch.from_numpy(image).permute(2, 0, 1)
        prepared = to_float(resize_pair(tensor, None, self.model.data.size)[0][None]).to(self.device)
        with torch.inference_mode():
            found = self.network(prepared)[0]
        return objects_of(
            name,
            found,
            of=(prepared.shape[-2], prepared.shape[-1]),
            size=(image.shape[0], image.shape[1]),
            threshold=self.threshold,
        )


def check_threshold(threshold: float | None) -> None:
    """Refuse what no score can be.

    Raises:
        ConfigError: it is not from 0 to 1.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise ConfigError(f"threshold must be from 0 to 1, got {threshold}")


def objects_of(
    name: str, found: Detections, *, of: tuple[int, int], size: tuple[int, int], threshold: float = 0.0
) -> Instances:
    """Return what a network found as objects of an image.

    Args:
        name: of the image.
        found: what the network says.
        of: height and width of the image that it was given, to which the image had been resized.
        size: height and width of the image itself.
        threshold: score that an object must reach.
    """
    # The surest come first, so those that reach the threshold are the first ones.
    count = int((found.scores >= threshold).sum())
    kept = Detections(
        boxes=found.boxes[:count], labels=found.labels[:count], scores=found.scores[:count], masks=found.masks[:count]
    )
    return of_each(
        name,
        (mask.numpy() for mask in pasted(kept, of=of, size=size)),
        size=size,
        classes=kept.labels.cpu().numpy(),
        scores=kept.scores.cpu().numpy(),
    )


def kind_of(run: Path) -> str:
    """Return what a run's checkpoint holds: `instances`, or a network that gives logits.

    Raises:
        CheckpointError: missing, damaged, or not a maskwright model.
    """
    path = model_file(run)
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; expected the folder of a finished run")
    return str(checkpoint.load(path)[1].get("kind"))


def load_detector(run: Path) -> TrainedDetector:
    """Read the best weights of a run that finds objects, and build its network.

    Args:
        run: run folder, or its `model.safetensors`.

    Raises:
        CheckpointError: missing, damaged, or of another kind.
    """
    path = model_file(run)
    if (kind := kind_of(run)) != INSTANCES:
        raise CheckpointError(f"{path} holds {kind!r}, expected a network that finds objects, such as Mask R-CNN")
    tensors, metadata = checkpoint.load(path)
    try:
        classes = tuple(str(name) for name in metadata["classes"])  # type: ignore[union-attr]
        data = from_dict(DataConfig, metadata["data"])
        config = from_dict(ModelConfig, metadata["model"])
        network = untrained(config, num_classes=len(classes), in_channels=data.channels)
    except (KeyError, TypeError, ConfigError) as error:
        raise CheckpointError(f"{path} does not describe a model that this version can build: {error}") from error
    checkpoint.load_into(network, tensors, what=str(path))
    return TrainedDetector(network=network.eval(), classes=classes, data=data, name=path.parent.name)
