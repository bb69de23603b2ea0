"""`pets[:DIR]`: Oxford-IIIT Pet (Parkhi et al. 2012, CC BY-SA 4.0), pet against background, official splits.

DIR holds `images/`, `annotations/trimaps/`, `annotations/trainval.txt`, `annotations/test.txt`. The trimaps say 1 pet,
2 background, 3 border.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import torch

from ..errors import DataError
from ..types import IGNORE_INDEX, Sample, Splits
from .folder import first_ten
from .io import read_image, read_mask

Border = Literal["pet", "ignore"]

CLASSES = ("background", "pet")
ARCHIVES = {
    "images.tar.gz": "67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
    "annotations.tar.gz": "52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
}
"""Archive → SHA-256."""
ADDRESS = "https://thor.robots.ox.ac.uk/~vgg/data/pets/"


class PetsDataset:
    """The pictures that one of the official lists names; satisfies `Dataset`.

    Args:
        root: the folder described above.
        part: "trainval" or "test".
        border: the border pixels of a trimap count as "pet", or are of the "ignore"d label.

    Raises:
        DataError: a file is missing; all missing ones are counted, the first named.
    """

    classes: tuple[str, ...] = CLASSES

    def __init__(self, root: Path, part: str, *, border: Border) -> None:
        self.root = root
        listing = root / "annotations" / f"{part}.txt"
        if not listing.is_file():
            raise DataError(
                f"{listing} is missing; expected the official layout of Oxford-IIIT Pet: images/, "
                "annotations/trimaps/, annotations/trainval.txt, annotations/test.txt"
            )
        lines = (line.split() for line in listing.read_text().splitlines())
        self.names = tuple(words[0] for words in lines if words and not words[0].startswith("#"))
        if not self.names:
            raise DataError(f"{listing} names no picture")
        self.border_label = 1 if border == "pet" else IGNORE_INDEX
        missing = [path for name in self.names for path in self._paths(name) if not path.is_file()]
        if missing:
            shown = first_ten([str(path.relative_to(root)) for path in missing])
            raise DataError(f"{root} lacks {len(missing)} file(s) that {listing.name} names: {shown}")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        image_path, trimap_path = self._paths(name)
        image, trimap = read_image(image_path), read_mask(trimap_path)
        if image.shape[:2] != trimap.shape:
            raise DataError(
                f"{image_path.name} is {image.shape[1]}×{image.shape[0]}, its trimap "
                f"{trimap.shape[1]}×{trimap.shape[0]} pixels; expected the same"
            )
        if not 1 <= trimap.min() <= trimap.max() <= 3:
            raise DataError(
                f"{trimap_path} holds labels {np.unique(trimap)[:5].tolist()}; expected 1 (pet), "
                "2 (background), 3 (border)"
            )
        labels = np.array([0, 1, 0, self.border_label], np.uint8)[trimap]
        return Sample(name=name, image=torch.from_numpy(image).permute(2, 0, 1), target=torch.from_numpy(labels))

    def _paths(self, name: str) -> tuple[Path, Path]:
        return self.root / "images" / f"{name}.jpg", self.root / "annotations" / "trimaps" / f"{name}.png"


def open_pets(root: Path | None, *, border: Border) -> Splits:
    """Open trainval as the training part and test as the test part; there is no validation part.

    Args:
        root: the folder described above; None takes the download in the user's cache, made at the first use.
        border: see `PetsDataset`.
    """
    if root is None:
        root = download_pets()
    train, test = (PetsDataset(root, part, border=border) for part in ("trainval", "test"))
    return Splits(train=train, val=None, test=test)


def download_pets() -> Path:
    """Download (about 800 MB) and unpack into the user's cache, once; return the folder.

    Raises:
        DataError: no network, or an archive whose SHA-256 is not the stated one.
    """
    import pooch

    cache = Path(pooch.os_cache("maskwright")) / "pets"
    try:
        for archive, sha256 in ARCHIVES.items():
            pooch.retrieve(
                f"{ADDRESS}{archive}",
                f"sha256:{sha256}",
                archive,
                cache,
                processor=pooch.Untar(extract_dir="."),
                progressbar=False,
            )
    except (OSError, ValueError) as error:
        raise DataError(
            f"Oxford-IIIT Pet cannot be downloaded from {ADDRESS} ({error}); download images.tar.gz and "
            "annotations.tar.gz elsewhere, unpack both into one folder DIR and use pets:DIR"
        ) from error
    return cache
