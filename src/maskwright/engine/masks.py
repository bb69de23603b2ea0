"""Masks of any tool: which file belongs to which, and what it holds as coarse logits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ..data.decode import named_failures
from ..data.folder import first_ten
from ..data.io import read_labels, read_logits, read_probabilities
from ..data.naming import list_images
from ..errors import DataError, MaskwrightError
from ..models import logit_channels
from ..refine.kinds import CoarseMask, MaskKind, binary_labels, guess_kind, hard_probabilities, to_logits
from .pairing import pair

MASK_SUFFIXES = frozenset({".png", ".tif", ".tiff", ".npy", ".npz", ".bmp"})


def read_coarse(path: Path, *, num_classes: int, kind: MaskKind) -> Float[Tensor, "c h w"]:
    """Read a mask of any tool as coarse logits, C = 1 for two classes.

    "auto" decides as `guess_kind`, where `.npz` files name what they hold.

    Raises:
        DataError: another number of classes, or values that the kind does not allow.
    """
    values, kind = _read_values(path, kind=kind, num_classes=num_classes)
    channels = logit_channels(num_classes)
    if kind == "logits":
        logits = values
    elif kind == "probabilities":
        logits = to_logits(values)
    else:
        labels = binary_labels(values, name=str(path)) if kind == "binary" else values
        if labels.min() < 0 or labels.max() >= num_classes:
            raise DataError(
                f"{path} holds labels {labels.min()}..{labels.max()}, expected 0..{num_classes - 1}; a mask of 0 and "
                "one other value is of the kind `binary`"
            )
        logits = to_logits(hard_probabilities(labels, num_classes)[-channels:])
    if len(logits) == 2 and channels == 1:
        logits = logits[1:] - logits[:1]
    if len(logits) != channels:
        raise DataError(f"{path} holds {len(logits)} channels; expected {channels} for {num_classes} classes")
    return torch.from_numpy(logits).float()


def read_mask_alone(path: Path, *, kind: MaskKind) -> CoarseMask:
    """Read a mask of any tool whose classes nobody knows but the file.

    Raises:
        DataError: values that the kind does not allow, or that may be of two kinds.
    """
    values, kind = _read_values(path, kind=kind, num_classes=None)
    return CoarseMask.of(values, kind=kind, name=str(path))


def _read_values(path: Path, *, kind: MaskKind, num_classes: int | None) -> tuple[NDArray[Any], MaskKind]:
    """Return what a file holds: integers (H, W), or float32 (C, H, W) where it is probabilities or logits; and its kind."""
    kind = _guess_kind(path, num_classes) if kind == "auto" else kind
    read = {"logits": read_logits, "probabilities": read_probabilities}.get(kind, read_labels)
    return read(path), kind


def _guess_kind(path: Path, num_classes: int | None) -> MaskKind:
    with named_failures(path):
        if path.suffix.lower() == ".npz":
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                return "logits" if "logits" in file else "probabilities"
        if path.suffix.lower() == ".npy":
            with path.open("rb") as stream:
                stored = np.load(stream, allow_pickle=False)
            if stored.dtype.kind == "f" and stored.size:
                return guess_kind(stored, name=str(path))
    try:
        labels = read_labels(path)
    except MaskwrightError:
        return "probabilities"  # a float picture, or no mask at all, which its reader then says
    return guess_kind(labels, num_classes=num_classes, name=str(path))


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
        raise DataError(
            f"{len(problems)} file(s) of {masks} and {partners} do not pair up: {first_ten(problems)}; "
            "expected one mask of the same stem for each"
        )
    return dict(sorted(pairs.items()))


def masks_by_name(masks: Path, names: Sequence[str]) -> dict[str, Path]:
    """Return name → mask in the order of the names, paired as in `pairing.pair`; other masks may lie there.

    Raises:
        DataError: names without a mask, or with several; they are counted, the first named.
    """
    found = pair(names, list_images(masks, suffixes=MASK_SUFFIXES))
    doubled = [name for name in names if name not in found.paths and name not in found.lacking]
    for what, wrong in (("no mask", found.lacking), ("more than one", doubled)):
        if wrong:
            raise DataError(
                f"{masks} holds {what} of {len(wrong)} of {len(names)} images: {first_ten(wrong)}; expected one of each"
            )
    return {name: found.paths[name] for name in names}
