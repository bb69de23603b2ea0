"""Refining the masks of any segmenter with a trained refiner."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ..data.io import read_image
from ..data.loading import to_float
from ..data.naming import IMAGE_SUFFIXES
from ..data.transforms import resize_pair
from ..errors import ConfigError, DataError
from .batch import digest_of, run_batch
from .masks import MaskKind, pair_by_stem, read_coarse
from .network import RefinedSegmenter, resize_logits
from .predict import SUFFIX, Predictor, Save, autocast, label_palette, write_logits
from .run import model_file


def refine_folder(
    refiner: Path,
    images: Path,
    masks: Path,
    out: Path,
    *,
    mask_kind: MaskKind = "auto",
    save: Save = "labels",
    size: int | None = None,
    device: str = "auto",
) -> list[Path]:
    """Refine one mask per image and write one file each; what is already there is not done again.

    Args:
        refiner: run folder of a trained refiner; its coarse network is not used.
        images: folder of images.
        masks: folder of masks with the same stems, from any tool.
        out: folder of the outputs.
        mask_kind: what the masks hold: "labels" (0..C − 1), "binary" (0 and any one other value), "probabilities"
            (grey picture, `.npy`, `.npz`), "logits" (`.npy`, `.npz`); "auto" looks at each file.
        save: see `predict_folder`.
        size: side of the square at which the refiner works, pixels; 0 works at each image's own size, None at the size
            that the refiner was trained at.
        device: "auto", "cpu" or "cuda".

    Returns:
        The output files.

    Raises:
        ConfigError: the run has no refiner; `out` holds masks of another refiner or of other settings.
        DataError: masks without an image of their stem, all named; images without a mask are left alone.
        BatchError: some files failed; all others are written.
    """
    if size is not None and size < 0:
        raise ConfigError(f"size must be at least 0, got {size}")
    predictor = Predictor.load(refiner, device=device)
    if not isinstance(predictor.network, RefinedSegmenter):
        raise ConfigError(f"{refiner} is a run without a refiner; expected one of train-refiner")
    pairs = pair_by_stem(masks, images, suffixes=IMAGE_SUFFIXES, every_partner=False)
    outputs = {mask: out / f"{stem}{SUFFIX[save]}" for stem, (mask, _) in pairs.items()}
    image_of = dict(pairs.values())
    classes = len(predictor.model.classes)
    work_size = predictor.model.size if size is None else size

    def one(mask: Path) -> None:
        image = read_image(image_of[mask])
        coarse = read_coarse(mask, num_classes=classes, kind=mask_kind)
        if coarse.shape[-2:] != image.shape[:2]:
            raise DataError(
                f"{mask} is {coarse.shape[-1]}×{coarse.shape[-2]}, its image {image.shape[1]}×"
                f"{image.shape[0]} pixels; expected the same"
            )
        refined = refine_logits(predictor, image, coarse, size=work_size)
        write_logits(outputs[mask], refined, save=save, palette=label_palette(classes))

    settings: dict[str, str | int | None] = {
        "refiner": digest_of(model_file(refiner)),
        "images": str(images.resolve()),
        "masks": str(masks.resolve()),
        "mask_kind": mask_kind,
        "save": save,
        "size": work_size,
    }
    run_batch(outputs, one, label="refine", settings=settings, inputs=image_of.values())
    return list(outputs.values())


def refine_logits(
    predictor: Predictor, image: NDArray[np.uint8], coarse: Float[Tensor, "c h w"], *, size: int
) -> Float[Tensor, "c h w"]:
    """Return refined logits at the image's own size.

    Args:
        predictor: of a run with a refiner.
        image: RGB, uint8, (H, W, 3).
        coarse: logits at the image's size, C = 1 for binary.
        size: side of the square at which the refiner works, pixels; 0 is the image's own size.
    """
    assert isinstance(predictor.network, RefinedSegmenter)
    small = to_float(resize_pair(torch.from_numpy(image).permute(2, 0, 1), None, size)[0][None])
    logits = resize_logits(coarse[None], small.shape[-2:])
    with torch.inference_mode(), autocast(predictor.device, predictor.model.precision):
        states = predictor.network.refiner(small.to(predictor.device), logits.to(predictor.device), return_steps=True)
    # What the refiner changed is added to the full-size coarse logits, so where it changes nothing they stay sharp.
    change = resize_logits((states[-1] - states[0])[0].float().cpu(), image.shape[:2])
    return coarse + change
