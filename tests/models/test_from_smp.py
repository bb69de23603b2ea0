"""smp's architectures: each builds and takes any size and any channels; unknown names suggest a few."""

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor

from maskwright.errors import ConfigError
from maskwright.models import ModelConfig, Segmenter, build
from maskwright.models.from_smp import ARCHITECTURES

ENCODERS = {"dpt": "tu-test_vit"}
STRIDES = {"pspnet": 8, "deeplabv3": 8, "deeplabv3plus": 16, "pan": 16}


def picture(*size: int, channels: int = 3) -> Tensor:
    return torch.rand(1, channels, *size, generator=torch.Generator().manual_seed(0))


def built(architecture: str, channels: int = 3, **options: int) -> Segmenter:
    torch.manual_seed(0)
    name = f"smp:{architecture}/{ENCODERS.get(architecture.lower(), 'tu-lcnet_050')}"
    return build(ModelConfig(name=name, options=options), num_classes=4, in_channels=channels).eval()


def fault(config: ModelConfig | str) -> str:
    with pytest.raises(ConfigError) as caught:
        build(config, num_classes=2)
    return str(caught.value)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_takes_any_size_and_channels(architecture: str) -> None:
    segmenter = built(architecture, channels=5)
    assert segmenter.stride == STRIDES.get(architecture, 32)
    with torch.no_grad():
        for size in [(1, 1), (33, 70), (40, 136)]:
            logits = segmenter(picture(*size, channels=5))
            assert logits.shape == (1, 4, *size) and logits.isfinite().all()


@pytest.mark.parametrize("architecture", ["DeepLabV3Plus", "PAN", "DPT", "Segformer"])
def test_logits_are_the_library_s_own(architecture: str) -> None:
    segmenter = built(architecture)
    kind = getattr(smp, architecture)
    more = {"dynamic_img_size": True} if architecture == "DPT" else {}
    encoder = ENCODERS.get(architecture.lower(), "tu-lcnet_050")
    library = kind(encoder, encoder_weights=None, classes=4, **more).eval()
    library.load_state_dict(segmenter.net.state_dict())
    image = picture(128, 160)
    with torch.no_grad():
        expected = library((image - segmenter.mean) / segmenter.std)
        torch.testing.assert_close(segmenter(image), expected, rtol=1e-6, atol=1e-6)


def test_names_of_architectures_have_no_case() -> None:
    states = [built(name).state_dict() for name in ("UNET", "Unet", "unet")]
    assert all(states[0].keys() == state.keys() for state in states)
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_a_vision_transformer_takes_sizes_that_it_was_not_made_for() -> None:
    config = ModelConfig(name="smp:DPT/tu-vit_tiny_patch16_224")
    with torch.device("meta"):
        segmenter = build(config, num_classes=4).eval()
        assert segmenter(torch.zeros(1, 3, 100, 41)).shape == (1, 4, 100, 41)


def test_other_strides_of_the_encoder_are_kept() -> None:
    assert built("PAN", encoder_output_stride=32).smallest == 256
    segmenter = built("DeepLabV3", encoder_output_stride=16)
    assert segmenter.stride == 16
    with torch.no_grad():
        assert segmenter(picture(17, 40)).shape == (1, 4, 17, 40)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("smp:Unet/resnet17", ["resnet17", "resnet18"]),
        ("smp:Unet/efficientnet_b0", ["efficientnet-b0"]),
        ("smp:Unet/tu-convnext_tny", ["tu-convnext_tiny"]),
        ("smp:Unet/zzzz", ["zzzz", "nearest"]),
        ("smp:Umet/resnet18", ["Umet", "did you mean Unet", "DeepLabV3Plus"]),
        ("smp:DPT/resnet18", ["DPT", "tu-"]),
        ("smp:DPT/tu-vit_small_patch14_reg4_dinov2", ["14", "16"]),
        ("smp:DPT/tu-resnet18", ["dynamic_img_size"]),
    ],
)
def test_an_unknown_name_suggests_a_few(name: str, words: list[str]) -> None:
    with torch.device("meta"):
        message = fault(name)
    assert all(word in message for word in words), message
    assert len(message) < 400


def test_full_weights_are_not_smp_s() -> None:
    message = fault(ModelConfig(name="smp:Unet/resnet18", pretrained="full"))
    assert "full" in message and "imagenet-offline" in message and "hf:" in message
