"""PASCAL VOC 2012 segmentation (Everingham et al. 2015; Flickr pictures, under Flickr's terms): 20 object classes.

DIR is `VOC2012/`, `VOCdevkit/` or what holds it. `JPEGImages/`, `SegmentationClass/` and `ImageSets/Segmentation/` with
train.txt and val.txt are the official 1,464 and 1,449 pictures. Where `SegmentationClassAug/` and
`ImageSets/Segmentation/train_aug.txt` (or trainaug.txt) stand beside them, training takes these 10,582 pictures with the
masks of SBD (Hariharan et al. 2011), as published results mostly do; val is the official one in either case.

Masks store 0 (background) to 20 as palette indices; 255, the outline of the objects, is ignored.
"""

from collections.abc import Sequence
from pathlib import Path

from ..types import Splits
from .classes import ClassTable
from .colours import Colour
from .folder import FolderDataset, Pair, read_list
from .official import Source, first_with, identity, require_files

CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor"),
)

_LISTS = "ImageSets/Segmentation"
_AUGMENTED_LISTS = ("train_aug.txt", "trainaug.txt")

SOURCE = Source(
    title="PASCAL VOC 2012",
    address="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
    download="VOCtrainval_11-May-2012.tar (about 2 GB)",
    tree="    DIR/ or DIR/VOC2012/ or DIR/VOCdevkit/VOC2012/\n"
    "        JPEGImages/NAME.jpg\n"
    "        SegmentationClass/NAME.png\n"
    "        ImageSets/Segmentation/train.txt val.txt\n"
    "        SegmentationClassAug/NAME.png, ImageSets/Segmentation/train_aug.txt    as wanted",
)


def colour_map(count: int) -> tuple[Colour, ...]:
    """Return VOC's colours of the labels 0..count − 1: the label's bits, dealt in turn to the high bits of R, G and B."""

    def channel(label: int, first: int) -> int:
        return sum((label >> (3 * place + first) & 1) << (7 - place) for place in range(3))

    return tuple((channel(label, 0), channel(label, 1), channel(label, 2)) for label in range(count))


COLOURS = colour_map(len(CLASSES))


def open_voc(root: Path) -> Splits:
    """Open train, or the augmented train where it is there, and val; there is no test part, its masks are not public.

    Args:
        root: as the module says.

    Raises:
        DataError: folders or lists are missing; or files that the lists name, all at once; or a picture is in two lists.
    """
    root = first_with((root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"), "ImageSets")
    SOURCE.require(root, ("JPEGImages", "SegmentationClass", f"{_LISTS}/train.txt", f"{_LISTS}/val.txt"))
    train, masks = "train.txt", "SegmentationClass"
    if (root / "SegmentationClassAug").is_dir():
        for name in _AUGMENTED_LISTS:
            if (root / _LISTS / name).is_file():
                train, masks = name, "SegmentationClassAug"
    parts = {
        f"{_LISTS}/{train}": _pairs(root, train, masks),
        f"{_LISTS}/val.txt": _pairs(root, "val.txt", "SegmentationClass"),
    }
    require_files(root, parts)
    table = ClassTable(names=CLASSES, values=identity(len(CLASSES)))
    first, second = (FolderDataset(pairs, table) for pairs in parts.values())
    return Splits(train=first, val=second, test=None)


def _pairs(root: Path, listing: str, masks: str) -> Sequence[Pair]:
    # A line of some augmented lists is "/JPEGImages/NAME.jpg /SegmentationClassAug/NAME.png".
    names = [Path(line.split()[0]).stem for line in read_list(root / _LISTS / listing)]
    return [
        Pair(name=name, image=root / "JPEGImages" / f"{name}.jpg", mask=root / masks / f"{name}.png") for name in names
    ]
