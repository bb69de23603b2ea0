"""The dense CRF: parity with explicit kernels, with pydensecrf, and what holds for any picture."""

import re
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from PIL import Image

from maskwright.errors import ConfigError, DataError, MaskwrightError
from maskwright.ops.permutohedral import Lattice
from maskwright.refine.dense_crf import PRESETS, CRFParameters, dense_crf

EXAMPLES = Path(__file__).parents[3] / "shared" / "data" / "densecrf"


def picture(height: int = 12, width: int = 10, *, seed: int = 0) -> np.ndarray:
    """A bright disc on dark ground, with noise; uint8 (H, W, 3)."""
    rows, columns = np.mgrid[:height, :width]
    disc = np.hypot((rows + 0.5) / height - 0.5, (columns + 0.5) / width - 0.5) < 0.3
    noise = np.random.default_rng(seed).normal(scale=6, size=(height, width, 3))
    return (60 + 120 * disc[..., None] + noise).astype(np.uint8)


def random_probabilities(classes: int, height: int = 12, width: int = 10, *, seed: int = 1) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(scale=1.5, size=(classes, height, width))
    return softmax(logits).astype(np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(0))
    return powers / powers.sum(0)


def features_of(image: np.ndarray, parameters: CRFParameters) -> list[tuple[np.ndarray, float]]:
    """Features and weight of the Gaussian and of the bilateral kernel, pixel by pixel."""
    height, width = image.shape[:2]
    places = np.array([(x, y) for y in range(height) for x in range(width)], np.float64)
    colours = image.reshape(-1, 3).astype(np.float64)
    both = np.hstack((places / parameters.bilateral_sigma, colours / parameters.bilateral_levels))
    return [(places / parameters.gaussian_sigma, parameters.gaussian_weight), (both, parameters.bilateral_weight)]


def lattice_kernel(features: np.ndarray) -> np.ndarray:
    return Lattice.build(features).filter(np.eye(len(features), dtype=np.float32)).astype(np.float64)


def gaussian_kernel(features: np.ndarray) -> np.ndarray:
    return np.exp(-((features[:, None] - features) ** 2).sum(-1) / 2)


def slow_crf(probabilities, image, *, kernel_of, parameters, steps, compatibility=None):  # type: ignore[no-untyped-def]
    """Mean field with explicit N×N kernels, in float64."""
    classes = len(probabilities)
    log_p = np.log(np.maximum(probabilities, 1e-5)).reshape(classes, -1)
    kernel = np.zeros((log_p.shape[1], log_p.shape[1]))
    for features, weight in features_of(image, parameters):
        matrix = kernel_of(features)
        sums = matrix.sum(1)
        kernel += weight * matrix / np.sqrt(np.outer(sums, sums))
    penalties = 1 - np.eye(classes) if compatibility is None else compatibility
    refined = softmax(log_p)
    for _ in range(steps):
        refined = softmax(log_p - penalties @ refined @ kernel.T)
    return refined.reshape(probabilities.shape)


