"""One mask in memory: every kind, dtype and container comes back as it came, and says the same."""

import re
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image

from maskwright import refine_mask
from maskwright.errors import ConfigError, DataError
from maskwright.refine.kinds import HARD_PROBABILITY, CoarseMask, Smaller, guess_kind
from maskwright.refine.methods import METHODS, apply_method

HEIGHT, WIDTH = 24, 30


def picture() -> np.ndarray:
    """A bright and a middle box on dark ground, with noise; uint8 (H, W, 3)."""
    noise = np.random.default_rng(0).normal(scale=4, size=(HEIGHT, WIDTH, 3))
    return (40 + 80 * truth()[..., None] + noise).astype(np.uint8)


def truth() -> np.ndarray:
    """Labels 0, 1 and 2, int64 (H, W)."""
    labels = np.zeros((HEIGHT, WIDTH), np.int64)
    labels[6:18, 4:14] = 1
    labels[6:18, 18:26] = 2
    return labels


def shifted() -> np.ndarray:
    """The truth, 2 pixels too low."""
    return np.roll(truth(), 2, axis=0)


def hard() -> np.ndarray:
    """One of the two boxes, 2 pixels too low; bool."""
    return shifted() == 2


def soft() -> np.ndarray:
    """Probabilities of one box, float64, with more than 16 values."""
    return np.where(hard(), 0.7, 0.2) + np.linspace(0, 0.1, WIDTH)


def of_classes() -> np.ndarray:
    """Probabilities of three classes, float64 (3, H, W)."""
    return 0.6 * np.eye(3)[shifted()].transpose(2, 0, 1) + 0.4 / 3


def palette_mask() -> Image.Image:
    mask = Image.fromarray(shifted().astype(np.uint8))
    mask.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    return mask


NUMPY = {
    "bool": hard(),
    "0/1": hard().astype(np.uint8),
    "0/255": hard().astype(np.uint8) * 255,
    "0/65535": hard().astype(np.uint16) * 65535,
    "0/7 int32": hard().astype(np.int32) * 7,
    "0/1 float": hard().astype(np.float32),
    "(1, H, W) bool": hard()[None],
    "labels uint8": shifted().astype(np.uint8),
    "labels int64": shifted(),
    "labels 3, 90, 1000": np.array([3, 90, 1000])[shifted()],
    "labels, 255 ignored": np.where(np.arange(WIDTH) < 3, 255, shifted()).astype(np.uint8),
    "uint8": np.rint(soft() * 255).astype(np.uint8),
    "uint16": np.rint(soft() * 65535).astype(np.uint16),
    "uint16 of the other byte order": np.rint(soft() * 65535).astype(">u2"),
    "float16": soft().astype(np.float16),
    "float32": soft().astype(np.float32),
    "float64": soft(),
    "(1, H, W) float32": soft()[None].astype(np.float32),
    "column by column": np.asfortranarray(soft()),
    "(2, H, W) float32": np.stack((1 - soft(), soft())).astype(np.float32),
    "(3, H, W) float64": of_classes(),
    "(3, H, W) uint8": np.rint(of_classes() * 255).astype(np.uint8),
    "(3, H, W) one-hot": np.eye(3, dtype=bool)[shifted()].transpose(2, 0, 1),
    "(3, H, W) one-hot float": np.eye(3, dtype=np.float32)[shifted()].transpose(2, 0, 1),
    "logits": np.log(soft() / (1 - soft())),
    "(3, H, W) logits": np.log(of_classes()).astype(np.float32) + 5,
}

PIL = {
    "1": Image.fromarray(hard()),
    "L 0/255": Image.fromarray(NUMPY["0/255"]),
    "L grey": Image.fromarray(NUMPY["uint8"]),
    "P": palette_mask(),
    "I;16": Image.fromarray(NUMPY["uint16"]),
    "I": Image.fromarray(shifted().astype(np.int32)),
    "F": Image.fromarray(NUMPY["float32"]),
}

TORCH = {
    name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in NUMPY.items() if array.dtype.isnative
} | {"bfloat16": torch.from_numpy(soft()).bfloat16(), "with a gradient": torch.from_numpy(soft()).requires_grad_()}

