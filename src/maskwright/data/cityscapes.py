"""Cityscapes (Cordts et al. 2016; its own licence: no commercial use, registration): street scenes, 19 classes.

DIR holds `leftImg8bit/` and `gtFine/`, each with train/CITY/ and val/CITY/. The masks are `*_gtFine_labelIds.png`, whose 34
numbers become the 19 training classes of the benchmark, or `*_gtFine_labelTrainIds.png`, which store these. All other
numbers (ego vehicle, static, parking, caravan, license plate, ...) are ignored, as in the benchmark. The test part is left
out: its masks are not public, those in the archive hold nothing. There is no background: class 0 is the road.
"""

from pathlib import Path

from ..types import Splits
from .classes import ClassTable
from .colours import Colour
from .folder import FolderDataset, all_pairs
from .official import Source, identity, ignored, pair_folders, stem_without

CLASSES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
    *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
)
COLOURS: tuple[Colour, ...] = (
    *((128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153), (250, 170, 30)),
    *((220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142)),
    *((0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32)),
)

IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Number in `labelIds` masks of each class."""

FROM_IDS = {**ignored(range(34)), **{number: label for label, number in enumerate(IDS)}}
"""Number in `labelIds` masks → label. License plates, −1, are stored as 255."""

_BY_ID = "_gtFine_labelIds"

SOURCE = Source(
    title="Cityscapes",
    address="https://www.cityscapes-dataset.com/downloads/ (after registration)",
    download="leftImg8bit_trainvaltest.zip (about 11 GB) and gtFine_trainvaltest.zip (about 250 MB)",
    tree="    DIR/leftImg8bit/train/CITY/NAME_leftImg8bit.png            and so for val\n"
    "    DIR/gtFine/train/CITY/NAME_gtFine_labelIds.png             and so for val, or NAME_gtFine_labelTrainIds.png",
)


def open_cityscapes(root: Path) -> Splits:
    """Open train and val; the cities are entered one by one.

    Args:
        root: as the module says.

    Raises:
        DataError: folders are missing; or images without a mask or masks without an image, all named at once.
    """
    SOURCE.require(root, [f"{kind}/{part}" for kind in ("leftImg8bit", "gtFine") for part in ("train", "val")])
    found, tables = [], []
    for part in ("train", "val"):
        masks = root / "gtFine" / part
        by_id = any(path.stem.endswith(_BY_ID) for path in _in_cities(masks))
        found.append(
            pair_folders(
                root / "leftImg8bit" / part,
                masks,
                image_name=stem_without("_leftImg8bit"),
                mask_name=stem_without(_BY_ID if by_id else "_gtFine_labelTrainIds"),
                listing=_in_cities,
            )
        )
        tables.append(ClassTable(names=CLASSES, values=FROM_IDS if by_id else identity(len(CLASSES))))
    train, val = map(FolderDataset, all_pairs(found), tables)
    return Splits(train=train, val=val, test=None, background=False)


def _in_cities(folder: Path) -> list[Path]:
    # Archives packed on a Mac bring a hidden twin of every file.
    return sorted(path for path in folder.glob("*/*.png") if not path.name.startswith("."))
