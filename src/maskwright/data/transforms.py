"""Resizing and augmentation, image and label map together, by torchvision.transforms.v2.

Images are resized bilinearly with antialiasing, label maps by nearest neighbour, sparse ones so that thin lines survive.
What an augmentation brings in from outside the image is black, and ignored in the label map.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import UInt8
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from ..errors import ConfigError
from ..types import IGNORE_INDEX

FILL: dict[type, int] = {tv_tensors.Image: 0, tv_tensors.Mask: IGNORE_INDEX}


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Random changes of the training images; 0 or false leaves one out.

    Args:
        horizontal_flip: mirror left and right, half of the time.
        vertical_flip: mirror up and down, half of the time.
        rotation: up to so many degrees either way.
        shift: up to so large a share of the side, either way, in each direction.
        scale: size changed by a factor in [1 − scale, 1 + scale].
        shear: up to so many degrees either way.
        elastic: strength of a smooth random deformation, half of the time (Simard et al. 2003; torchvision's `alpha`
            with sigma 5: 50 moves a pixel of a 64×64 image by about one pixel).
        color: brightness, contrast and saturation changed by a factor in [1 − color, 1 + color].
        paste: probability that the labelled objects of another training image, itself augmented, are pasted on top
            (copy-paste, Ghiasi et al. 2021): more objects per image, and more that overlap.
        crop: random square of so many pixels, after the other geometric changes.
        interpolation: of the image in rotation, scale, shear and elastic deformation; `nearest` where the label is a
            function of the pixel's own value, as with digits, so image and label keep moving together.
    """

    horizontal_flip: bool = False
    vertical_flip: bool = False
    rotation: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    elastic: float = 0.0
    color: float = 0.0
    paste: float = 0.0
    crop: int = 0
    interpolation: Literal["bilinear", "nearest"] = "bilinear"

    def __post_init__(self) -> None:
        for name, upper in {"rotation": 180, "shift": 1, "scale": 0.99, "shear": 89, "color": 1, "paste": 1}.items():
            if not 0 <= getattr(self, name) <= upper:
                raise ConfigError(f"data.augment.{name} must be between 0 and {upper}, got {getattr(self, name)}")
        if self.interpolation not in ("bilinear", "nearest"):
            raise ConfigError(f"data.augment.interpolation must be bilinear or nearest, got {self.interpolation!r}")
        for name in ("elastic", "crop"):
            if getattr(self, name) < 0:
                raise ConfigError(f"data.augment.{name} must be at least 0, got {getattr(self, name)}")


class OfColours(v2.Transform):
    """Apply a transform of colours to red, green and blue, the first three channels; others stay as they are.

    Args:
        transform: of RGB images.
    """

    _transformed_types = (tv_tensors.Image,)

    def __init__(self, transform: v2.Transform) -> None:
        super().__init__()
        self.colours = transform

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Return the changed image; torchvision calls it for every image of a sample."""
        changed: Tensor = self.colours(inpt[..., :3, :, :])
        return tv_tensors.Image(torch.cat((changed, inpt[..., 3:, :, :]), dim=-3))


def resize_pair(
    image: Tensor, target: Tensor | None, size: int, *, sparse: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Stretch image (bilinear, antialiased) and label map to a square of `size` pixels; 0 keeps them.

    The label map is resized to the nearest pixels' labels or, where it is `sparse`, by `resize_sparse`.
    """
    if size == 0 or image.shape[-2:] == (size, size):
        return image, target
    resized: Tensor = v2.functional.resize(tv_tensors.Image(image), [size, size], antialias=True)
    if target is not None and sparse:
        target = resize_sparse(target, size)
    elif target is not None:
        # torchvision's own choice for masks, "nearest", takes each output pixel's corner and so shifts the labels.
        nearest = v2.InterpolationMode.NEAREST_EXACT
        target = v2.functional.resize_image(target[None], [size, size], interpolation=nearest)[0]
    return resized.as_subclass(Tensor), target