ALL: dict[str, Any] = {
    f"{family} {name}": mask
    for family, masks in (("numpy", NUMPY), ("PIL", PIL), ("torch", TORCH))
    for name, mask in masks.items()
}


def values_of(mask: Any) -> np.ndarray:
    if isinstance(mask, torch.Tensor):
        mask = mask.detach()
        return (mask.float() if mask.dtype == torch.bfloat16 else mask).numpy()
    return np.asarray(mask)


def decided(values: np.ndarray) -> np.ndarray:
    """The label map that a mask stands for."""
    if values.ndim == 3 and len(values) > 1:
        return values.argmax(0)
    plane = values.reshape(values.shape[-2:])
    if plane.dtype.kind == "f":
        return plane > (0 if plane.min() < 0 else 0.5)
    return plane > np.iinfo(plane.dtype).max / 2 if len(np.unique(plane)) > 16 else plane


@pytest.mark.parametrize("name", ALL)
def test_a_mask_comes_back_in_its_own_form(name: str) -> None:
    mask = ALL[name]
    before = values_of(mask).copy()
    refined = refine_mask(picture(), mask, method="guided")
    if isinstance(mask, Image.Image):
        assert isinstance(refined, Image.Image) and refined.mode == mask.mode
    else:
        assert type(refined) is type(mask) and refined.dtype == mask.dtype
    after = values_of(refined)
    assert after.shape == before.shape
    np.testing.assert_array_equal(values_of(mask), before)
    assert (after != before).any(), "the filter moves the shifted edges"
    if any(word in name for word in ("bool", "0/", "labels", "one-hot", " P", " 1", " I")) and "I;16" not in name:
        assert set(np.unique(after)) <= set(np.unique(before))
    else:
        assert len(np.unique(after)) > len(np.unique(before))
    if "float" in name or "F" in name:
        assert after.min() >= 0 and after.max() <= 1


@pytest.mark.parametrize("mask", ALL.values(), ids=ALL)
def test_none_returns_an_equal_copy(mask: Any) -> None:
    refined = refine_mask(picture(), mask, method="none")
    np.testing.assert_array_equal(values_of(refined), values_of(mask))
    assert refined is not mask


@pytest.mark.parametrize("name", ["bool", "0/255", "uint8", "float32", "(2, H, W) float32", "logits"])
def test_every_form_of_one_mask_is_refined_alike(name: str) -> None:
    mask = NUMPY[name]
    refined = refine_mask(picture(), mask, method="guided")
    expected = hard() if mask.dtype == bool or name == "0/255" else soft() > 0.5
    by_hand = np.where(expected, HARD_PROBABILITY, 1 - HARD_PROBABILITY) if name in ("bool", "0/255") else soft()
    probabilities = np.stack((1 - by_hand, by_hand)).astype(np.float32)
    reference = apply_method(probabilities, picture(), method="guided").probabilities
    labels = decided(refined).astype(bool)
    near_half = np.abs(reference[1] - 0.5) < 0.01
    np.testing.assert_array_equal(labels[~near_half], (reference[1] > 0.5)[~near_half])


def test_dense_crf_mends_shifted_masks() -> None:
    for mask, target in (
        (hard(), truth() == 2),
        (shifted(), truth()),
        (np.where(hard(), 9, 4), np.where(truth() == 2, 9, 4)),
    ):
        refined = refine_mask(picture(), mask, method="dense_crf")
        assert (refined != target).sum() < 0.6 * (mask != target).sum()


def test_without_a_name_the_bundled_refiner_is_taken() -> None:
    refined = refine_mask(picture(), shifted())
    np.testing.assert_array_equal(refined, refine_mask(picture(), shifted(), method="bundled"))


@pytest.mark.parametrize("mask", [hard(), shifted(), soft(), PIL["P"], torch.from_numpy(shifted())])
@pytest.mark.parametrize("method", METHODS)
def test_the_report_says_what_the_mask_shows(method: str, mask: Any) -> None:
    refined, report = refine_mask(picture(), mask, method=method, report=True)
    alone = refine_mask(picture(), mask, method=method)
    assert type(refined) is type(mask)
    np.testing.assert_array_equal(values_of(refined), values_of(alone))
    assert report.changed_pixels == np.count_nonzero(decided(values_of(refined)) != decided(values_of(mask)))
    assert report.changed_share == report.changed_pixels / (HEIGHT * WIDTH)
    assert (report.estimated_gain is None) == (method != "bundled")
    assert report.seconds > 0
    if method == "none" or report.kept:
        assert report.changed_pixels == 0


