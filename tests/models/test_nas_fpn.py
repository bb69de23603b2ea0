"""NAS-FPN: the published wiring, merges against the formulas, the papers' sizes, weights."""

import importlib.util
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskwright.errors import ConfigError
from maskwright.models import ModelConfig, build, weights
from maskwright.models.nas_fpn import CELL, NasFPN, NasFPNCell, coarser, finer, gate
from networks import multiply_adds_of, no_hub, parameters_of, pretend_hub, unallocated

OFFLINE = "tf_efficientnet_lite0"
OFFLINE_FOUND = importlib.util.find_spec(weights.OFFLINE_PACKAGES[OFFLINE])


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_the_cell_is_the_published_one() -> None:
    # Nodes by number, as the authors list them: 0 to 4 are P3 to P7, then one per merge.
    number = {name: i for i, name in enumerate(["P3", "P4", "P5", "P6", "P7", *(merge.output for merge in CELL)])}
    assert [(m.level, m.operation, tuple(sorted(number[name] for name in m.inputs))) for m in CELL] == [
        (4, "gate", (1, 3)),
        (4, "sum", (1, 5)),
        (3, "sum", (0, 6)),
        (4, "sum", (6, 7)),
        (5, "gate", (7, 8)),
        (7, "gate", (6, 9)),
        (6, "gate", (9, 10)),
    ]


def test_what_no_merge_reads_is_added_to_the_output_of_its_level() -> None:
    read = {name for merge in CELL for name in merge.inputs}
    unread = {f"P{level}" for level in range(3, 8)} - read
    assert unread == {"P5", "P7"}
    assert {merge.unread: merge.output for merge in CELL if merge.unread} == {"P5": "P5″", "P7": "P7″"}


def test_the_coarser_feature_gates_the_finer_one() -> None:
    levels = {f"P{level}": level for level in range(3, 8)} | {merge.output: merge.level for merge in CELL}
    for merge in CELL:
        if merge.operation == "gate":
            coarse, fine = merge.inputs
            assert levels[coarse] > levels[fine], merge
    coarse, fine = random(2, 3, 4, 4), random(2, 3, 4, 4)
    largest = coarse.reshape(2, 3, 16).max(-1).values
    for n in range(2):
        for c in range(3):
            expected = coarse[n, c] + fine[n, c] / (1 + (-largest[n, c]).exp())
            torch.testing.assert_close(gate(coarse, fine)[n, c], expected)


def test_a_cell_computes_the_merges_one_after_the_other() -> None:
    # Written out with every convolution the identity, on sides that need no cutting.
    cell = NasFPNCell(2, separable=False)
    cell.convs = nn.ModuleList(nn.Identity() for _ in CELL)
    p = {level: random(1, 2, 2 ** (8 - level), 2 ** (9 - level)) for level in range(3, 8)}

    def up(x: Tensor, times: int) -> Tensor:
        return x.repeat_interleave(2**times, 2).repeat_interleave(2**times, 3)

    def down(x: Tensor, times: int) -> Tensor:
        return F.max_pool2d(x, 2**times)

    def gated(high: Tensor, low: Tensor) -> Tensor:
        return high + torch.sigmoid(high.flatten(2).max(-1).values)[..., None, None] * low

    a = gated(up(p[6], 2), p[4])
    b = a + p[4]
    p3 = up(b, 1) + p[3]
    p4 = down(p3, 1) + b
    p5 = gated(down(p4, 1), down(p3, 2)) + p[5]
    p7 = gated(down(p5, 2), down(b, 3)) + p[7]
    p6 = gated(up(p7, 1), down(p5, 1))
    result = cell(p)
    assert list(result) == [3, 4, 5, 6, 7]
    for level, expected in zip(range(3, 8), (p3, p4, p5, p6, p7), strict=True):
        torch.testing.assert_close(result[level], expected)


@pytest.mark.parametrize("separable", [False, True])
def test_a_merge_ends_with_relu_convolution_and_normalisation(separable: bool) -> None:
    kinds = [nn.ReLU, *[nn.Conv2d] * (2 if separable else 1), nn.BatchNorm2d]
    for conv in NasFPNCell(4, separable=separable).convs:
        assert [type(layer) for layer in conv] == kinds


