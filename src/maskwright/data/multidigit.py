"""`multidigit:FILE.npz`: the multi-digit MNIST of a university course, 64×64 grey.

The file holds `train_images`, `train_masks`, `test_images`, `test_masks`, each uint8 (N, H, W). Labels: 0 background,
1–9 that digit, 10 the digit 0.
"""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..types import Splits
from .arrays import ArrayDataset

CLASSES = ("background", *"123456789", "0")
PARTS = ("train_images", "train_masks", "test_images", "test_masks")


def open_multidigit(path: Path) -> Splits:
    """Read the file; there is no validation part.

    Raises:
        DataError: no such file, not an npz, arrays that are missing or do not fit together.
    """
    damage = (OSError, ValueError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error)
    try:
        # Opened here, because numpy leaves the file open where its content is no archive.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in PARTS if name in file}
    except damage as error:
        raise DataError(
            f"{path} is not a readable .npz file ({error}); expected one with {', '.join(PARTS)}"
        ) from error
    if missing := [name for name in PARTS if name not in arrays]:
        raise DataError(f"{path} lacks {', '.join(missing)}; expected {', '.join(PARTS)}")
    for part in ("train", "test"):
        images, masks = arrays[f"{part}_images"], arrays[f"{part}_masks"]
        if images.dtype != np.uint8 or images.ndim != 3 or images.shape != masks.shape or masks.dtype.kind not in "iu":
            raise DataError(
                f"{path}: {part}_images is {images.dtype} {images.shape}, {part}_masks {masks.dtype} "
                f"{masks.shape}; expected uint8 images and integer masks, both (N, H, W)"
            )
        labels = np.unique(masks)
        if wrong := [int(v) for v in labels if not 0 <= v < len(CLASSES)]:
            raise DataError(f"{path}: {part}_masks holds labels {wrong[:5]}; expected 0..{len(CLASSES) - 1}")
    train, test = (
        ArrayDataset(arrays[f"{part}_images"], arrays[f"{part}_masks"].astype(np.uint8), classes=CLASSES, prefix=part)
        for part in ("train", "test")
    )
    return Splits(train=train, val=None, test=test)