def test_ignored_pixels_and_single_labels_are_not_reported_as_changed() -> None:
    _, report = refine_mask(picture(), NUMPY["labels, 255 ignored"], method="guided", report=True)
    refined = refine_mask(picture(), NUMPY["labels, 255 ignored"], method="guided")
    assert report.changed_pixels == np.count_nonzero(refined != NUMPY["labels, 255 ignored"])
    _, report = refine_mask(picture(), np.full((HEIGHT, WIDTH), 7, np.uint8), report=True)
    assert (report.changed_pixels, report.estimated_gain, report.kept) == (0, None, False)


@pytest.mark.parametrize("name", ["(3, H, W) float64", "(2, H, W) float32"])
def test_pixels_of_several_channels_are_counted_once(name: str) -> None:
    refined, report = refine_mask(picture(), NUMPY[name], method="guided", report=True)
    assert report.changed_pixels == np.count_nonzero(refined.argmax(0) != NUMPY[name].argmax(0)) > 0


def test_a_palette_stays() -> None:
    mask = palette_mask()
    refined = refine_mask(Image.fromarray(picture()), mask, method="guided")
    assert refined.getpalette() == mask.getpalette()
    assert set(np.unique(refined)) == {0, 1, 2}


def test_many_indices_of_a_palette_are_labels() -> None:
    mask = Image.fromarray((TWENTY * 13).astype(np.uint8)).convert("P")
    mask.putpalette(range(256))
    np.testing.assert_array_equal(refine_mask(picture(), mask, method="none"), np.asarray(mask))
    assert set(np.unique(refine_mask(picture(), mask, method="guided"))) <= set(np.unique(mask))


def test_ignored_pixels_of_a_label_map_stay_and_speak_for_no_class() -> None:
    labels = shifted().astype(np.uint8)
    labels[:5] = labels[10:12, 10:20] = 255
    refined = refine_mask(picture(), labels, method="guided")
    np.testing.assert_array_equal(refined == 255, labels == 255)
    coarse = CoarseMask.of(labels)
    assert coarse.labels.tolist() == [0, 1, 2]
    np.testing.assert_allclose(coarse.probabilities[:, labels == 255], 1 / 3)
    known = coarse.probabilities[:, labels != 255].max(0)
    np.testing.assert_allclose(known, HARD_PROBABILITY)


HARD = ("bool", "0/255", "0/7 int32", "0/1 float", "labels int64", "(3, H, W) one-hot", "(3, H, W) one-hot float")


@pytest.mark.parametrize("name", HARD)
def test_hard_masks_of_every_form_are_taken_to_be_equally_sure(name: str) -> None:
    coarse = CoarseMask.of(NUMPY[name])
    np.testing.assert_allclose(coarse.probabilities.max(0), HARD_PROBABILITY)
    np.testing.assert_allclose(coarse.probabilities.sum(0), 1, rtol=1e-6)
    np.testing.assert_array_equal(
        coarse.probabilities.argmax(0), hard() if len(coarse.probabilities) == 2 else shifted()
    )


