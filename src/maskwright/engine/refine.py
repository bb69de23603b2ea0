"""Refining the masks of any segmenter with a trained refiner."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ..data.io import read_image, read_labels, read_logits, read_probabilities
from ..data.loading import to_float
from ..data.naming import list_images
from ..data.transforms import resize_pair
from ..errors import ConfigError, DataError
from ..models import logit_channels
from .evaluate import MASK_SUFFIXES
from .network import RefinedSegmenter, resize_logits
from .predict import SUFFIX, Predictor, Save, autocast, label_palette, run_batch, write_logits

MaskKind = Literal["auto", "labels", "binary", "probabilities", "logits"]

HARD_PROBABILITY = 0.9
"""Probability that a hard mask's own class gets: certain enough to hold, not so certain that nothing can move it."""


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
        ConfigError: the run has no refiner.
        DataError: images and masks do not pair up; all are named.
        BatchError: some files failed; all others are written.
    """
    predictor = Predictor.load(refiner, device=device)
    if not isinstance(predictor.network, RefinedSegmenter):
        raise ConfigError(f"{refiner} is a run without a refiner; expected one of train-refiner")
    pairs = pair_images(images, masks)
    outputs = {mask: out / f"{stem}{SUFFIX[save]}" for stem, (_, mask) in pairs.items()}
    image_of = {mask: image for image, mask in pairs.values()}
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

    run_batch(outputs, one, label="refine")
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


def read_coarse(path: Path, *, num_classes: int, kind: MaskKind) -> Float[Tensor, "c h w"]:
    """Read a mask of any tool as coarse logits, C = 1 for two classes.

    Raises:
        DataError: another number of classes, or values that the kind does not allow.
    """
    kind = _guess_kind(path, num_classes) if kind == "auto" else kind
    channels = logit_channels(num_classes)
    if kind == "logits":
        logits = torch.from_numpy(read_logits(path))
    elif kind == "probabilities":
        logits = _to_logits(torch.from_numpy(read_probabilities(path)))
    else:
        labels = read_labels(path)
        if kind == "binary":
            labels = _binary(path, labels)
        if labels.min() < 0 or labels.max() >= num_classes:
            raise DataError(
                f"{path} holds labels {labels.min()}..{labels.max()}, expected 0..{num_classes - 1}; for a "
                "mask of 0 and 255 use --mask_kind binary"
            )
        logits = _hard_logits(torch.from_numpy(labels.astype(np.int64)), num_classes)
    if len(logits) == 2 and channels == 1:
        logits = logits[1:] - logits[:1]
    if len(logits) != channels:
        raise DataError(f"{path} holds {len(logits)} channels; the refiner was trained for {channels}")
    return logits.float()


def _guess_kind(path: Path, num_classes: int) -> MaskKind:
    if path.suffix.lower() == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return "logits" if "logits" in file else "probabilities"
    stored = np.load(path, allow_pickle=False, mmap_mode="r") if path.suffix.lower() == ".npy" else None
    if stored is not None and stored.dtype.kind == "f":
        return "probabilities" if stored.min() >= 0 and stored.max() <= 1 else "logits"
    labels = read_labels(path)
    if labels.max() < num_classes:
        return "labels"
    if num_classes == 2:
        return "binary" if len(np.unique(labels)) <= 2 else "probabilities"
    return "labels"


def _binary(path: Path, labels: NDArray[np.integer]) -> NDArray[np.integer]:
    values = np.unique(labels)
    if len(values) > 2 or (len(values) == 2 and values[0] != 0):
        raise DataError(f"{path} holds the values {values[:5].tolist()}; a binary mask has 0 and one other value")
    return (labels > 0).astype(np.uint8)


def _to_logits(probabilities: Tensor) -> Tensor:
    if len(probabilities) == 1:
        return torch.logit(probabilities, eps=1e-3)
    return probabilities.clamp_min(1e-4).log()


def _hard_logits(labels: Tensor, num_classes: int) -> Tensor:
    if num_classes == 2:
        return torch.logit(torch.where(labels == 1, HARD_PROBABILITY, 1 - HARD_PROBABILITY))[None]
    rest = (1 - HARD_PROBABILITY) / (num_classes - 1)
    one_hot = torch.nn.functional.one_hot(labels, num_classes).permute(2, 0, 1)
    return torch.where(one_hot == 1, HARD_PROBABILITY, rest).log()


def pair_images(images: Path, masks: Path) -> Mapping[str, tuple[Path, Path]]:
    """Return stem → (image, mask) for every mask; images without a mask are left alone.

    Raises:
        DataError: no mask, masks without an image, or two files of one stem.
    """
    by_stem: dict[str, list[Path]] = {}
    for path in list_images(images):
        by_stem.setdefault(path.stem, []).append(path)
    pairs: dict[str, tuple[Path, Path]] = {}
    problems = []
    for mask in list_images(masks, suffixes=MASK_SUFFIXES):
        stem = mask.stem if mask.stem in by_stem else mask.stem.removesuffix("_mask")
        found = by_stem.get(stem, [])
        if len(found) != 1 or stem in pairs:
            problems.append(f"{mask.name} ({'no image' if not found else 'more than one image or mask'} of that stem)")
        else:
            pairs[stem] = found[0], mask
    if problems:
        more = f" and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise DataError(
            f"{len(problems)} mask(s) of {masks} do not pair up with {images}: {', '.join(problems[:10])}{more}"
        )
    if not pairs:
        raise DataError(f"{masks} holds no mask; expected files with the stems of the images")
    return pairs
