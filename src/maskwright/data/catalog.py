"""From `data.name`, such as `folder:DIR`, to the data set cut into its parts."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ConfigError, DataError
from ..types import Splits
from . import ade20k, camvid, cityscapes, voc
from .coco import open_coco
from .coco_stuff import open_coco_stuff
from .colours import Colour
from .digits import open_digits
from .folder import open_folder
from .kitti import open_kitti
from .multidigit import open_multidigit
from .nuclei import open_nuclei
from .pets import Border, open_pets
from .splits import hold_out
from .transforms import AugmentConfig
from .weak import parse_labels, require_background, with_weak_labels


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which pictures, at which size.

    Args:
        name: `folder:DIR`, `pets` or `pets:DIR`, `digits`, `multidigit:FILE.npz`, `camvid:DIR`, `voc:DIR`, `cityscapes:DIR`,
            `ade20k:DIR`, `coco_stuff:DIR`, `kitti:DIR`, `nuclei:DIR`, or `coco:FILE.json` of any annotations in COCO's
            format, with `,images=DIR`, `,val=FILE.json` and others behind it (see docs/datasets.md).
        size: side in pixels of the square that images are stretched to for the network; 0 keeps their own size.
            Scores are always taken at the image's own size.
        val_fraction: share of the training part that is held out for validation where the data has no such part;
            0 holds out nothing, and the last weights are kept instead of the best.
        split_seed: of that choice.
        channels: `folder` only: channels of the images, 3 for RGB; any other number reads files of so many channels as they
            are stored, such as RGB and depth; of three or more, the first are red, green and blue.
        border: `pets` only: border pixels count as `pet`, or are `ignore`d.
        contour: `nuclei` only: so many pixels inside the outline of each nucleus become a class `border` of their own,
            which tells nuclei apart that touch; 0 has no such class.
        scenes: `digits` only: number of training scenes; validation and test get a quarter each.
        augment: random changes of the training images.
        labels: weak labels of the training images, which take the place of their masks: `scribble:DIR`, `points:DIR` or
            `boxes:DIR`. Validation and test keep the masks.
    """

    name: str = ""
    size: int = 0
    val_fraction: float = 0.1
    split_seed: int = 0
    channels: int = 3
    border: Border = "pet"
    contour: int = 0
    scenes: int = 1600
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    labels: str = ""

    def __post_init__(self) -> None:
        for name in ("size", "split_seed", "contour"):
            if getattr(self, name) < 0:
                raise ConfigError(f"data.{name} must be at least 0, got {getattr(self, name)}")
        if self.contour and self.name.partition(":")[0] != "nuclei":
            raise ConfigError(
                f"data.contour is {self.contour}, but {self.name!r} tells no objects apart; use nuclei:DIR"
            )
        if not 0 <= self.val_fraction < 1:
            raise ConfigError(f"data.val_fraction must be in [0, 1), got {self.val_fraction}")
        if self.border not in ("pet", "ignore"):
            raise ConfigError(f"data.border must be pet or ignore, got {self.border!r}")
        if self.channels < 1:
            raise ConfigError(f"data.channels must be at least 1, got {self.channels}")
        if self.channels != 3 and self.name.partition(":")[0] != "folder":
            raise ConfigError(
                f"data.channels is {self.channels}, but the images of {self.name!r} have 3; only folder: differs"
            )
        if self.channels < 3 and self.augment.color:
            raise ConfigError(f"data.augment.color changes RGB, but data.channels is {self.channels}; leave it at 0")
        if self.scenes < 4:
            raise ConfigError(f"data.scenes must be at least 4, got {self.scenes}")
        if self.labels:
            parse_labels(self.labels)
            if self.augment.paste > 0:
                raise ConfigError(
                    f"data.augment.paste is {self.augment.paste} beside weak labels (data.labels), which do not show where "
                    "an object ends; expected 0"
                )

    def scaled(self, scale: int) -> "DataConfig":
        """Return the same pictures at `scale` times the size, with what the augmentation counts in pixels.

        Raises:
            ConfigError: the pictures keep their own size, of which there is no multiple.
        """
        if scale == 1:
            return self
        if self.size == 0:
            raise ConfigError(f"scale is {scale}, but data.size is 0: the images keep their own size; leave scale at 1")
        augment = dataclasses.replace(
            self.augment, crop=self.augment.crop * scale, elastic=self.augment.elastic * scale
        )
        return dataclasses.replace(self, size=self.size * scale, augment=augment)