@pytest.mark.parametrize(("dtype", "expected"), [(np.uint8, 255), (np.uint16, 65469), (np.float32, np.float32(0.999))])
def test_probabilities_are_stored_as_the_nearest_value(
    dtype: type, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nearly_sure(probabilities: np.ndarray, image: np.ndarray) -> np.ndarray:
        return np.stack((np.full_like(probabilities[0], 0.001), np.full_like(probabilities[0], 0.999)))

    monkeypatch.setattr("maskwright.refine.methods.METHODS", {"nearly_sure": nearly_sure})
    mask = NUMPY[dtype.__name__]
    np.testing.assert_array_equal(refine_mask(picture(), mask, method="nearly_sure"), np.full_like(mask, expected))


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((HEIGHT, WIDTH), bool),
        np.ones((HEIGHT, WIDTH), bool),
        np.zeros((HEIGHT, WIDTH), np.uint8),
        np.full((HEIGHT, WIDTH), 255, np.uint8),
        np.full((HEIGHT, WIDTH), 6, np.int64),
        np.zeros((HEIGHT, WIDTH), np.float32),
        np.zeros((1, HEIGHT, WIDTH), np.float32),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_a_mask_of_one_value_stays(mask: np.ndarray, method: str) -> None:
    refined = refine_mask(picture(), mask, method=method)
    np.testing.assert_array_equal(refined, mask)
    assert refined.dtype == mask.dtype and refined is not mask
    assert (refine_mask(picture(), np.full((HEIGHT, WIDTH), 255, np.uint8), method=method, kind="labels") == 255).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1)])
@pytest.mark.parametrize("method", METHODS)
def test_thin_and_tiny_masks_are_refined(size: tuple[int, int], method: str) -> None:
    image = np.arange(np.prod(size) * 3).reshape(*size, 3).astype(np.uint8)
    for mask in (np.arange(np.prod(size)).reshape(size) > 3, np.full(size, 0.3, np.float32)):
        refined = refine_mask(image, mask, method=method)
        assert refined.shape == mask.shape and refined.dtype == mask.dtype


def forms_of_images() -> dict[str, Any]:
    image = picture()
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    opaque = np.dstack((image, np.full((HEIGHT, WIDTH), 255, np.uint8)))
    return {
        "numpy 16 bit": image.astype(np.uint16) * 257,
        "numpy float": (image / 255).astype(np.float32),
        "numpy RGBA": opaque,
        "PIL": Image.fromarray(image),
        "PIL RGBA": Image.fromarray(opaque),
        "PIL RGBa": Image.fromarray(opaque).convert("RGBa"),
        "torch": tensor,
        "torch float": tensor / 255,
        "torch double": tensor.double() / 255,
        "torch RGBA": torch.from_numpy(opaque).permute(2, 0, 1),
    }


@pytest.mark.parametrize("image", forms_of_images().values(), ids=forms_of_images())
def test_every_form_of_an_image_is_the_same_image(image: Any) -> None:
    expected = refine_mask(picture(), soft(), method="guided")
    np.testing.assert_array_equal(refine_mask(image, soft(), method="guided"), expected)


def grey() -> np.ndarray:
    return picture()[..., 0]


@pytest.mark.parametrize(
    "image",
    [
        grey(),
        grey()[..., None],
        grey().astype(np.uint16) * 256,
        Image.fromarray(grey()),
        Image.fromarray(grey().astype(np.uint16) * 256),
        Image.fromarray((grey() / 255).astype(np.float32)),
        torch.from_numpy(grey().copy()),
        torch.from_numpy(grey()[None].copy()),
    ],
)
def test_grey_images_are_images_of_three_equal_channels(image: Any) -> None:
    expected = refine_mask(np.repeat(grey()[..., None], 3, axis=2), soft(), method="guided")
    np.testing.assert_array_equal(refine_mask(image, soft(), method="guided"), expected)


def test_transparent_parts_are_white() -> None:
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    alpha[:, :10] = 0
    shown = np.where(alpha[..., None] == 0, 255, picture()).astype(np.uint8)
    expected = refine_mask(shown, soft(), method="guided")
    image = np.dstack((picture(), alpha))
    for form in (image, Image.fromarray(image)):
        np.testing.assert_array_equal(refine_mask(form, soft(), method="guided"), expected)


def test_what_a_method_does_not_change_stays_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_pixel(probabilities: np.ndarray, image: np.ndarray) -> np.ndarray:
        refined = probabilities.copy()
        refined[:, 3, 4] = np.roll(refined[:, 3, 4], 1)
        return refined

    monkeypatch.setattr("maskwright.refine.methods.METHODS", {"one_pixel": one_pixel})
    for name, mask in NUMPY.items():
        # A sum of 0.995 is within the tolerance, and is not mended where nothing changes.
        mask = mask * 0.995 if name == "(3, H, W) float64" else mask
        refined = refine_mask(picture(), mask, method="one_pixel")
        changed = (refined != mask).reshape(-1, HEIGHT, WIDTH).any(0)
        assert changed[3, 4]
        changed[3, 4] = False
        assert not changed.any()


