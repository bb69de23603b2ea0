"""From images to masks with a trained model: one image, a data set, a folder."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from .. import __version__
from ..data.catalog import official_colours
from ..data.io import as_colours, read_image_of, write_mask
from ..data.loading import scoring_loader, to_float
from ..data.naming import ARRAY_SUFFIXES, IMAGE_SUFFIXES, list_images, output_names
from ..data.transforms import resize_pair
from ..errors import DataError
from ..files import atomic_write
from ..refine.affinity import probabilities_and_entropy
from ..refine.kinds import to_logits
from ..refine.methods import apply_method, method_of
from ..report.pictures import label_palette
from ..types import Dataset, Prediction, RefinedMask
from .batch import digest_of, run_batch
from .network import RefinedSegmenter, choose_device, decide, resize_logits
from .run import TrainedModel, load_model, model_file

Save = Literal["labels", "probabilities", "logits"]
SUFFIX: dict[Save, str] = {"labels": ".png", "probabilities": ".npz", "logits": ".npz"}


ADVICE = "use a run with a smaller data.size"
"""What to do where an image needs too much memory."""

COARSE = "coarse"
"""Name of the masks before their refinement."""


class Predictor:
    """A trained model, ready to predict; deterministic, and never in training mode.

    Args:
        model: from `load_model`.
        device: "auto", "cpu" or "cuda".
        flip: average the logits with those of the mirrored image (test-time augmentation), at twice the time.
        method: what refines the masks last, a name of `METHODS`; None takes the run's own, "none" none.

    Raises:
        ConfigError: an unknown method.
    """

    def __init__(
        self, model: TrainedModel, *, device: str = "auto", flip: bool = False, method: str | None = None
    ) -> None:
        self.model = model
        self.flip = flip
        method = model.method if method is None else method
        self.method = "" if method == "none" else method
        if self.method:
            method_of(self.method)
        self.device = torch.device(choose_device(device))
        self.network = model.network.to(self.device).to(memory_format=torch.channels_last).eval()

    @classmethod
    def load(
        cls, run: Path | str, *, device: str = "auto", flip: bool = False, method: str | None = None
    ) -> "Predictor":
        """Read the model of a run folder; the options are those of the class.

        Raises:
            CheckpointError: the run has no model that can be read.
        """
        return cls(load_model(Path(run)), device=device, flip=flip, method=method)

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Names of what `steps` of one image ends its stages with: the run's own, behind the coarse one where masks are
        refined."""
        names = [COARSE, type(self.network.refiner).__name__] if isinstance(self.network, RefinedSegmenter) else []
        if self.method:
            names = [*(names or [COARSE]), self.method]
        return tuple(names or [self.model.name])

    def read(self, path: Path) -> UInt8[np.ndarray, "h w i"]:
        """Read an image with the channels that the model was trained on.

        Raises:
            ImageError: not readable, or of other channels.
        """
        return read_image_of(path, channels=self.model.data.channels)

    def images_of(self, images: Path) -> list[Path]:
        """Return the image files of a folder, or the one file, of which this model can be asked.

        Raises:
            DataError: there is none, or no such folder.
        """
        return images_in(images, channels=self.model.data.channels)

    @property
    def made_with(self) -> dict[str, str | int | None]:
        """What the outputs depend on beside the model and the images: see `run_batch`."""
        return {"flip": self.flip, **({"method": self.method, "version": __version__} if self.method else {})}

    def logits(self, image: UInt8[np.ndarray, "h w i"]) -> Float[Tensor, "c h w"]:
        """Return float32 logits at the size of `image`, 0–255, RGB unless the model was trained on other channels."""
        return self._by_method(resize_logits(self._forward(self._prepared(image))[0], image.shape[:2]), image)

    def steps(self, image: UInt8[np.ndarray, "h w i"]) -> Float[Tensor, "t c h w"]:
        """Return all states of refined masks at the size of `image`: the coarse logits first, the refined last.

        Raises:
            DataError: the model has neither refiner nor method.
        """
        if len(self.stage_names) == 1:
            raise DataError(f"run {self.model.name} has no refiner and so no steps; use a run of train-refiner")
        refined = isinstance(self.network, RefinedSegmenter)
        states = self._forward(self._prepared(image), steps=refined)
        return self._with_method(resize_logits(states[:, 0] if refined else states, image.shape[:2]), image)

    def dataset(self, dataset: Dataset, *, batch_size: int = 16) -> Iterator[tuple[Prediction | RefinedMask, Tensor]]:
        """Yield (prediction, truth) for every sample, at the image's own size; where masks are refined, `RefinedMask`s of
        a state for each of `stage_names`."""
        refined = isinstance(self.network, RefinedSegmenter)
        index = {name: i for i, name in enumerate(dataset.names)}
        for batch in scoring_loader(dataset, size=self.model.size, batch_size=batch_size):
            states = self._forward(batch.images.to(self.device), steps=refined)
            for i, (name, target) in enumerate(zip(batch.names, batch.targets, strict=True)):
                logits = resize_logits(states[[0, -1], i] if refined else states[[i]], target.shape)
                if self.method:
                    logits = self._with_method(logits, dataset[index[name]].image.permute(1, 2, 0).numpy())
                if len(logits) > 1:
                    yield RefinedMask(name=name, steps=logits), target
                else:
                    yield Prediction(name=name, logits=logits[0]), target

    def _with_method(self, states: Tensor, image: NDArray[np.uint8]) -> Tensor:
        """Append to states (T, C, H, W) the last one as the method refines it, if there is a method."""
        return torch.cat((states, self._by_method(states[-1], image)[None])) if self.method else states

    def _by_method(self, logits: Tensor, image: NDArray[np.uint8]) -> Tensor:
        """Refine logits (C, H, W) by the method, if there is one."""
        if not self.method:
            return logits
        probabilities = probabilities_and_entropy(logits[None])[0][0].numpy()
        binary = len(probabilities) == 1
        whole = np.concatenate((1 - probabilities, probabilities)) if binary else probabilities
        refined = apply_method(whole, as_colours(image), method=self.method).probabilities
        return torch.from_numpy(to_logits(refined[1:] if binary else refined))

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