def resize_sparse(target: UInt8[Tensor, "h w"], size: int) -> UInt8[Tensor, "s s"]:
    """Stretch a label map of few labelled pixels to a square of `size` pixels, such that none of them gets lost.

    A pixel of the result has the label of those pixels whose middle lies in it, and is ignored where these disagree; where
    it holds none that is labelled, it has that of the nearest pixel, which makes a difference in enlargements alone.
    """
    nearest = v2.InterpolationMode.NEAREST_EXACT
    resized: Tensor = v2.functional.resize_image(target[None], [size, size], interpolation=nearest)[0].flatten()
    rows, columns = torch.nonzero(target != IGNORE_INDEX, as_tuple=True)
    height, width = target.shape
    # The middle of pixel i is at (i + ½) / height of the side.
    cells = (2 * rows + 1) * size // (2 * height) * size + (2 * columns + 1) * size // (2 * width)
    labels = target[rows, columns]
    lowest = torch.full_like(resized, 255).scatter_reduce_(0, cells, labels, "amin")
    highest = torch.zeros_like(resized).scatter_reduce_(0, cells, labels, "amax")
    resized[cells] = torch.where(lowest == highest, lowest, IGNORE_INDEX)[cells]
    return resized.reshape(size, size)


def build_augmentation(config: AugmentConfig) -> v2.Transform | None:
    """Return the joint transform of (tv_tensors.Image, tv_tensors.Mask), or None where nothing is to be done."""
    steps: list[v2.Transform] = []
    interpolation = v2.InterpolationMode(config.interpolation)
    if config.horizontal_flip:
        steps.append(v2.RandomHorizontalFlip())
    if config.vertical_flip:
        steps.append(v2.RandomVerticalFlip())
    if config.rotation or config.shift or config.scale or config.shear:
        steps.append(
            v2.RandomAffine(
                degrees=config.rotation,
                translate=(config.shift, config.shift) if config.shift else None,
                scale=(1 - config.scale, 1 + config.scale) if config.scale else None,
                shear=config.shear or None,
                interpolation=interpolation,
                fill=FILL,
            )
        )
    if config.elastic:
        elastic = v2.ElasticTransform(alpha=config.elastic, sigma=5.0, interpolation=interpolation, fill=FILL)
        steps.append(v2.RandomApply([elastic], p=0.5))
    if config.crop:
        steps.append(v2.RandomCrop(config.crop, pad_if_needed=True, fill=FILL))
    if config.color:
        jitter = v2.ColorJitter(brightness=config.color, contrast=config.color, saturation=config.color)
        steps.append(OfColours(jitter))
    return v2.Compose(steps) if steps else None


def paste_objects(image: Tensor, target: Tensor, other: Tensor, other_target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pair with every object pixel of the other pair (neither background nor ignored) laid on top.

    Args:
        image: uint8 (3, H, W).
        target: uint8 (H, W), or int32 (2, H, W): labels, and numbers of objects, to which those of the other are added.
        other: an image of the same size.
        other_target: its target.
    """
    labels = other_target if other_target.ndim == 2 else other_target[0]
    objects = (labels != 0) & (labels != IGNORE_INDEX)
    if target.ndim == 3:
        other_target = torch.stack((labels, other_target[1] + target[1].max()))
    return torch.where(objects, other, image), torch.where(objects, other_target, target)


def augment(transform: v2.Transform, image: Tensor, target: Tensor, *, seed: int) -> tuple[Tensor, Tensor]:
    """Apply `transform` with randomness that depends on `seed` alone; torch's global state is left as it was.

    Args:
        transform: from `build_augmentation`.
        image: uint8 (3, H, W).
        target: uint8 (H, W), or int32 (2, H, W), both of which move with the image.
        seed: any 64-bit integer.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        changed, mask = transform(tv_tensors.Image(image), tv_tensors.Mask(target[None]))
    return changed.as_subclass(Tensor), mask[0].as_subclass(Tensor)