@pytest.mark.parametrize(
    ("mask", "kind"),
    [
        (hard(), "binary"),
        (hard() * 1, "labels"),
        (hard().astype(np.uint8) * 255, "binary"),
        (shifted().astype(np.uint8), "labels"),
        (np.arange(60, dtype=np.int32).reshape(6, 10), "labels"),
        (np.linspace(0, 255, 60).astype(np.uint8).reshape(6, 10), "probabilities"),
        (np.linspace(0, 65535, 60).astype(np.uint16).reshape(6, 10), "probabilities"),
        (np.linspace(0, 255, 15).astype(np.uint8).reshape(3, 5), "labels"),
        (soft(), "probabilities"),
        (soft() * 1.1 - 0.05, "probabilities"),
        (soft() * 9 - 5, "logits"),
        (of_classes(), "probabilities"),
        ((of_classes() * 255).astype(np.uint8), "probabilities"),
    ],
)
def test_kinds_are_guessed(mask: np.ndarray, kind: str) -> None:
    assert guess_kind(mask) == kind


def test_the_number_of_classes_settles_what_is_open() -> None:
    small = np.arange(60, dtype=np.uint8).reshape(6, 10)
    assert guess_kind(small, num_classes=2) == "probabilities"
    assert guess_kind(small, num_classes=60) == "labels"
    binary = hard().astype(np.uint8) * 255
    assert guess_kind(binary, num_classes=2) == "binary"
    assert guess_kind(binary, num_classes=5) == "labels"
    assert guess_kind(binary // 255, num_classes=2) == "labels"


def with_(value: float) -> np.ndarray:
    mask = soft()
    mask[3, 4] = value
    return mask


TWENTY = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 20

WRONG: dict[str, tuple[Any, str, str]] = {
    "NaN": (with_(np.nan), "auto", "1 values that are NaN"),
    "infinite": (with_(np.inf), "logits", "1 values that are NaN or infinite"),
    "another size": (hard()[:-1], "auto", "mask is 30×23, its image 30×24 pixels"),
    "turned": (hard().T, "auto", "mask is 24×30, its image 30×24 pixels"),
    "no pixels": (np.zeros((0, 4)), "auto", "shape (0, 4)"),
    "one axis": (np.zeros(4), "auto", "shape (4,)"),
    "channels last": (np.zeros((HEIGHT, WIDTH, 3), np.uint8), "auto", "sum to"),
    "complex": (soft() * 1j, "auto", "complex128"),
    "text": (np.array([["a", "b"]]), "auto", "<U1"),
    "faint or labels": (TWENTY.astype(np.uint8), "auto", "20 different integers up to 19"),
    "faint or labels, some ignored": (np.where(TWENTY, TWENTY, 255).astype(np.uint8), "auto", "say which kind"),
    "float labels": (shifted().astype(np.float32), "auto", "whole numbers from 0 to 2"),
    "overshoot": (with_(1.05), "auto", "to 1.05; expected probabilities in 0..1"),
    "logits as probabilities": (soft() * 9 - 5, "probabilities", "Are they logits?"),
    "sums": (np.stack((soft(), soft())), "auto", "2 channels that sum to 0.4..1.57"),
    "overlapping bool": (np.stack((hard(), hard())), "auto", "2 channels that sum to 0..2"),
    "several channels of labels": (np.stack((shifted(),) * 2), "auto", "int64; expected probabilities"),
    "several channels as binary": (np.stack((hard(),) * 2), "binary", "expected (H, W) where the kind is binary"),
    "int64 as probabilities": (shifted(), "probabilities", "int64; expected probabilities"),
    "0 and 1 as probabilities": (hard().astype(np.uint8), "probabilities", "0 and 1 of 255"),
    "three values as binary": (shifted(), "binary", "values [0, 1, 2]"),
    "floats as labels": (soft(), "labels", "float64; expected integer labels"),
    "negative labels": (shifted() - 1, "auto", "label -1; expected labels ≥ 0, or 255 = ignored"),
    "more labels than can be": (np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH), "labels", "719 labels"),
    "integer logits": (shifted(), "logits", "int64; expected float logits"),
    "list": ([[0, 1]], "auto", "mask is a list"),
    "RGB": (Image.new("RGB", (WIDTH, HEIGHT)), "auto", "mode RGB; expected one of one channel"),
    "RGBA": (Image.new("RGBA", (WIDTH, HEIGHT)), "auto", "mode RGBA"),
    "LA": (Image.new("LA", (WIDTH, HEIGHT)), "auto", "mode LA"),
}