@pytest.mark.parametrize("levels", [0, 1, 2, 3])
def test_coarser_and_finer_keep_the_top_left_corners_aligned(levels: int) -> None:
    x = random(1, 1, 7, 10)
    block = 2**levels
    pooled = coarser(x, levels)
    assert pooled.shape[-2:] == (-(-7 // block), -(-10 // block))
    for i, j in ((0, 0), (pooled.shape[2] - 1, pooled.shape[3] - 1)):
        assert pooled[0, 0, i, j] == x[0, 0, i * block : (i + 1) * block, j * block : (j + 1) * block].max()
    back = finer(pooled, levels, (7, 10), mode="nearest")
    rows, columns = torch.arange(7) // block, torch.arange(10) // block
    assert torch.equal(back, pooled[..., rows[:, None], columns])


def test_pooling_twice_is_pooling_at_once() -> None:
    x = random(1, 2, 13, 9)
    assert torch.equal(coarser(coarser(x, 1), 1), coarser(x, 2))


@pytest.mark.parametrize(
    ("encoder", "millions", "billions"), [("tf_efficientnet_b7", 71, 60), ("tf_efficientnet_l2", 485, 229)]
)
def test_sizes_are_those_of_the_authors(encoder: str, millions: float, billions: float) -> None:
    # Their list of checkpoints: 21 classes, 512×512 pixels; it counts the encoder's classifier, not built here.
    network = unallocated(lambda: NasFPN(3, 21, encoder=encoder))
    classifier = parameters_of(unallocated(lambda: timm.create_model(encoder))) - parameters_of(network.encoder)
    assert parameters_of(network) + classifier == pytest.approx(millions * 1e6, rel=0.0101)
    assert multiply_adds_of(network, 512, 512) == pytest.approx(billions * 1e9, rel=0.015)


def test_the_pyramid_of_full_convolutions_has_the_published_size() -> None:
    # R50-NAS-FPN of the authors' list, 256 channels and seven cells: 60.3 million with the two heads of RetinaNet, nine
    # anchors, 90 classes and background.
    network = unallocated(lambda: NasFPN(3, 21, encoder="resnet50", separable=False))
    towers = 2 * 4 * (256 * 256 * 9 + 256)
    predictions = 9 * (91 + 4) * (256 * 9 + 1)
    pyramid = parameters_of(network) - parameters_of(network.head)
    assert pyramid + towers + predictions == pytest.approx(60.3e6, rel=0.005)


def test_levels_have_strides_8_to_128_and_are_fused_at_stride_4() -> None:
    network = NasFPN(3, 4, cells=2, width=8).eval()
    seen: list[dict[int, Tensor]] = []
    fused: list[Tensor] = []
    network.cells[-1].register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    network.head.register_forward_pre_hook(lambda _module, inputs: fused.append(inputs[0]))
    with torch.no_grad():
        logits = network(torch.rand(1, 3, 256, 128))
    assert {level: tuple(x.shape[-2:]) for level, x in seen[0].items()} == {
        level: (256 // 2**level, 128 // 2**level) for level in range(3, 8)
    }
    assert fused[0].shape == (1, 8, 64, 32)
    expected = sum(F.interpolate(x, (64, 32), mode="bilinear", align_corners=False) for x in seen[0].values())
    torch.testing.assert_close(fused[0], expected)
    assert logits.shape == (1, 4, 256, 128)
    assert network.stride == 32


def test_cells_are_stacked() -> None:
    three = unallocated(lambda: NasFPN(cells=3, width=16))
    one = unallocated(lambda: NasFPN(cells=1, width=16))
    assert len(three.cells) == 3
    assert parameters_of(three) - parameters_of(one) == 2 * 7 * (16 * 9 + 16 * 16 + 2 * 16)


def test_other_encoders_of_timm_serve() -> None:
    network = unallocated(lambda: NasFPN(encoder="lcnet_050", cells=1, width=16))
    assert network(torch.empty(1, 3, 32, 64, device="meta")).shape == (1, 1, 32, 64)


@pytest.mark.skipif(OFFLINE_FOUND is None, reason="the extra `offline-weights` is not installed")
def test_offline_weights_fill_the_encoder() -> None:
    config = ModelConfig(name="nas_fpn", pretrained="imagenet-offline", options={"cells": 1, "width": 8})
    segmenter = build(config, num_classes=3)
    theirs = weights.offline_state(OFFLINE)
    for name, own in segmenter.net.encoder.state_dict().items():
        assert torch.equal(own, theirs[name]), name
    torch.testing.assert_close(segmenter.mean.flatten(), torch.full((3,), 127 / 255))


def test_offline_weights_of_another_encoder_name_those_that_exist() -> None:
    options = {"encoder": "lcnet_050", "cells": 1, "width": 8}
    with pytest.raises(ConfigError, match=f"lcnet_050.*{OFFLINE}"):
        build(ModelConfig(name="nas_fpn", pretrained="imagenet-offline", options=options), num_classes=2)


def test_hub_weights_fill_the_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = pretend_hub(monkeypatch)
    config = ModelConfig(name="nas_fpn", pretrained="imagenet", options={"cells": 1, "width": 8})
    segmenter = build(config, num_classes=3)
    theirs = fetched[0].state_dict()
    for name, own in segmenter.net.encoder.state_dict().items():
        assert torch.equal(own, theirs[name]), name
    assert segmenter.mean.flatten().tolist() == [0.5] * 3


def test_hub_weights_without_network_point_to_the_offline_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    no_hub(monkeypatch, tmp_path)
    with pytest.raises(ConfigError, match="imagenet-offline"):
        build(ModelConfig(name="nas_fpn", pretrained="imagenet", options={"cells": 1, "width": 8}), num_classes=2)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"cells": 0}, "at least 1, got 0 and 256"),
        ({"width": 0}, "at least 1, got 7 and 0"),
        ({"encoder": "no_such_net"}, "no_such_net"),
        ({"encoder": "vit_tiny_patch16_224"}, r"strides \[16, 16, 16\]; NAS-FPN needs 8, 16 and 32"),
    ],
)
def test_unfit_options_are_named(options: dict[str, int | str], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        build(ModelConfig(name="nas_fpn", options=options), num_classes=2)