def images_in(images: Path, *, channels: int) -> list[Path]:
    """Return the image files of a folder, or the one file, that may have so many channels.

    Raises:
        DataError: there is none, or no such folder.
    """
    suffixes = IMAGE_SUFFIXES if channels == 3 else IMAGE_SUFFIXES | ARRAY_SUFFIXES
    paths = list_images(images, suffixes=suffixes) if images.is_dir() else [images]
    if not paths:
        raise DataError(f"{images} holds no image; expected PNG, JPEG, WebP or TIFF files")
    return paths


def source_of(images: Path) -> str:
    """Return the folder that images come from, as `run_batch` keeps it."""
    return str((images if images.is_dir() else images.parent).resolve())


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[None]:
    """Return the context in which a model of this precision ("fp32" or "bf16") runs."""
    if precision == "bf16":
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


def predict_folder(
    run: Path,
    images: Path,
    out: Path,
    *,
    save: Save = "labels",
    flip: bool = False,
    method: str | None = None,
    device: str = "auto",
) -> list[Path]:
    """Predict every image of a folder (or one image) and write one file each; what is already there is not done again.

    Args:
        run: run folder of a segmenter or a refined one.
        images: a folder, or one file.
        out: folder of the outputs, created if need be.
        save: "labels" (8-bit palette PNG), "probabilities" (`.npz`, float16 (C, H, W)) or "logits" (`.npz`, float32).
        flip: see `Predictor`.
        method: see `Predictor`.
        device: "auto", "cpu" or "cuda".

    Returns:
        The output files, in the order of the images.

    Raises:
        BatchError: some images failed; all others are written, the failed ones named.
        ConfigError: `out` holds masks of another run, other images, another `save`, `flip` or `method`; an
            unknown method.
        DataError: no image there.
    """
    predictor = Predictor.load(run, device=device, flip=flip, method=method)
    return predict_images(predictor, images, out, save=save, origin={"run": digest_of(model_file(run))})


def predict_images(
    predictor: Predictor, images: Path, out: Path, *, save: Save, origin: Mapping[str, str | int | None]
) -> list[Path]:
    """Write what `predict_folder` writes, of a model that is loaded already.

    Args:
        predictor: the model.
        images: a folder, or one file.
        out: folder of the outputs.
        save: see `predict_folder`.
        origin: where the model came from; kept beside the outputs.
    """
    paths = predictor.images_of(images)
    names = output_names(paths)
    outputs = {path: out / f"{names[path]}{SUFFIX[save]}" for path in paths}
    classes = len(predictor.model.classes)
    palette = label_palette(classes, official_colours(predictor.model.data, classes))

    def one(path: Path) -> None:
        write_logits(outputs[path], predictor.logits(predictor.read(path)), save=save, palette=palette)

    settings = {**origin, "images": source_of(images), "save": save, **predictor.made_with}
    run_batch(outputs, one, label="predict", settings=settings, memory_advice=ADVICE)
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
