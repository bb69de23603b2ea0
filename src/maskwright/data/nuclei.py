"""`nuclei:DIR`: nuclei of cells, told apart (Data Science Bowl 2018, stage 1; BBBC038v1 of the Broad Institute; CC0).

Two layouts, told apart by what stands in DIR:

- `images/NAME.png` and `instances/NAME.png`: 16-bit maps of numbers, 0 = none, any other number is one nucleus;
- the official `stage1_train`: `NAME/images/NAME.png` and `NAME/masks/*.png`, a mask of 0 and 255 for each nucleus.

The data has no official parts that come with masks. A fifth of the pictures is the test part, drawn with a fixed seed from
the sorted names, so it is the same whatever the settings; the validation part is held out of the rest by
`data.val_fraction` and `data.split_seed`, as of any data set.

Classes are background and nucleus. With a contour of N pixels they are background, nucleus and border: what lies at most N
pixels (Euclidean) inside the outline of its own nucleus is border. The outline all around was chosen, and not only where
nuclei touch, because a network sees it at every nucleus: of 100 foreground pixels, 25 lie along outlines of 2 pixels, and 3
within 2 pixels of another nucleus. From the true classes, the nuclei are had back with an AP50 of 0.987 for 1 pixel, 0.984
for 2 and 0.95 for 3; by connected pieces of the foreground alone, with 0.78. Where all of a nucleus would be border, its
innermost pixels stay inside. The edge of the picture is no outline.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int32, Integer, UInt8
from scipy import ndimage

from ..errors import DataError
from ..types import Sample, Splits
from .folder import all_pairs, first_ten
from .io import read_image, read_labels
from .naming import list_images
from .official import pair_folders
from .splits import hold_out

TEST_FRACTION = 0.2
"""Share of the pictures that make the test part."""

CLASSES = ("background", "nucleus")
BORDER = "border"
"""Name of the third class, where there is one."""

_EXPECTED = (
    "images/NAME.png and instances/NAME.png (16-bit maps of numbers), or the official stage1_train, "
    "NAME/images/NAME.png and NAME/masks/*.png; stage1_train.zip (about 80 MB) is at https://bbbc.broadinstitute.org/BBBC038"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """The files of one picture: `truth` is one map of numbers, or the masks of single nuclei, where `single`."""

    name: str
    image: Path
    truth: tuple[Path, ...]
    single: bool


class NucleiDataset:
    """Pictures of nuclei, decoded when a sample is read; satisfies `Dataset`.

    Args:
        pictures: in the order of the data set.
        contour: pixels of border inside each outline; 0 has no such class.
    """

    def __init__(self, pictures: Sequence[Picture], *, contour: int = 0) -> None:
        self.pictures = tuple(pictures)
        self.contour = contour
        self.classes: tuple[str, ...] = (*CLASSES, BORDER) if contour else CLASSES
        self.names = tuple(picture.name for picture in pictures)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Sample:
        """Decode one sample.

        Raises:
            ImageError: a file cannot be decoded.
            DataError: picture and truth differ in size, or numbers are negative or beyond 32 bits.
        """
        picture = self.pictures[index]
        image = read_image(picture.image)
        ids = _joined(picture, image.shape[:2]) if picture.single else _read_map(picture.truth[0], image.shape[:2])
        target = with_border(ids, self.contour) if self.contour else (ids > 0).astype(np.uint8)
        return Sample(
            name=picture.name,
            image=torch.from_numpy(image).permute(2, 0, 1).contiguous(),
            target=torch.from_numpy(target),
            instances=torch.from_numpy(ids),
        )


def open_nuclei(root: Path, *, contour: int = 0) -> Splits:
    """Open either layout; there is a training and a test part, see the module.

    Raises:
        DataError: neither layout, files without their partner (all named at once), or fewer than two pictures.
    """
    pictures = _of_maps(root) if (root / "instances").is_dir() else _of_masks(root)
    if len(pictures) < 2:
        raise DataError(f"{root}: holds {len(pictures)} pictures; expected at least 2, one of which is for testing.")
    train, test = hold_out(NucleiDataset(pictures, contour=contour), TEST_FRACTION, seed=0)
    return Splits(train=train, val=None, test=test)


def with_border(ids: Integer[np.ndarray, "h w"], contour: int) -> UInt8[np.ndarray, "h w"]:
    """Return the label map 0 background, 1 inside, 2 border of a map of numbers; see the module.

    Args:
        ids: 0 = none.
        contour: pixels.
    """
    labels = (ids > 0).astype(np.uint8)
    _, numbers = np.unique(ids, return_inverse=True)  # so that no number is skipped, which find_objects makes a box for
    numbers = numbers.reshape(ids.shape) + int(ids.min() > 0)
    for number, box in enumerate(ndimage.find_objects(numbers), start=1):
        if box is None:
            continue
        around = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in box)
        own = numbers[around] == number
        if own.all():  # the whole picture: no outline, and no distance to one
            continue
        depth = ndimage.distance_transform_edt(own)
        labels[around][own & (depth <= min(contour, np.nextafter(depth.max(), 0)))] = 2
    return labels


def _of_maps(root: Path) -> list[Picture]:
    if not (root / "images").is_dir():
        raise DataError(f"{root}: has instances/ but no images/; expected {_EXPECTED}.")
    (pairs,) = all_pairs([pair_folders(root / "images", root / "instances")])
    return [Picture(name=pair.name, image=pair.image, truth=(pair.mask,), single=False) for pair in pairs if pair.mask]


def _of_masks(root: Path) -> list[Picture]:
    folders = sorted(path for path in root.iterdir() if (path / "images").is_dir()) if root.is_dir() else []
    if not folders:
        raise DataError(f"{root}: holds no nuclei; expected {_EXPECTED}.")
    pictures, problems = [], []
    for folder in folders:
        images = list_images(folder / "images")
        masks = list_images(folder / "masks") if (folder / "masks").is_dir() else []
        if len(images) != 1 or not masks:
            problems.append(f"{folder.name} ({len(images)} images, {len(masks)} masks)")
        else:
            pictures.append(Picture(name=folder.name, image=images[0], truth=tuple(masks), single=True))
    if problems:
        raise DataError(f"{root}: expected one image and at least one mask in every folder; got {first_ten(problems)}.")
    return pictures


def _read_map(path: Path, size: tuple[int, int]) -> Int32[np.ndarray, "h w"]:
    stored = read_labels(path)
    _require_size(path, stored, size)
    if stored.min() < 0 or stored.max() > np.iinfo(np.int32).max:
        raise DataError(f"{path}: holds numbers from {stored.min()} to {stored.max()}; expected 0 (none) to 2^31 − 1.")
    return stored.astype(np.int32)


def _joined(picture: Picture, size: tuple[int, int]) -> Int32[np.ndarray, "h w"]:
    """Number the nuclei in the order of their masks' names; where two overlap, the later one has the pixels."""
    ids = np.zeros(size, np.int32)
    for number, path in enumerate(picture.truth, start=1):
        mask = read_labels(path)
        _require_size(path, mask, size)
        ids[mask != 0] = number
    return ids


def _require_size(path: Path, labels: np.ndarray, size: tuple[int, int]) -> None:
    if labels.shape != size:
        raise DataError(
            f"{path} is {labels.shape[1]} x {labels.shape[0]} pixels, its picture {size[1]} x {size[0]}; expected the same."
        )
