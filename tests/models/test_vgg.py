"""VGG-16: torchvision's layers and numbers, whatever of it is dilated or thinned."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maskwright.errors import ConfigError
from maskwright.models import vgg
from maskwright.models.vgg import VGG16, load_stages, load_vgg16, load_vgg16_bn, vgg16_stages
from torchvision_states import laid_out, narrow_vgg16, serve


def holder(encoder: nn.Module) -> nn.Module:
    network = nn.Module()
    network.encoder = encoder
    return network


def parameters_of(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def image(channels: int = 3, side: int = 224) -> torch.Tensor:
    return torch.rand(1, channels, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("batch_norm", "name", "expected"),
    # Weights and biases of 3→64→64, 64→128→128, 128→256→256→256, 256→512→512→512, 512→512→512→512, 3×3:
    # 1,792 + 36,928, 73,856 + 147,584, 295,168 + 2·590,080, 1,180,160 + 2·2,359,808, 3·2,359,808;
    # batch norm adds two for each of 2·64 + 2·128 + 3·256 + 6·512 = 4,224 channels.
    [(False, "vgg16", 14_714_688), (True, "vgg16_bn", 14_714_688 + 2 * 4_224)],
)
def test_the_convolutions_are_those_of_torchvision(batch_norm: bool, name: str, expected: int) -> None:
    with torch.device("meta"):
        stages = vgg16_stages(3, batch_norm=batch_norm)
    assert parameters_of(stages) == expected
    ours = [(key.rpartition(".")[2], tuple(value.shape)) for key, value in stages.state_dict().items()]
    theirs = [
        (key.rpartition(".")[2], tuple(value.shape))
        for key, value in laid_out(name).items()
        if key.startswith("features.")
    ]
    assert ours == theirs


@pytest.mark.parametrize("batch_norm", [False, True])
def test_features_equal_those_of_torchvision_with_its_weights(batch_norm: bool) -> None:
    theirs = narrow_vgg16(4, 16, batch_norm=batch_norm)
    stages = vgg16_stages(3, width=4, batch_norm=batch_norm).eval()
    load_stages(stages, theirs.state_dict())
    x = image(side=64)
    with torch.no_grad():
        expected = theirs.features(x)
        for stage in stages:
            x = F.max_pool2d(stage(x), 2)
    torch.testing.assert_close(x, expected)


def test_fc7_equals_that_of_torchvision_in_the_middle_of_its_224_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = narrow_vgg16(4, 16)
    encoder = VGG16(3, width=4, fc_width=16).eval()
    serve(monkeypatch, vgg, {"vgg16": theirs.state_dict()})
    assert load_vgg16(holder(encoder)) == vgg.IMAGENET
    with torch.no_grad():
        expected = theirs.classifier[:5](theirs.features(image()).flatten(1))
        pools = encoder(image())
    assert [tuple(f.shape[1:]) for f in pools] == [
        (4, 112, 112),
        (8, 56, 56),
        (16, 28, 28),
        (32, 14, 14),
        (32, 7, 7),
        (16, 7, 7),
    ]
    torch.testing.assert_close(pools[-1][..., 3, 3], expected)


def test_the_published_weights_fit_the_published_widths(monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, vgg, {name: laid_out(name) for name in ("vgg16", "vgg16_bn")})
    with torch.device("meta"):
        # fc6: 7·7·512·4,096 + 4,096; fc7: 4,096² + 4,096.
        fcn = VGG16(3)
        assert parameters_of(fcn) == 14_714_688 + 102_764_544 + 16_781_312
        load_vgg16(holder(fcn))
        load_vgg16(holder(VGG16(3, fc_width=1024, fc_kernel=3, fc_dilation=12, output_stride=8)))
        load_vgg16_bn(holder(vgg16_stages(3, batch_norm=True)))


def test_a_smaller_fc6_takes_filters_and_taps_at_equal_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = narrow_vgg16(4, 16)
    for number, layer in enumerate((theirs.classifier[0], theirs.classifier[3])):
        # A weight says whence it is: filter, channel and, of fc6, row and column.
        shape = (16, 32, 7, 7) if number == 0 else (16, 16)
        axes = torch.meshgrid(*(torch.arange(float(side)) for side in shape), indexing="ij")
        layer.weight.data = sum(axis * 100**place for place, axis in enumerate(axes)).reshape(16, -1)
        layer.bias.data = torch.arange(16.0)
    encoder = VGG16(3, width=4, fc_width=4, fc_kernel=3)
    serve(monkeypatch, vgg, {"vgg16": theirs.state_dict()})
    load_vgg16(holder(encoder))
    filters = torch.tensor([0.0, 5.0, 10.0, 15.0])
    taps = torch.tensor([0.0, 3.0, 6.0])
    six, seven = encoder.fc6[0], encoder.fc7[0]
    assert torch.equal(six.bias, filters)
    assert torch.equal(six.weight[:, 0, 0, 0], filters)
    assert torch.equal(six.weight[0, :, 0, 0], 100 * torch.arange(32.0))
    assert torch.equal(six.weight[0, 0], 100**2 * taps[:, None] + 100**3 * taps)
    assert torch.equal(seven.weight[..., 0, 0], filters[:, None] + 100 * filters)


def test_weights_of_three_channels_serve_others() -> None:
    state = narrow_vgg16(4, 16).state_dict()
    rgb = state["features.0.weight"]
    for channels, expected in ((1, rgb.sum(1, keepdim=True)), (4, torch.cat((rgb, rgb[:, :1]), 1) * 3 / 4)):
        stages = vgg16_stages(channels, width=4)
        load_stages(stages, state)
        torch.testing.assert_close(stages[0][0][0].weight, expected)


@pytest.mark.parametrize(("width", "fc_width"), [(8, 16), (4, 17)])
def test_weights_that_do_not_fit_say_which_options_to_change(
    width: int, fc_width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch, vgg, {"vgg16": narrow_vgg16(4, 16).state_dict()})
    with pytest.raises(ConfigError) as caught:
        load_vgg16(holder(VGG16(3, width=width, fc_width=fc_width)))
    for part in ("width at 64", "fc_width at 4096", "model.pretrained to none"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("output_stride", "sides"), [(32, [16, 8, 4, 2, 1, 1]), (16, [16, 8, 4, 2, 2, 2]), (8, [16, 8, 4, 4, 4, 4])]
)
def test_the_last_poolings_keep_the_resolution(output_stride: int, sides: list[int]) -> None:
    encoder = VGG16(3, width=2, fc_width=4, output_stride=output_stride).eval()
    with torch.no_grad():
        assert [f.shape[-1] for f in encoder(image(side=32))] == sides
    # Dilation in features times their stride in pixels is what it is at stride 32: 1, 2, 4, 8, 16 pixels.
    strides = [1, *(32 // side for side in sides[:4])]
    dilations = [stage[0][0].dilation[0] for stage in encoder.stages]
    assert [a * b for a, b in zip(strides, dilations, strict=True)] == [1, 2, 4, 8, 16]


def test_random_weights_keep_the_size_of_values_over_all_layers() -> None:
    torch.manual_seed(0)
    encoder = VGG16(3, width=16, fc_width=128).eval()
    noise = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        *_, fc7 = encoder(noise)
    assert 0.3 < fc7.square().mean().sqrt() < 30


@pytest.mark.parametrize("options", [{"width": 0}, {"fc_width": 0}])
def test_widths_below_one_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be at least 1, got 0"):
        VGG16(3, **options)
