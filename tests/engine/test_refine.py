"""Refining masks of any tool: every kind of file is read for what it is, and an untrained refiner changes nothing."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from folders import names_in
from maskwright.data.io import read_image, read_logits, read_mask, read_probabilities
from maskwright.data.naming import IMAGE_SUFFIXES
from maskwright.engine import checkpoint
from maskwright.engine.masks import pair_by_stem, read_coarse
from maskwright.engine.predict import Predictor
from maskwright.engine.refine import refine_folder, refine_logits
from maskwright.errors import BatchError, ConfigError, DataError


@pytest.fixture
def images(squares: Path) -> Path:
    return squares / "test" / "images"


@pytest.fixture
def masks(squares: Path, tmp_path: Path) -> Path:
    """A copy of the test part's masks, 0 and 1."""
    return shutil.copytree(squares / "test" / "masks", tmp_path / "masks")


@pytest.fixture(scope="session")
def untrained_run(refined_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The refiner run with the head of its affinity network at zero, as before the training."""
    run = tmp_path_factory.mktemp("untrained") / "run"
    tensors, metadata = checkpoint.load(refined_run / "model.safetensors")
    heads = {name for name in tensors if ".affinity_net.net.head." in name}
    assert heads
    kept = {name: torch.zeros_like(value) if name in heads else value for name, value in tensors.items()}
    checkpoint.save(run / "model.safetensors", kept, metadata)
    return run


def half_planes() -> np.ndarray:
    """Labels 0 and 1, 6×8 pixels."""
    labels = np.zeros((6, 8), np.uint8)
    labels[:, 5:] = 1
    return labels


def soft() -> np.ndarray:
    """Probabilities with many values, float32, 6×8."""
    return np.linspace(0.02, 0.98, 48, dtype=np.float32).reshape(6, 8)


KINDS: dict[str, Callable[[Path], Path]] = {}


def kind(write: Callable[[Path], Path]) -> Callable[[Path], Path]:
    KINDS[write.__name__] = write
    return write


def saved(path: Path, array: np.ndarray) -> Path:
    if path.suffix == ".png":
        Image.fromarray(array).save(path)
    else:
        np.save(path, array)
    return path


@kind
def labels_png(folder: Path) -> Path:
    return saved(folder / "m.png", half_planes())


@kind
def binary_png(folder: Path) -> Path:
    return saved(folder / "m.png", half_planes() * 255)


@kind
def labels_npy(folder: Path) -> Path:
    return saved(folder / "m.npy", half_planes().astype(np.int64))


@kind
def bool_npy(folder: Path) -> Path:
    return saved(folder / "m.npy", half_planes().astype(bool))


@pytest.mark.parametrize("write", KINDS.values(), ids=KINDS)
def test_hard_masks_of_every_kind_give_the_same_logits(write: Callable[[Path], Path], tmp_path: Path) -> None:
    logits = read_coarse(write(tmp_path), num_classes=2, kind="auto")
    assert logits.shape == (1, 6, 8) and logits.dtype == torch.float32
    expected = np.where(half_planes() == 1, 0.9, 0.1)
    np.testing.assert_allclose(logits.sigmoid()[0].numpy(), expected, atol=1e-6)


def npz(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("form", ["png", "npz", "npy", "npz of two classes", "npz of logits", "npy of logits"])
def test_soft_masks_of_every_kind_keep_their_probabilities(form: str, tmp_path: Path) -> None:
    probabilities = soft()
    logits = np.log(probabilities / (1 - probabilities))
    path = {
        "png": lambda: saved(tmp_path / "m.png", np.rint(probabilities * 255).astype(np.uint8)),
        "npz": lambda: npz(tmp_path / "m.npz", probabilities=probabilities[None].astype(np.float16)),
        "npy": lambda: saved(tmp_path / "m.npy", probabilities),
        "npz of two classes": lambda: npz(
            tmp_path / "m.npz", probabilities=np.stack((1 - probabilities, probabilities))
        ),
        "npz of logits": lambda: npz(tmp_path / "m.npz", logits=logits[None]),
        "npy of logits": lambda: saved(tmp_path / "m.npy", logits),
    }[form]()
    found = read_coarse(path, num_classes=2, kind="auto").sigmoid()
    np.testing.assert_allclose(found[0].numpy(), probabilities, atol=3e-3)


def test_several_classes_keep_their_order(tmp_path: Path) -> None:
    labels = np.arange(48).reshape(6, 8) % 3
    hard = read_coarse(saved(tmp_path / "l.png", labels.astype(np.uint8)), num_classes=3, kind="auto")
    np.testing.assert_array_equal(hard.argmax(0).numpy(), labels)
    np.testing.assert_allclose(hard.softmax(0).max(0).values.numpy(), 0.9, atol=1e-6)
    probabilities = np.stack([soft() / 2, soft() / 2, 1 - soft()])
    path = npz(tmp_path / "p.npz", probabilities=probabilities)
    found = read_coarse(path, num_classes=3, kind="auto").softmax(0).numpy()
    np.testing.assert_allclose(found, probabilities, atol=1e-3)
    with pytest.raises(DataError, match=r"holds 3 channels; expected 4"):
        read_coarse(path, num_classes=4, kind="auto")


def test_values_that_the_kind_does_not_allow_are_named(tmp_path: Path) -> None:
    binary = saved(tmp_path / "b.png", half_planes() * 255)
    with pytest.raises(DataError, match=r"b\.png holds labels 0\.\.255, expected 0\.\.1; .*`binary`"):
        read_coarse(binary, num_classes=2, kind="labels")
    three = saved(tmp_path / "t.png", (np.arange(48).reshape(6, 8) % 3).astype(np.uint8))
    with pytest.raises(DataError, match=r"t\.png holds the values \[0, 1, 2\]; a binary mask"):
        read_coarse(three, num_classes=2, kind="binary")


@pytest.mark.parametrize("soft_mask", [False, True], ids=["hard", "soft"])
def test_an_untrained_refiner_returns_the_mask_exactly(
    soft_mask: bool, untrained_run: Path, images: Path, masks: Path, tmp_path: Path
) -> None:
    if soft_mask:
        values = np.linspace(0, 255, 32 * 32).astype(np.uint8).reshape(32, 32)
        for path in masks.iterdir():
            Image.fromarray(values).save(path)
    for size in (None, 0, 20):  # the size it was trained at, the image's own, another one
        out = tmp_path / f"out_{size}"
        written = refine_folder(untrained_run, images, masks, out, size=size)
        assert [path.name for path in written] == ["test_0.png", "test_1.png", "test_2.png"]
        for path in written:
            stored = np.asarray(Image.open(masks / path.name))
            np.testing.assert_array_equal(read_mask(path), stored >= 128 if soft_mask else stored)


def test_a_trained_refiner_changes_the_mask_and_is_what_the_steps_show(refined_run: Path, images: Path) -> None:
    predictor = Predictor.load(refined_run)
    image = read_image(images / "test_0.png")
    steps = predictor.steps(image)
    refined = refine_logits(predictor, image, steps[0], size=0)
    torch.testing.assert_close(refined, steps[-1], rtol=1e-4, atol=1e-5)
    assert not torch.equal(refined, steps[0])


def test_refined_masks_are_saved_in_every_form(refined_run: Path, images: Path, masks: Path, tmp_path: Path) -> None:
    logits = refine_folder(refined_run, images, masks, tmp_path / "l", save="logits")[0]
    probabilities = refine_folder(refined_run, images, masks, tmp_path / "p", save="probabilities")[0]
    expected = 1 / (1 + np.exp(-read_logits(logits)))
    np.testing.assert_allclose(read_probabilities(probabilities), expected, atol=1e-3)


def test_a_size_that_differs_is_named_and_the_others_are_done(
    refined_run: Path, images: Path, masks: Path, tmp_path: Path
) -> None:
    Image.fromarray(half_planes()).save(masks / "test_1.png")
    with pytest.raises(BatchError, match=r"test_1\.png is 8×6, its image 32×32 pixels"):
        refine_folder(refined_run, images, masks, tmp_path / "out")
    assert names_in(tmp_path / "out") == ["test_0.png", "test_2.png"]


@pytest.mark.parametrize("name", ["test_1.png", "test_1.npz", "test_1.npy"])
@pytest.mark.parametrize("content", [b"", b"no mask", b"PK\x03\x04 cut off"])
def test_a_broken_mask_is_named_and_the_others_are_done(
    name: str, content: bytes, refined_run: Path, images: Path, masks: Path, tmp_path: Path
) -> None:
    (masks / "test_1.png").unlink()
    (masks / name).write_bytes(content)
    with pytest.raises(BatchError, match=r"2 of 3 images done, 1 failed:\s+.*test_1"):
        refine_folder(refined_run, images, masks, tmp_path / "out")
    assert names_in(tmp_path / "out") == ["test_0.png", "test_2.png"]


def test_masks_find_their_images_by_stem(tmp_path: Path, images: Path) -> None:
    for name in ("test_0.png", "test_2_mask.png"):
        (tmp_path / name).touch()
    pairs = pair_by_stem(tmp_path, images, suffixes=IMAGE_SUFFIXES, every_partner=False)
    assert {stem: (image.name, mask.name) for stem, (mask, image) in pairs.items()} == {
        "test_0": ("test_0.png", "test_0.png"),
        "test_2": ("test_2.png", "test_2_mask.png"),
    }


def test_all_masks_that_do_not_pair_up_are_listed(tmp_path: Path) -> None:
    for name in ("images/a.jpg", "images/a.png", "images/b.png", "masks/a.png", "masks/b.png", "masks/b_mask.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "masks" / "lost.png").touch()
    with pytest.raises(DataError, match=r"3 file") as caught:
        pair_by_stem(tmp_path / "masks", tmp_path / "images", suffixes=IMAGE_SUFFIXES, every_partner=False)
    for problem in ("a.png (more than one", "b_mask.png (more than one", "lost.png (nothing of that stem"):
        assert problem in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no mask"):
        pair_by_stem(tmp_path / "empty", tmp_path / "images", suffixes=IMAGE_SUFFIXES, every_partner=False)


def test_masks_are_not_refined_onto_themselves(refined_run: Path, images: Path, masks: Path) -> None:
    before = {path: path.read_bytes() for path in masks.iterdir()}
    with pytest.raises((ConfigError, DataError)):
        refine_folder(refined_run, images, masks, masks)
    assert {path: path.read_bytes() for path in masks.iterdir()} == before


def test_a_run_without_a_refiner_is_refused(trained_run: Path, images: Path, masks: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"without a refiner; expected one of train-refiner"):
        refine_folder(trained_run, images, masks, tmp_path / "out")
