"""ADE20K scene parsing (Zhou et al. 2017; masks BSD-3, pictures for research): 150 classes, 20,210 and 2,000 pictures.

DIR is `ADEChallengeData2016/` or what holds it: `images/training/`, `annotations/training/`, and so for validation. The
masks store 1..150, which become the labels 0..149, and 0 for everything else, which the benchmark does not score: it is
ignored. The names are the first ones of `objectInfo150.txt`, read from DIR where it is there. There is no background: class
0 is the wall. The masks of the test part are not public.
"""

from pathlib import Path

from ..errors import DataError
from ..types import IGNORE_INDEX, Splits
from .classes import ClassTable
from .colours import Colour
from .folder import FolderDataset, all_pairs, read_list
from .official import Source, first_with, pair_folders

CLASSES = (
    *("wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane", "grass", "cabinet"),
    *("sidewalk", "person", "earth", "door", "table", "mountain", "plant", "curtain", "chair", "car", "water"),
    *("painting", "sofa", "shelf", "house", "sea", "mirror", "rug", "field", "armchair", "seat", "fence", "desk"),
    *("rock", "wardrobe", "lamp", "bathtub", "railing", "cushion", "base", "box", "column", "signboard"),
    *("chest of drawers", "counter", "sand", "sink", "skyscraper", "fireplace", "refrigerator", "grandstand"),
    *("path", "stairs", "runway", "case", "pool table", "pillow", "screen door", "stairway", "river", "bridge"),
    *("bookcase", "blind", "coffee table", "toilet", "flower", "book", "hill", "bench", "countertop", "stove"),
    *("palm", "kitchen island", "computer", "swivel chair", "boat", "bar", "arcade machine", "hovel", "bus"),
    *("towel", "light", "truck", "tower", "chandelier", "awning", "streetlight", "booth", "television", "airplane"),
    *("dirt track", "apparel", "pole", "land", "bannister", "escalator", "ottoman", "bottle", "buffet", "poster"),
    *("stage", "van", "ship", "fountain", "conveyer belt", "canopy", "washer", "plaything", "swimming pool"),
    *("stool", "barrel", "basket", "waterfall", "tent", "bag", "minibike", "cradle", "oven", "ball", "food"),
    *("step", "tank", "trade name", "microwave", "pot", "animal", "bicycle", "lake", "dishwasher", "screen"),
    *("blanket", "sculpture", "hood", "sconce", "vase", "traffic light", "tray", "ashcan", "fan", "pier"),
    *("crt screen", "plate", "monitor", "bulletin board", "shower", "radiator", "glass", "clock", "flag"),
)

_COLOURS = (
    "787878b4787806e6e650323204c8037878508c8c8ccc05ffe6e6e604fa07e005ffebff0796053d78784608ff33ff06528fff8cccff04"
    "ff3307cc46030066c83de6faff06330b66ffff0747ff09e00907e6dcdcdcff095c7009ff08ffd607ffe0ffb8060aff47ff290a07ffff"
    "e0ff086608ffff3d06ffc207ff7a0800ff14ff0829ff05990633ffeb0cffa0961400a3ff8c8c8cfa0a0f14ff001fff00ff1f00ffe000"
    "99ff000000ffff470000ebff00adff1f00ff0bc8c8ff520000fff5003dff00ff7000ff85ff0000ffa300ff6600c2ff00008fff33ff00"
    "0052ff00ff2900ffad0a00ffadff0000ff99ff5c00ff00ffff00f5ff0066ffad00ff0014ffb8b8001fff00ff3d0047ffff00cc00ffc2"
    "00ff52000aff0070ff3300ff00c2ff007aff00ffa3ff990000ff0aff70008fff005200ffa3ff00ffeb0008b8aa8500ff00ff5cb800ff"
    "ff001f00b8ff00d6ffff00705cff0000e0ff70e0ff46b8a0a300ff9900ff47ff00ff00a3ffcc00ff008f00ffeb85ff00ff00ebf500ff"
    "ff007afff5000abed4d6ff0000ccff1400ffffff000099ff0029ff00ffcc2900ff29ff00ad00ff00f5ff4700ff7a00ff00ffb8005cff"
    "b8ff000085ffffd60019c2c266ff005c00ff"
)

COLOURS: tuple[Colour, ...] = tuple(
    (red, green, blue) for red, green, blue in zip(*(iter(bytes.fromhex("".join(_COLOURS))),) * 3, strict=True)
)
"""Those of the benchmark's `color150.mat`."""

_INFO = "objectInfo150.txt"

SOURCE = Source(
    title="ADE20K (SceneParse150)",
    address="http://sceneparsing.csail.mit.edu/",
    download="ADEChallengeData2016.zip (about 1 GB)",
    tree="    DIR/ or DIR/ADEChallengeData2016/\n"
    "        images/training/NAME.jpg  annotations/training/NAME.png     and so for validation\n"
    "        objectInfo150.txt    names of the classes, as wanted",
)


def open_ade20k(root: Path) -> Splits:
    """Open training, and validation as the validation part.

    Args:
        root: as the module says.

    Raises:
        DataError: folders are missing; files without their counterpart, all named at once; or an unusable list of names.
    """
    root = first_with((root, root / "ADEChallengeData2016"), "annotations")
    SOURCE.require(
        root, [f"{kind}/{part}" for kind in ("images", "annotations") for part in ("training", "validation")]
    )
    values = {0: IGNORE_INDEX, **{label + 1: label for label in range(len(CLASSES))}}
    table = ClassTable(names=_names(root / _INFO), values=values)
    found = [pair_folders(root / "images" / part, root / "annotations" / part) for part in ("training", "validation")]
    train, val = (FolderDataset(pairs, table) for pairs in all_pairs(found))
    return Splits(train=train, val=val, test=None, background=False)


def _names(path: Path) -> tuple[str, ...]:
    """Read the last column of the official table, behind its heading; without the table, the names known here."""
    if not path.exists():
        return CLASSES
    rows = [line.split("\t") for line in read_list(path)[1:]]
    numbers = [row[0].strip() for row in rows]
    if numbers != [str(number) for number in range(1, len(CLASSES) + 1)] or any(len(row) < 5 for row in rows):
        raise DataError(f"{path} is not the official table of 150 classes; take it anew, or remove it")
    return tuple(row[4].partition(",")[0].strip() for row in rows)
