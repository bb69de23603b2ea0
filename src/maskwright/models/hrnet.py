"""HRNet for segmentation, Sun et al. 2019 and Wang et al. 2020 (HRNetV2), optionally with OCR (Yuan et al. 2020).

The encoder is timm's: four branches of strides 4 to 32 that exchange features all along. Their features are upsampled
to stride 4 and concatenated; the head classifies them after one 1×1 convolution (HRNetV2), or through object-contextual
representations (see `ocr`). Departs from the papers in: bilinear upsampling with `align_corners=False`; no
bias before batch normalisation.
With 19 classes, HRNetV2-W48 has 65.9 million parameters, with OCR 70.4 million, HRNetV2-W18 9.6 million.
"""

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..layers import ConvNormAct, resize
from . import weights
from .ocr import REGION_LOSS_WEIGHT, OCRHead
from .weights import Normalisation


class HRNetV2Head(nn.Sequential):
    """1×1 convolution, batch normalisation, ReLU, 1×1 classifier."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(ConvNormAct(in_channels, in_channels, kernel_size=1), nn.Conv2d(in_channels, out_channels, 1))


HEADS = {"hrnetv2": HRNetV2Head, "ocr": OCRHead}


class HRNet(nn.Module):
    """High-resolution network.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits; 1 means binary.
        encoder: timm's name of it, such as "hrnet_w18", "hrnet_w32" or "hrnet_w48".
        head: "hrnetv2" or "ocr".

    Attributes:
        auxiliary_weight: of the loss of the logits that `auxiliary` makes.

    Raises:
        ValueError: an encoder that is no HRNet of timm; another head.
    """

    stride = 32
    auxiliary_weight = REGION_LOSS_WEIGHT

    def __init__(
        self, in_channels: int = 3, out_channels: int = 1, *, encoder: str = "hrnet_w48", head: str = "hrnetv2"
    ) -> None:
        super().__init__()
        if encoder not in (known := timm.list_models("hrnet_*")):
            raise ValueError(f"encoder must be one of {', '.join(known)}; got {encoder!r}")
        if head not in HEADS:
            raise ValueError(f"head must be one of {', '.join(HEADS)}; got {head!r}")
        self.encoder_name = encoder
        # Without feature_location timm appends the bottlenecks of its classifier to the branches.
        self.encoder = timm.create_model(
            encoder, features_only=True, feature_location="", out_indices=(1, 2, 3, 4), in_chans=in_channels
        )
        self.head = HEADS[head](sum(self.encoder.feature_info.channels()), out_channels)

    @property
    def auxiliary(self) -> nn.Module | None:
        """The module whose output is logits at a quarter of the size, to be trained too; none without OCR."""
        return self.head.region_logits if isinstance(self.head, OCRHead) else None

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Return logits at the size of `image`, whose sides are multiples of 32."""
        branches = self.encoder(image)
        features = torch.cat([resize(branch, branches[0].shape[-2:]) for branch in branches], dim=1)
        return resize(self.head(features), image.shape[-2:])


def load_imagenet(net: nn.Module) -> Normalisation:
    """Load ImageNet weights from a hub into the encoder, as `weights.load_hub`."""
    assert isinstance(net, HRNet)
    return weights.load_hub(net.encoder, net.encoder_name)
