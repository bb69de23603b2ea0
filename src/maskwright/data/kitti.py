"""KITTI (Geiger et al. 2012, CC BY-NC-SA 3.0): the semantic benchmark of 200 street scenes, or that of the road.

DIR is told by what stands in it:

- `training/image_2/`, `training/semantic/` (Alhaija et al. 2018): masks with the numbers of Cityscapes, which become its 19
  classes; there is no background, class 0 is the road;
- `training/image_2/`, `training/gt_image_2/*_road_*.png` (Fritsch et al. 2013): background and road. As in the devkit, a
  pixel counts where red is set, and is road where blue is set too; the rest is ignored. `*_lane_*` masks are left out.

Neither has an official validation part, so one is held out (`data.val_fraction`). The masks of the test part are not public.
"""

from pathlib import Path

from ..types import IGNORE_INDEX, Splits
from .cityscapes import CLASSES, FROM_IDS
from .classes import ClassTable
from .colours import Colour
from .folder import FolderDataset, all_pairs
from .official import ColourReader, Source, pair_folders

ROAD_CLASSES = ("background", "road")

_ROAD_COLOURS: dict[Colour, int] = {
    (255, 0, 0): 0,
    (255, 0, 255): 1,
    (0, 0, 0): IGNORE_INDEX,
    (0, 0, 255): IGNORE_INDEX,
}

SOURCE = Source(
    title="KITTI",
    address="https://www.cvlibs.net/datasets/kitti/eval_semseg.php?benchmark=semantics2015 (or eval_road.php)",
    download="data_semantics.zip (about 300 MB), or data_road.zip (about 500 MB)",
    tree="    DIR/training/image_2/NAME.png  training/semantic/NAME.png                      semantics, or\n"
    "    DIR/training/image_2/um_000000.png  training/gt_image_2/um_road_000000.png     road",
)


def open_kitti(root: Path) -> Splits:
    """Open the training part of the semantic benchmark, or of the road benchmark.

    Args:
        root: as the module says.

    Raises:
        DataError: folders are missing, or files without their counterpart, all named at once.
    """
    images, semantic, road = "training/image_2", "training/semantic", "training/gt_image_2"
    if SOURCE.require_any(root, [(images, semantic), (images, road)]) == 0:
        (pairs,) = all_pairs([pair_folders(root / images, root / semantic)])
        table = ClassTable(names=CLASSES, values=FROM_IDS)
        return Splits(train=FolderDataset(pairs, table), val=None, test=None, background=False)
    return Splits(train=_road(root / images, root / road), val=None, test=None)


def _road(images: Path, masks: Path) -> FolderDataset:
    (pairs,) = all_pairs([pair_folders(images, masks, mask_name=_name_of_road)])
    table = ClassTable(names=ROAD_CLASSES, values=dict(enumerate(_ROAD_COLOURS.values())))
    return FolderDataset(pairs, table, read=ColourReader(tuple(_ROAD_COLOURS)))


def _name_of_road(path: Path) -> str | None:
    return path.stem.replace("_road_", "_") if "_road_" in path.stem else None