@pytest.mark.parametrize(("mask", "kind", "message"), WRONG.values(), ids=WRONG)
def test_masks_that_will_not_do_are_named(mask: Any, kind: Any, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        refine_mask(picture(), mask, method="guided", kind=kind)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, "NoneType"),
        (picture().transpose(2, 0, 1), "shape (3, 24, 30)"),
        (torch.from_numpy(picture()), "shape (24, 30, 3); expected (H, W, 3) for NumPy, (3, H, W) for PyTorch"),
        (picture()[None], "shape (1, 24, 30, 3)"),
        (picture().astype(np.float32), "float32 from"),
        (picture().astype(np.int64), "int64 from"),
        (np.where(picture() > 60, np.nan, 0.5), "from nan to nan"),
        (picture()[:0], "shape (0, 30, 3)"),
        (Image.fromarray(picture().astype(np.int32)[..., 0]), "int32"),
        (Image.new("La", (WIDTH, HEIGHT)), "mode La"),
        (Image.new("RGB", (WIDTH, HEIGHT + 1)), "mask is 30×24, its image 30×25 pixels"),
    ],
)
def test_images_that_will_not_do_are_named(image: Any, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        refine_mask(image, hard(), method="guided")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: refine_mask(picture(), hard(), method="dense_crv"),
            "unknown method 'dense_crv'; did you mean dense_crf?",
        ),
        (
            lambda: refine_mask(picture(), hard(), method="snakes"),
            "guided, none, or the folder of a run of train-refiner",
        ),
        (lambda: refine_mask(picture(), hard(), method=""), "unknown method ''"),
        (lambda: refine_mask(picture(), hard() * 0, method="snakes"), "unknown method"),
        (lambda: refine_mask(picture(), hard(), kind="mask"), "unknown kind of mask 'mask'; expected one of auto"),  # type: ignore[arg-type]
    ],
)
def test_unknown_names_are_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        call()