def _need_path(config: DataConfig, path: str) -> Path:
    if not path:
        raise ConfigError(f"data.name {config.name!r} lacks a path; write it as {config.name.rstrip(':')}:PATH")
    return Path(path).expanduser()


def _open_digits(config: DataConfig, path: str) -> Splits:
    if path:
        raise ConfigError(f"data.name {config.name!r}: digits takes no path; it is made from an installed package")
    quarter = max(config.scenes // 4, 1)
    return open_digits(train=config.scenes, val=quarter, test=quarter, seed=config.split_seed)


DATASETS: dict[str, Callable[[DataConfig, str], Splits]] = {
    "folder": lambda config, path: open_folder(
        _need_path(config, path), channels=config.channels, train_masks=not config.labels
    ),
    "pets": lambda config, path: open_pets(Path(path).expanduser() if path else None, border=config.border),
    "digits": _open_digits,
    "multidigit": lambda config, path: open_multidigit(_need_path(config, path)),
    "camvid": lambda config, path: camvid.open_camvid(_need_path(config, path)),
    "voc": lambda config, path: voc.open_voc(_need_path(config, path)),
    "cityscapes": lambda config, path: cityscapes.open_cityscapes(_need_path(config, path)),
    "ade20k": lambda config, path: ade20k.open_ade20k(_need_path(config, path)),
    "coco_stuff": lambda config, path: open_coco_stuff(_need_path(config, path)),
    "kitti": lambda config, path: open_kitti(_need_path(config, path)),
    "coco": lambda config, path: open_coco(str(_need_path(config, path))),
    "nuclei": lambda config, path: open_nuclei(_need_path(config, path), contour=config.contour),
}

COLOURS: dict[str, tuple[Colour, ...]] = {
    "camvid": camvid.COLOURS,
    "voc": voc.COLOURS,
    "cityscapes": cityscapes.COLOURS,
    "ade20k": ade20k.COLOURS,
    "kitti": cityscapes.COLOURS,
}
"""The official colours of the classes, where a data set has some."""


def open_data(config: DataConfig) -> Splits:
    """Open the data set, and hold out a validation part where it has none.

    Raises:
        ConfigError: unknown name.
        DataError: the files are not as the data set's layout says.
    """
    kind, _, path = config.name.partition(":")
    if kind not in DATASETS:
        raise ConfigError(
            f"unknown data set {config.name!r}; expected folder:DIR, pets[:DIR], digits, multidigit:FILE.npz, camvid:DIR, "
            "voc:DIR, cityscapes:DIR, ade20k:DIR, coco_stuff:DIR, kitti:DIR, nuclei:DIR or coco:FILE.json (option --data)"
        )
    splits = DATASETS[kind](config, path)
    if not splits.background:
        _require_no_background(config, splits)
    if splits.val is None and config.val_fraction > 0:
        train, val = hold_out(splits.train, config.val_fraction, seed=config.split_seed)
        splits = dataclasses.replace(splits, train=train, val=val)
    return splits


def official_colours(config: DataConfig, num_classes: int) -> tuple[Colour, ...]:
    """Return the official colours of these classes, RGB by label; empty where the data set has none for so many."""
    colours = COLOURS.get(config.name.partition(":")[0], ())
    return colours if len(colours) == num_classes else ()


def _require_no_background(config: DataConfig, splits: Splits) -> None:
    """Refuse what takes class 0 for the background where it is a class like the others."""
    if config.augment.paste:
        raise ConfigError(
            f"data.augment.paste is {config.augment.paste}, but {config.name.partition(':')[0]} has no background to cut "
            "objects out of; set it to 0"
        )
    if len(splits.classes) < 3:
        raise DataError(
            f"{config.name} has the classes {list(splits.classes)} and no background; two classes are scored as background "
            "and object, so at least 3 are needed"
        )


def open_training_data(config: DataConfig) -> Splits:
    """Open the data set for training: as `open_data`, with the weak labels of `config.labels` in the training part.

    Raises:
        ConfigError, DataError: as `open_data` and `with_weak_labels`.
    """
    splits = open_data(config)
    if not config.labels:
        return splits
    require_background(config.labels, splits)
    return dataclasses.replace(splits, train=with_weak_labels(splits.train, config.labels))