@pytest.mark.parametrize("classes", [2, 3, 5, 12])
@pytest.mark.parametrize("preset", PRESETS)
def test_parity_with_the_lattice_as_an_explicit_kernel(preset: str, classes: int) -> None:
    probabilities, image = random_probabilities(classes), picture()
    refined = dense_crf(probabilities, image, steps=3, preset=preset)
    expected = slow_crf(probabilities, image, kernel_of=lattice_kernel, parameters=PRESETS[preset], steps=3)
    np.testing.assert_allclose(refined, expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize("preset", PRESETS)
def test_close_to_true_gaussians(preset: str) -> None:
    # The lattice is an approximation: 96 of 100 pixels get the same label on pictures of a few hundred.
    agreement = []
    for seed in range(5):
        probabilities, image = random_probabilities(3, 16, 18, seed=seed), picture(16, 18, seed=seed)
        refined = dense_crf(probabilities, image, steps=3, preset=preset)
        exact = slow_crf(probabilities, image, kernel_of=gaussian_kernel, parameters=PRESETS[preset], steps=3)
        agreement.append((refined.argmax(0) == exact.argmax(0)).mean())
        assert np.abs(refined - exact).mean() < 0.05
    assert np.mean(agreement) > 0.96


def test_one_step_on_one_pixel_by_hand() -> None:
    # A kernel that is normalised on both sides is 1 on a single pixel: each class gains 3 + 10 times its probability.
    refined = dense_crf(np.array([[[0.3]], [[0.7]]]), picture(1, 1), steps=1)
    odds = 0.3 / 0.7 * np.exp(13 * (0.3 - 0.7))
    np.testing.assert_allclose(refined.ravel(), [odds / (1 + odds), 1 / (1 + odds)], rtol=1e-5)


def test_it_cleans_a_noisy_mask() -> None:
    image = picture(40, 40)
    truth = image[..., 0] > 120
    wrong = np.random.default_rng(2).random(truth.shape) < 0.2
    p = np.where(truth ^ wrong, 0.7, 0.3)
    refined = dense_crf(np.stack((1 - p, p)), image, preset="soft")
    assert (refined.argmax(0) == truth).mean() > 0.99


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (7, 5)])
@pytest.mark.parametrize("classes", [2, 4])
def test_result_is_probabilities_of_the_same_shape(classes: int, size: tuple[int, int]) -> None:
    refined = dense_crf(random_probabilities(classes, *size), picture(*size))
    assert refined.shape == (classes, *size)
    assert refined.dtype == np.float32
    assert refined.flags.c_contiguous
    assert (refined >= 0).all()
    np.testing.assert_allclose(refined.sum(0), 1, rtol=0, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 7])
def test_uniform_probabilities_stay(classes: int) -> None:
    uniform = np.full((classes, 9, 8), 1 / classes)
    np.testing.assert_allclose(dense_crf(uniform, picture(9, 8)), uniform, rtol=0, atol=1e-4)


def test_equal_pixels_of_a_constant_image_keep_their_order_of_classes() -> None:
    constant = np.broadcast_to(np.array([0.5, 0.3, 0.2])[:, None, None], (3, 8, 9))
    refined = dense_crf(constant, np.full((8, 9, 3), 77, np.uint8))
    assert (refined[0] > refined[1]).all()
    assert (refined[1] > refined[2]).all()


def test_no_steps_return_the_input() -> None:
    probabilities = random_probabilities(3)
    refined = dense_crf(probabilities, picture(), steps=0)
    assert np.array_equal(refined, probabilities)
    assert not np.shares_memory(refined, probabilities)


def test_no_weights_return_the_input() -> None:
    probabilities = random_probabilities(3)
    refined = dense_crf(probabilities, picture(), parameters=CRFParameters(gaussian_weight=0, bilateral_weight=0))
    np.testing.assert_allclose(refined, probabilities, rtol=0, atol=1e-6)


def test_classes_are_treated_alike() -> None:
    probabilities, image = random_probabilities(3), picture()
    refined = dense_crf(probabilities, image)
    for order in map(list, permutations(range(3))):
        np.testing.assert_allclose(dense_crf(probabilities[order], image), refined[order], rtol=0, atol=1e-4)


def test_rows_and_columns_are_treated_alike() -> None:
    # Nearly: the lattice is not symmetric in its dimensions.
    probabilities, image = random_probabilities(2, 20, 20), picture(20, 20)
    turned = dense_crf(probabilities.transpose(0, 2, 1), image.transpose(1, 0, 2)).transpose(0, 2, 1)
    assert (turned.argmax(0) == dense_crf(probabilities, image).argmax(0)).mean() > 0.97


def test_potts_is_the_matrix_of_ones_off_the_diagonal() -> None:
    probabilities, image = random_probabilities(4), picture()
    refined = dense_crf(probabilities, image, compatibility=1 - np.eye(4))
    np.testing.assert_allclose(refined, dense_crf(probabilities, image), rtol=0, atol=1e-4)


