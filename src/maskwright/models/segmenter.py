"""The one interface of every model: an image in [0, 1] of any size goes in, logits of the same size come out."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..layers import pad_to_multiple, resize
from .weights import CENTRED, Normalisation


class Segmenter(nn.Module):
    """A network with its normalisation, which therefore travels with the checkpoint.

    Args:
        net: maps normalised images whose sides are multiples of `stride` to logits of the same size.
        stride: pixels; images of other sizes are edge-padded at the bottom and the right, the logits cropped.
        mean: subtracted from the image in [0, 1], per channel.
        std: what is left is divided by it, per channel.
        smallest: pixels, a multiple of `stride`; smaller sides are padded up to it.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, net: nn.Module, *, stride: int, mean: Sequence[float], std: Sequence[float], smallest: int = 0
    ) -> None:
        super().__init__()
        self.net = net
        self.stride = stride
        self.smallest = smallest
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    @property
    def in_channels(self) -> int:
        """Channels of the image."""
        return self.mean.shape[1]

    @classmethod
    def normalised(
        cls, net: nn.Module, normalisation: Normalisation, *, stride: int, in_channels: int, smallest: int = 0
    ) -> "Segmenter":
        """Wrap a network of any number of input channels: those beside red, green and blue are centred.

        Args:
            net: as in the constructor.
            normalisation: of red, green and blue; it holds for images of 3 channels or more.
            stride: as in the constructor.
            in_channels: channels of the image; the first three are red, green and blue where there are three or more.
            smallest: as in the constructor.
        """
        colours = 3 if in_channels >= 3 else 0
        mean, std = (
            (*known[:colours], *(other[0],) * (in_channels - colours))
            for known, other in zip(normalisation, CENTRED, strict=True)
        )
        return cls(net, stride=stride, mean=mean, std=std, smallest=smallest)

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Return logits, float, k = 1 for binary and one channel per class otherwise, at the size of `image`."""
        height, width = image.shape[-2:]
        return self.net(self.prepared(image))[..., :height, :width]

    def prepared(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c H W"]:
        """Normalise an image and pad it to a size that the network takes."""
        return pad_to_multiple((image - self.mean) / self.std, self.stride, smallest=self.smallest)

    def auxiliary(self) -> nn.Module | None:
        """Return the module of the network whose output is logits to be trained too, if it has one: see `HRNet`."""
        return getattr(self.net, "auxiliary", None)

    def at_image_size(self, logits: Float[Tensor, "n k _h _w"], size: Sequence[int]) -> Float[Tensor, "n k h w"]:
        """Bring logits made inside `net`, at a fraction of its padded input's size, to `size` = (height, width)."""
        height, width = size
        padded = resize(logits, [max(side + -side % self.stride, self.smallest) for side in size])
        return padded[..., :height, :width]
