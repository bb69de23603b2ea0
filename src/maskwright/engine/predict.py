"""From images to masks with a trained model: one image, a data set, a folder."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from ..data.io import read_image, write_mask
from ..data.loading import scoring_loader, to_float
from ..data.naming import list_images, output_names
from ..data.transforms import resize_pair
from ..errors import DataError
from ..files import atomic_write
from ..refine.affinity import probabilities_and_entropy
from ..report.pictures import label_palette
from ..types import Dataset, Prediction, RefinedMask
from .batch import digest_of, run_batch
from .network import RefinedSegmenter, choose_device, decide, resize_logits
from .run import TrainedModel, load_model, model_file

Save = Literal["labels", "probabilities", "logits"]
SUFFIX: dict[Save, str] = {"labels": ".png", "probabilities": ".npz", "logits": ".npz"}


class Predictor:
    """A trained model, ready to predict; deterministic, and never in training mode.

    Args:
        model: from `load_model`.
        device: "auto", "cpu" or "cuda".
        flip: average the logits with those of the mirrored image (test-time augmentation), at twice the time.
    """

    def __init__(self, model: TrainedModel, *, device: str = "auto", flip: bool = False) -> None:
        self.model = model
        self.flip = flip
        self.device = torch.device(choose_device(device))
        self.network = model.network.to(self.device).to(memory_format=torch.channels_last).eval()

    @classmethod
    def load(cls, run: Path | str, *, device: str = "auto", flip: bool = False) -> "Predictor":
        """Read the model of a run folder; the options are those of the class.

        Raises:
            CheckpointError: the run has no model that can be read.
        """
        return cls(load_model(Path(run)), device=device, flip=flip)

    def logits(self, image: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, "c h w"]:
        """Return float32 logits at the size of `image`, RGB 0–255."""
        return resize_logits(self._forward(self._prepared(image))[0], image.shape[:2])

    def steps(self, image: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, "t c h w"]:
        """Return all states of a refined model at the size of `image`: the coarse logits first, the refined last.

        Raises:
            DataError: the model has no refiner.
        """
        if not isinstance(self.network, RefinedSegmenter):
            raise DataError(f"run {self.model.name} has no refiner and so no steps; use a run of train-refiner")
        return resize_logits(self._forward(self._prepared(image), steps=True)[:, 0], image.shape[:2])

    def dataset(self, dataset: Dataset, *, batch_size: int = 16) -> Iterator[tuple[Prediction | RefinedMask, Tensor]]:
        """Yield (prediction, truth) for every sample, at the image's own size; a refined model yields `RefinedMask`s
        of two states, coarse and refined."""
        refined = isinstance(self.network, RefinedSegmenter)
        for batch in scoring_loader(dataset, size=self.model.size, batch_size=batch_size):
            states = self._forward(batch.images.to(self.device), steps=refined)
            for i, (name, target) in enumerate(zip(batch.names, batch.targets, strict=True)):
                if refined:
                    both = resize_logits(states[[0, -1], i], target.shape)
                    yield RefinedMask(name=name, steps=both), target
                else:
                    yield Prediction(name=name, logits=resize_logits(states[i], target.shape)), target

    def _prepared(self, image: NDArray[np.uint8]) -> Tensor:
        tensor = torch.from_numpy(image).permute(2, 0, 1)
        return to_float(resize_pair(tensor, None, self.model.size)[0][None]).to(self.device)

    def _forward(self, images: Tensor, *, steps: bool = False) -> Tensor:
        states = self._logits_of(images, steps=steps)
        if self.flip:
            states = (states + self._logits_of(images.flip(-1), steps=steps).flip(-1)) / 2
        return states

    def _logits_of(self, images: Tensor, *, steps: bool) -> Tensor:
        with torch.inference_mode(), autocast(self.device, self.model.precision):
            images = images.contiguous(memory_format=torch.channels_last)
            return (self.network(images, return_steps=True) if steps else self.network(images)).float().cpu()


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[None]:
    """Return the context in which a model of this precision ("fp32" or "bf16") runs."""
    if precision == "bf16":
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


def predict_folder(
    run: Path, images: Path, out: Path, *, save: Save = "labels", flip: bool = False, device: str = "auto"
) -> list[Path]:
    """Predict every image of a folder (or one image) and write one file each; what is already there is not done again.

    Args:
        run: run folder of a segmenter or a refined one.
        images: a folder, or one file.
        out: folder of the outputs, created if need be.
        save: "labels" (8-bit palette PNG), "probabilities" (`.npz`, float16 (C, H, W)) or "logits" (`.npz`, float32).
        flip: see `Predictor`.
        device: "auto", "cpu" or "cuda".

    Returns:
        The output files, in the order of the images.

    Raises:
        BatchError: some images failed; all others are written, the failed ones named.
        ConfigError: `out` holds masks of another run, other images, another `save` or `flip`.
        DataError: no image there.
    """
    paths = list_images(images) if images.is_dir() else [images]
    if not paths:
        raise DataError(f"{images} holds no image; expected PNG, JPEG, WebP or TIFF files")
    names = output_names(paths)
    outputs = {path: out / f"{names[path]}{SUFFIX[save]}" for path in paths}
    predictor = Predictor.load(run, device=device, flip=flip)
    palette = label_palette(len(predictor.model.classes))

    def one(path: Path) -> None:
        write_logits(outputs[path], predictor.logits(read_image(path)), save=save, palette=palette)

    settings: dict[str, str | int | None] = {
        "run": digest_of(model_file(run)),
        "images": str((images if images.is_dir() else images.parent).resolve()),
        "save": save,
        "flip": flip,
    }
    advice = "use a run with a smaller data.size"
    run_batch(outputs, one, label="predict", settings=settings, memory_advice=advice)
    return [outputs[path] for path in paths]


def write_logits(path: Path, logits: Float[Tensor, "c h w"], *, save: Save, palette: NDArray[np.uint8]) -> None:
    """Write one image's logits in the form that `save` names, atomically."""
    if save == "labels":
        write_mask(path, decide(logits).to(torch.uint8).numpy(), palette=palette)
        return
    array = logits.numpy()
    if save == "probabilities":
        array = probabilities_and_entropy(logits[None])[0][0].numpy().astype(np.float16)
    arrays: dict[str, Any] = {save: array}
    with atomic_write(path) as file:
        np.savez_compressed(file, **arrays)