def test_parity_with_a_full_compatibility() -> None:
    probabilities, image = random_probabilities(3), picture()
    penalties = np.array([[0, 0.2, 1], [0.7, 0, 2], [-0.3, 1, 0.1]])  # neither symmetric nor zero on the diagonal
    refined = dense_crf(probabilities, image, steps=3, preset="soft", compatibility=penalties)
    expected = slow_crf(
        probabilities,
        image,
        kernel_of=lattice_kernel,
        parameters=PRESETS["soft"],
        steps=3,
        compatibility=penalties,
    )
    np.testing.assert_allclose(refined, expected, rtol=0, atol=2e-4)


def test_zero_counts_as_the_smallest_probability() -> None:
    image = picture()
    hard = np.eye(2)[(image[..., 0] > 120).astype(int)].transpose(2, 0, 1)
    refined = dense_crf(hard, image)
    assert np.isfinite(refined).all()
    np.testing.assert_allclose(refined, dense_crf(np.maximum(hard, 1e-5), image), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_any_float_dtype_and_memory_layout_will_do(dtype: type) -> None:
    probabilities, image = random_probabilities(3).astype(dtype), picture()
    strided = np.asfortranarray(probabilities), np.asfortranarray(image)
    refined = dense_crf(probabilities.astype(np.float32), image)
    np.testing.assert_allclose(dense_crf(*strided), refined, rtol=0, atol=1e-5)


def test_the_input_is_left_as_it_was() -> None:
    probabilities, image = random_probabilities(3), picture()
    probabilities[0, 0] = 0
    probabilities[1, 0] = 1 - probabilities[2, 0]
    before = probabilities.copy(), image.copy()
    dense_crf(probabilities, image)
    assert np.array_equal(probabilities, before[0])
    assert np.array_equal(image, before[1])


@pytest.mark.parametrize("classes", [2, 12])
def test_tiles_do_not_change_the_result(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities, image = random_probabilities(classes, 30, 20), picture(30, 20)
    whole = dense_crf(probabilities, image)
    monkeypatch.setitem(dense_crf.__globals__, "TILE", 16 * 90)
    np.testing.assert_allclose(dense_crf(probabilities, image), whole, rtol=0, atol=1e-6)


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="numba was started with one thread")
@pytest.mark.usefixtures("any_threads")
def test_threads_do_not_change_the_result() -> None:
    probabilities, image = random_probabilities(3, 60, 50), picture(60, 50)
    alone = dense_crf(probabilities, image)
    torch.set_num_threads(2)
    assert np.array_equal(dense_crf(probabilities, image), alone)


def pydensecrf_labels(
    probabilities: np.ndarray, image: np.ndarray, parameters: CRFParameters, steps: int
) -> np.ndarray:
    peer = pytest.importorskip("pydensecrf.densecrf", reason="needs pydensecrf2: pip install -e '.[bench]'")
    classes, height, width = probabilities.shape
    crf = peer.DenseCRF2D(width, height, classes)
    crf.setUnaryEnergy(-np.log(np.maximum(probabilities, 1e-5)).reshape(classes, -1))
    crf.addPairwiseGaussian(sxy=parameters.gaussian_sigma, compat=parameters.gaussian_weight)
    crf.addPairwiseBilateral(
        sxy=parameters.bilateral_sigma,
        srgb=parameters.bilateral_levels,
        rgbim=image,
        compat=parameters.bilateral_weight,
    )
    return np.array(crf.inference(steps)).argmax(0).reshape(height, width)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("preset", PRESETS)
def test_labels_are_those_of_pydensecrf(preset: str, classes: int) -> None:
    probabilities, image = random_probabilities(classes, 60, 80), picture(60, 80)
    expected = pydensecrf_labels(probabilities, image, PRESETS[preset], 5)
    agreement = (dense_crf(probabilities, image, preset=preset).argmax(0) == expected).mean()
    assert agreement >= 0.995
    assert (expected != probabilities.argmax(0)).mean() > 0.05


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the worked examples are not here")
@pytest.mark.parametrize("example", ["1", "2"])
def test_labels_are_those_of_the_worked_examples(example: str) -> None:
    image, annotation, output = (
        np.array(Image.open(EXAMPLES / f"{kind}{example}.png").convert("RGB")) for kind in ("im", "anno", "out")
    )
    colours = np.unique(annotation.reshape(-1, 3), axis=0)[1:]  # the first is black, unknown
    annotated = (annotation == colours[:, None, None]).all(-1)
    unknown = ~annotated.any(0)
    probabilities = np.where(annotated, 0.7, 0.3 / (len(colours) - 1))
    probabilities[:, unknown] = 1 / len(colours)
    labels = dense_crf(probabilities, image, steps=5).argmax(0)
    assert (colours[labels] == output).all(-1).mean() >= 0.995


BAD_SUM = random_probabilities(2) / 2
NOT_A_NUMBER = random_probabilities(2)
NOT_A_NUMBER[0, 3, 4] = np.nan
NEGATIVE = random_probabilities(2) + np.array([-2, 2], np.float32)[:, None, None]


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        (BAD_SUM, "sum to 0.5"),
        (NOT_A_NUMBER, "nan to nan"),
        (NEGATIVE, "expected 0 to 1"),
        (random_probabilities(1), "at least 2 classes"),
        (random_probabilities(2)[0], r"expected (C, H, W)"),
        (random_probabilities(2)[:, :0], "one pixel"),
        (np.zeros((2, 12, 10), np.uint8), "uint8"),
        (random_probabilities(2, 10, 12), "(10, 12, 3)"),
        ([[0.5], [0.5]], "list"),
    ],
)
def test_probabilities_that_will_not_do_are_named(probabilities: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        dense_crf(probabilities, picture())


@pytest.mark.parametrize(
    "image", [picture() / 255, picture()[..., 0], picture().transpose(2, 0, 1), picture(10, 12), None]
)
def test_images_that_will_not_do_are_named(image: np.ndarray) -> None:
    with pytest.raises(DataError, match="image"):
        dense_crf(random_probabilities(2), image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": -1}, "steps"),
        ({"steps": 2.5}, "steps"),
        ({"preset": "pydense"}, "pydensecrf, deeplab, soft"),
        ({"compatibility": np.eye(3)}, "(2, 2)"),
        ({"compatibility": np.full((2, 2), np.nan)}, "finite"),
    ],
)
def test_settings_that_will_not_do_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        dense_crf(random_probabilities(2), picture(), **options)