def disks(side: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """A picture of two disks, uint8 (S, S, 3), and its truth, labels 0, 1, 2."""
    rows, columns = np.indices((side, side))
    labels = np.zeros((side, side), np.int64)
    labels[np.hypot(rows - 40, columns - 45) < 22] = 1
    labels[np.hypot(rows - 88, columns - 80) < 29] = 2
    noise = np.random.default_rng(0).normal(scale=4, size=(side, side, 3))
    return (40 + 80 * labels[..., None] + noise).astype(np.uint8), labels


def averaged(labels: np.ndarray, side: int = 8) -> np.ndarray:
    """Shares of the three labels in cells of 8×8 pixels, float64 (3, H/8, W/8)."""
    cells = np.eye(3)[labels].transpose(2, 0, 1)
    return cells.reshape(3, len(labels) // side, side, -1, side).mean((2, 4))


@pytest.mark.parametrize("method", METHODS)
def test_a_mask_of_shares_keeps_them_and_gets_nearer_to_the_truth(method: str) -> None:
    image, labels = disks()
    shares = averaged(labels)
    enlarged = refine_mask(image, shares, method="none", smaller="estimate")
    expected = torch.from_numpy(shares)[None]
    expected = torch.nn.functional.interpolate(expected, scale_factor=8, mode="bilinear", align_corners=False)[0]
    np.testing.assert_allclose(enlarged, expected, atol=1e-5)
    refined, report = refine_mask(image, shares, method=method, smaller="shares", report=True)
    assert refined.shape == (3, *labels.shape) and refined.dtype == shares.dtype
    np.testing.assert_allclose(refined.reshape(3, 16, 8, 16, 8).mean((2, 4)), shares, atol=0.04)
    wrong, wrong_before = (np.count_nonzero(mask.argmax(0) != labels) for mask in (refined, enlarged))
    assert wrong < 0.5 * wrong_before
    assert report.changed_pixels == np.count_nonzero(refined.argmax(0) != enlarged.argmax(0))
    assert report.estimated_gain is None and not report.kept  # no gate is asked


def test_shares_hold_where_the_picture_misleads() -> None:
    image, labels = disks()
    image = np.roll(image, 6, axis=1)
    wrong = {
        smaller: np.count_nonzero(refine_mask(image, averaged(labels), smaller=smaller).argmax(0) != labels)
        for smaller in get_args(Smaller)[1:]
    }
    assert wrong["shares"] < 0.5 * wrong["estimate"]


@pytest.mark.parametrize("name", ALL)
def test_smaller_masks_of_every_form_are_enlarged(name: str) -> None:
    mask, before = ALL[name], values_of(ALL[name]).copy()
    image = picture().repeat(3, axis=0).repeat(3, axis=1)
    refined = refine_mask(image, mask, method="none", smaller="estimate")
    after = values_of(refined)
    assert type(refined) is type(mask) and after.dtype == before.dtype
    assert after.shape == (*before.shape[:-2], *image.shape[:2])
    if isinstance(mask, Image.Image):
        assert refined.mode == mask.mode and refined.getpalette() == mask.getpalette()
    middles = after[..., 1::3, 1::3]  # of the cells
    if "(3, H, W) logits" in name:  # which are known but for a constant
        middles, before = middles - middles[:1], before - before[:1]
    np.testing.assert_allclose(middles, before, rtol=0, atol=1e-3 if before.dtype.kind == "f" else 0)


def test_masks_of_the_images_size_are_refined_as_ever() -> None:
    for mask in (NUMPY["float32"], NUMPY["labels, 255 ignored"], NUMPY["(3, H, W) float64"]):
        expected = refine_mask(picture(), mask)
        for smaller in ("estimate", "shares"):
            np.testing.assert_array_equal(refine_mask(picture(), mask, smaller=smaller), expected)


def test_shares_of_0_and_1_are_meant_as_they_stand() -> None:
    shares = np.zeros((3, 4), np.float32)
    shares[:, 2:] = 1
    refined = refine_mask(np.zeros((24, 32, 3), np.uint8), shares, smaller="shares", kind="probabilities")
    np.testing.assert_array_equal(refined, shares.repeat(8, axis=0).repeat(8, axis=1))


@pytest.mark.parametrize(
    ("mask", "smaller", "error", "message"),
    [
        (
            soft()[:-1],
            "refuse",
            DataError,
            "mask is 30×23, its image 30×24 pixels; expected the same; a smaller mask is",
        ),
        (soft().repeat(2, axis=0), "estimate", DataError, "mask is 30×48, its image 30×24 pixels"),
        (soft().T, "shares", DataError, "mask is 24×30, its image 30×24 pixels"),
        (hard()[:12], "shares", DataError, "of the kind binary, which tells no shares"),
        (shifted()[:12], "shares", DataError, "of the kind labels, which tells no shares"),
        (soft(), "larger", ConfigError, "unknown smaller 'larger'; expected one of refuse, estimate, shares"),
    ],
)
def test_sizes_that_will_not_do_are_named(mask: Any, smaller: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        refine_mask(picture(), mask, method="guided", smaller=smaller)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_returns_new_probabilities_that_sum_to_1(method: str) -> None:
    probabilities = of_classes().astype(np.float32)
    before = probabilities.copy()
    refined = apply_method(probabilities, picture(), method=method).probabilities
    assert refined.dtype == np.float32 and refined.shape == probabilities.shape
    assert not np.shares_memory(refined, probabilities)
    np.testing.assert_array_equal(probabilities, before)
    np.testing.assert_allclose(refined.sum(0), 1, rtol=0, atol=1e-5)
    with pytest.raises(DataError, match="image"):
        apply_method(probabilities, picture()[:-1], method=method)
