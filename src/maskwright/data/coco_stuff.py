"""COCO-Stuff (Caesar et al. 2018; masks CC BY 4.0, pictures under Flickr's terms): 80 things and 91 kinds of stuff.

Two layouts, told apart by what stands in DIR:

- `images/train2017/` and `annotations/train2017/` (or `stuffthingmaps/train2017/`), and so for val2017: 118,287 and 5,000
  pictures, masks as PNG that store the class number less one;
- the first 10,000: `images/`, `annotations/` (`.mat`), `imageLists/train.txt` and `test.txt`, masks that store the number.

Of the numbers 1..182, the eleven things that COCO never annotated (such as 12, street sign) have no class here, so there
are 171: 0..79 the things and 80..170 the stuff, in the order of the numbers. Unlabelled pixels (255, or 0 in `.mat`) are
ignored. There is no background: class 0 is the person.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Integer

from ..errors import DataError
from ..types import IGNORE_INDEX, Splits
from .classes import ClassTable
from .decode import named_failures
from .folder import FolderDataset, Pair, all_pairs, read_list
from .official import Source, pair_folders, require_files

THINGS = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light"),
    *("fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow"),
    *("elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee"),
    *("skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard"),
    *("tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple"),
    *("sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch"),
    *("potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone"),
    *("microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear"),
    *("hair drier", "toothbrush"),
)
STUFF = (
    *("banner", "blanket", "branch", "bridge", "building-other", "bush", "cabinet", "cage", "cardboard", "carpet"),
    *("ceiling-other", "ceiling-tile", "cloth", "clothes", "clouds", "counter", "cupboard", "curtain"),
    *("desk-stuff", "dirt", "door-stuff", "fence", "floor-marble", "floor-other", "floor-stone", "floor-tile"),
    *("floor-wood", "flower", "fog", "food-other", "fruit", "furniture-other", "grass", "gravel", "ground-other"),
    *("hill", "house", "leaves", "light", "mat", "metal", "mirror-stuff", "moss", "mountain", "mud", "napkin"),
    *("net", "paper", "pavement", "pillow", "plant-other", "plastic", "platform", "playingfield", "railing"),
    *("railroad", "river", "road", "rock", "roof", "rug", "salad", "sand", "sea", "shelf", "sky-other"),
    *("skyscraper", "snow", "solid-other", "stairs", "stone", "straw", "structural-other", "table", "tent"),
    *("textile-other", "towel", "tree", "vegetable", "wall-brick", "wall-concrete", "wall-other", "wall-panel"),
    *("wall-stone", "wall-tile", "wall-wood", "water-other", "waterdrops", "window-blind", "window-other", "wood"),
)
CLASSES = THINGS + STUFF

NEVER_ANNOTATED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)
"""Numbers of the things without a mask: street sign, hat, shoe, eye glasses, plate, mirror, window, desk, door, blender,
hair brush."""

IDS = tuple(number for number in range(1, 183) if number not in NEVER_ANNOTATED)
"""COCO-Stuff's number of each class."""

SOURCE = Source(
    title="COCO-Stuff",
    address="https://github.com/nightrome/cocostuff",
    download="train2017.zip, val2017.zip (about 19 GB) and stuffthingmaps_trainval2017.zip (about 700 MB), or "
    "cocostuff-10k-v1.1.zip (about 2 GB)",
    tree="    DIR/images/train2017/NAME.jpg  annotations/train2017/NAME.png  and so for val2017, or with\n"
    "    DIR/stuffthingmaps/train2017/NAME.png                          in place of annotations/, or\n"
    "    DIR/images/NAME.jpg  annotations/NAME.mat  imageLists/train.txt test.txt",
)

_PARTS = ("train2017", "val2017")


def open_coco_stuff(root: Path) -> Splits:
    """Open train2017 and val2017; of the first 10,000, train and test.

    Args:
        root: as the module says.

    Raises:
        DataError: folders are missing; or files without their counterpart, all named at once.
    """
    masks = ("annotations", "stuffthingmaps")
    layouts = [[f"{kind}/{part}" for kind in ("images", folder) for part in _PARTS] for folder in masks]
    ten = ["images", "annotations", "imageLists/train.txt", "imageLists/test.txt"]
    layout = SOURCE.require_any(root, [*layouts, ten])
    return _ten_thousand(root) if layout == len(masks) else _all_pictures(root, masks[layout])


def _all_pictures(root: Path, masks: str) -> Splits:
    found = [pair_folders(root / "images" / part, root / masks / part, mask_name=_plain_stem) for part in _PARTS]
    table = ClassTable(names=CLASSES, values={number - 1: label for label, number in enumerate(IDS)})
    train, val = (FolderDataset(pairs, table) for pairs in all_pairs(found))
    return Splits(train=train, val=val, test=None, background=False)


def _plain_stem(path: Path) -> str | None:
    """Leave out the masks that other tools write beside the official ones."""
    return None if path.stem.endswith("TrainIds") else path.stem


def _ten_thousand(root: Path) -> Splits:
    parts = {}
    for part in ("train", "test"):
        listing = f"imageLists/{part}.txt"
        parts[listing] = [
            Pair(name=name, image=root / "images" / f"{name}.jpg", mask=root / "annotations" / f"{name}.mat")
            for name in read_list(root / listing)
        ]
    require_files(root, parts)
    values = {0: IGNORE_INDEX, **{number: label for label, number in enumerate(IDS)}}
    table = ClassTable(names=CLASSES, values=values)
    train, test = (FolderDataset(pairs, table, read=_read_mat) for pairs in parts.values())
    return Splits(train=train, val=None, test=test, background=False)


def _read_mat(path: Path) -> Integer[np.ndarray, "h w"]:
    from scipy.io import loadmat

    with named_failures(path):
        labels = loadmat(path, variable_names=["S"]).get("S")
    if not isinstance(labels, np.ndarray) or labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise DataError(f"{path}: holds no label map S of whole numbers (H, W); take it anew from the official archive")
    return labels