def test_kernels_too_narrow_for_the_picture_are_named() -> None:
    narrow = replace(PRESETS["soft"], gaussian_sigma=0.1)
    with pytest.raises(ConfigError, match="too narrow for 20000×1 pixels"):
        dense_crf(np.full((2, 1, 20000), 0.5), np.zeros((1, 20000, 3), np.uint8), parameters=narrow)


@pytest.mark.parametrize(
    "name", ["gaussian_sigma", "gaussian_weight", "bilateral_sigma", "bilateral_levels", "bilateral_weight"]
)
@pytest.mark.parametrize("value", [-1, np.nan, np.inf, "3", True])
def test_parameters_check_themselves(name: str, value: object) -> None:
    with pytest.raises(MaskwrightError, match=name):
        CRFParameters(**{name: value})
    if not name.endswith("weight"):
        with pytest.raises(ConfigError, match="from 0.01"):
            CRFParameters(**{name: 0})


def test_presets_are_what_their_sources_say() -> None:
    assert PRESETS["pydensecrf"] == CRFParameters(
        gaussian_sigma=3, gaussian_weight=3, bilateral_sigma=80, bilateral_levels=13, bilateral_weight=10
    )
    assert PRESETS["deeplab"] == CRFParameters(
        gaussian_sigma=1, gaussian_weight=3, bilateral_sigma=67, bilateral_levels=3, bilateral_weight=4
    )
    assert PRESETS["soft"] == CRFParameters(
        gaussian_sigma=3, gaussian_weight=3, bilateral_sigma=30, bilateral_levels=8, bilateral_weight=4
    )
