"""Masks of any tool: which file belongs to which, and what it holds as coarse logits."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ..data.decode import named_failures
from ..data.io import read_labels, read_logits, read_probabilities
from ..data.naming import list_images
from ..errors import DataError, MaskwrightError
from ..models import logit_channels

MaskKind = Literal["auto", "labels", "binary", "probabilities", "logits"]

MASK_SUFFIXES = frozenset({".png", ".tif", ".tiff", ".npy", ".npz", ".bmp"})

FEWEST_GREYS = 16
"""A picture of integers is guessed to hold probabilities where it has so many different values."""

HARD_PROBABILITY = 0.9
"""Probability that a hard mask's own class gets: certain enough to hold, not so certain that nothing can move it."""


def read_coarse(path: Path, *, num_classes: int, kind: MaskKind) -> Float[Tensor, "c h w"]:
    """Read a mask of any tool as coarse logits, C = 1 for two classes.

    "auto" takes float arrays for probabilities where they lie in [0, 1] and for logits otherwise, and pictures for labels;
    where there are two classes, pictures of 0 and 255 for binary masks and those of many greys for probabilities.

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
                f"{path} holds labels {labels.min()}..{labels.max()}, expected 0..{num_classes - 1}; a mask of 0 and "
                "one other value is of the kind `binary`"
            )
        logits = _hard_logits(torch.from_numpy(labels.astype(np.int64)), num_classes)
    if len(logits) == 2 and channels == 1:
        logits = logits[1:] - logits[:1]
    if len(logits) != channels:
        raise DataError(f"{path} holds {len(logits)} channels; expected {channels} for {num_classes} classes")
    return logits.float()


def _guess_kind(path: Path, num_classes: int) -> MaskKind:
    with named_failures(path):
        if path.suffix.lower() == ".npz":
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                return "logits" if "logits" in file else "probabilities"
        if path.suffix.lower() == ".npy":
            with path.open("rb") as stream:
                stored = np.load(stream, allow_pickle=False)
            if stored.dtype.kind == "f":
                return "probabilities" if stored.size and stored.min() >= 0 and stored.max() <= 1 else "logits"
    try:
        labels = read_labels(path)
    except MaskwrightError:
        return "probabilities"  # a float picture, or no mask at all, which its reader then says
    if labels.max() < num_classes or num_classes > 2:
        return "labels"
    values = np.unique(labels)
    if set(values.tolist()) <= {0, 255}:
        return "binary"
    # A few values beyond the classes are wrong labels, which must not pass for small probabilities.
    return "probabilities" if len(values) >= FEWEST_GREYS else "labels"


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


def pair_by_stem(
    masks: Path, partners: Path, *, suffixes: frozenset[str] = MASK_SUFFIXES, every_partner: bool = True
) -> dict[str, tuple[Path, Path]]:
    """Return stem → (mask, partner), sorted by stem; a mask may be called STEM or STEM_mask.

    Args:
        masks: folder of masks.
        partners: folder of what they belong to: true masks, or images.
        suffixes: of the partners.
        every_partner: whether each partner is a mask too and needs one.

    Raises:
        DataError: no mask, several files of one stem, or files without their partner; all are named.
    """
    by_stem: dict[str, list[Path]] = {}
    for path in list_images(partners, suffixes=suffixes):
        stem = path.stem.removesuffix("_mask") if every_partner else path.stem
        by_stem.setdefault(stem, []).append(path)
    pairs: dict[str, tuple[Path, Path]] = {}
    problems = []
    for mask in list_images(masks, suffixes=MASK_SUFFIXES):
        stem = mask.stem if mask.stem in by_stem else mask.stem.removesuffix("_mask")
        found = by_stem.get(stem, [])
        if not found:
            problems.append(f"{mask.name} (nothing of that stem in {partners.name})")
        elif len(found) > 1 or stem in pairs:
            problems.append(f"{mask.name} (more than one file of that stem)")
        else:
            pairs[stem] = mask, found[0]
    if not pairs and not problems:
        raise DataError(f"{masks} holds no mask; expected {', '.join(sorted(MASK_SUFFIXES))} files")
    if every_partner:
        problems += [
            f"{by_stem[stem][0].name} (no mask in {masks.name})" for stem in sorted(by_stem.keys() - pairs.keys())
        ]
    if problems:
        more = f" and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise DataError(
            f"{len(problems)} file(s) of {masks} and {partners} do not pair up: {', '.join(problems[:10])}{more}; "
            "expected one mask of the same stem for each"
        )
    return dict(sorted(pairs.items()))
