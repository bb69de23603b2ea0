"""A refiner that was trained here, in the form in which all other methods are: class probabilities in, and out again."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from ..data.loading import to_float
from ..data.transforms import resize_pair
from ..errors import ConfigError
from ..refine.affinity import probabilities_and_entropy
from ..refine.inputs import check_inputs
from ..refine.kinds import CoarseMask, to_logits
from ..refine.outcome import Refined
from .network import RefinedSegmenter, resize_logits
from .predict import Predictor, autocast
from .run import model_file


class TrainedRefiner:
    """The refiner of a run, without the run's coarse network; a `Method` for masks of the run's classes.

    Args:
        run: folder of a run of train-refiner.
        size: side of the square at which the refiner works, pixels; 0 works at each image's own size, None at the size
            that the refiner was trained at.
        device: "auto", "cpu" or "cuda".

    Raises:
        ConfigError: a negative size; the run has no refiner.
        CheckpointError: the run has no model that can be read.
    """

    def __init__(self, run: Path, *, size: int | None = None, device: str = "auto") -> None:
        if size is not None and size < 0:
            raise ConfigError(f"size must be at least 0, got {size}")
        self.predictor = Predictor.load(run, device=device)
        network = self.predictor.network
        if not isinstance(network, RefinedSegmenter):
            raise ConfigError(f"{run} is a run without a refiner; expected one of train-refiner")
        self.refiner = network.refiner
        self.classes = self.predictor.model.classes
        self.size = self.predictor.model.size if size is None else size

    def logits(self, coarse: Float[Tensor, "c h w"], image: UInt8[np.ndarray, "h w i"]) -> Float[Tensor, "c h w"]:
        """Return refined logits at the image's own size.

        Args:
            coarse: logits at the image's size, C = 1 for two classes.
            image: RGB, or what channels the run was trained on.
        """
        predictor = self.predictor
        pixels = torch.from_numpy(image.transpose(2, 0, 1).copy())  # the image may be read-only
        small = to_float(resize_pair(pixels, None, self.size)[0][None])
        logits = resize_logits(coarse[None], small.shape[-2:])
        with torch.inference_mode(), autocast(predictor.device, predictor.model.precision):
            states = self.refiner(small.to(predictor.device), logits.to(predictor.device), return_steps=True)
        # What the refiner changed is added to the full-size coarse logits, so where it changes nothing they stay sharp.
        change = resize_logits((states[-1] - states[0])[0].float().cpu(), image.shape[:2])
        return coarse + change

    def __call__(
        self, probabilities: Float32[np.ndarray, "c h w"], image: UInt8[np.ndarray, "h w 3"]
    ) -> Float32[np.ndarray, "c h w"]:
        """Refine the probabilities of the run's C classes; pixels that the refiner does not change keep theirs exactly."""
        check_inputs(probabilities, image)
        binary = len(probabilities) == 2
        coarse = torch.from_numpy(to_logits(probabilities[1:] if binary else probabilities))
        logits = self.logits(coarse, image)
        refined = probabilities_and_entropy(logits[None])[0][0].numpy()
        refined = np.concatenate((1 - refined, refined)) if binary else refined
        changed = (logits != coarse).any(0).numpy()
        return np.where(changed, refined, probabilities)

    def refine(self, coarse: CoarseMask, image: UInt8[np.ndarray, "h w 3"]) -> Refined:
        """Refine a mask of any kind, and return the probabilities of its own K channels.

        Raises:
            ConfigError: the run was trained on images of other than 3 channels.
            DataError: the mask has other classes than the run.
        """
        if (channels := self.predictor.model.data.channels) != 3:
            raise ConfigError(f"the run reads images of {channels} channels, this one is RGB; use `maskwright refine`")
        whole = coarse.of_classes(len(self.classes))
        if len(coarse.probabilities) == 1:  # a single label, beside which nothing may appear
            return Refined(probabilities=coarse.probabilities)
        refined = self(whole, image)
        return Refined(probabilities=coarse.own_channels(refined))


def loaded_refiner(run: Path) -> TrainedRefiner:
    """Return the refiner of a run, read once per process unless the run is trained again; errors as in `TrainedRefiner`."""
    model = model_file(run)
    return _loaded(run.resolve(), model.stat().st_mtime_ns if model.exists() else 0)


@lru_cache(maxsize=8)
def _loaded(run: Path, _changed: int) -> TrainedRefiner:
    return TrainedRefiner(run)
