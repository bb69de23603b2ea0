"""Refining masks of any tool: every kind of file is read for what it is, and an untrained refiner changes nothing."""

import re
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
from maskwright.engine.mask import refine_mask
from maskwright.engine.masks import pair_by_stem, read_coarse, read_mask_alone
from maskwright.engine.predict import Predictor, predict_folder
from maskwright.engine.refine import refine_folder
from maskwright.engine.trained import TrainedRefiner
from maskwright.errors import BatchError, ConfigError, DataError
from maskwright.refine.kinds import guess_kind
from maskwright.refine.methods import METHODS


@pytest.fixture
def images(squares: Path) -> Path:
    return squares / "test" / "images"


@pytest.fixture
def masks(squares: Path, tmp_path: Path) -> Path:
    """A copy of the test part's masks, 0 and 1."""
    return shutil.copytree(squares / "test" / "masks", tmp_path / "masks")


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
        written = refine_folder(images, masks, out, refiner=untrained_run, size=size)
        assert [path.name for path in written] == ["test_0.png", "test_1.png", "test_2.png"]
        for path in written:
            stored = np.asarray(Image.open(masks / path.name))
            np.testing.assert_array_equal(read_mask(path), stored >= 128 if soft_mask else stored)


def test_a_trained_refiner_changes_the_mask_and_is_what_the_steps_show(refined_run: Path, images: Path) -> None:
    predictor = Predictor.load(refined_run)
    image = read_image(images / "test_0.png")
    steps = predictor.steps(image)
    refined = TrainedRefiner(refined_run, size=0).logits(steps[0], image)
    torch.testing.assert_close(refined, steps[-1], rtol=1e-4, atol=1e-5)
    assert not torch.equal(refined, steps[0])


def test_refined_masks_are_saved_in_every_form(refined_run: Path, images: Path, masks: Path, tmp_path: Path) -> None:
    logits = refine_folder(images, masks, tmp_path / "l", refiner=refined_run, save="logits")[0]
    probabilities = refine_folder(images, masks, tmp_path / "p", refiner=refined_run, save="probabilities")[0]
    expected = 1 / (1 + np.exp(-read_logits(logits)))
    np.testing.assert_allclose(read_probabilities(probabilities), expected, atol=1e-3)


def test_a_size_that_differs_is_named_and_the_others_are_done(
    refined_run: Path, images: Path, masks: Path, tmp_path: Path
) -> None:
    Image.fromarray(half_planes()).save(masks / "test_1.png")
    with pytest.raises(BatchError, match=r"test_1\.png is 8×6, its image 32×32 pixels"):
        refine_folder(images, masks, tmp_path / "out", refiner=refined_run)
    assert names_in(tmp_path / "out") == ["test_0.png", "test_2.png"]


@pytest.mark.parametrize("name", ["test_1.png", "test_1.npz", "test_1.npy"])
@pytest.mark.parametrize("content", [b"", b"no mask", b"PK\x03\x04 cut off"])
def test_a_broken_mask_is_named_and_the_others_are_done(
    name: str, content: bytes, refined_run: Path, images: Path, masks: Path, tmp_path: Path
) -> None:
    (masks / "test_1.png").unlink()
    (masks / name).write_bytes(content)
    with pytest.raises(BatchError, match=r"2 of 3 images done, 1 failed:\s+.*test_1"):
        refine_folder(images, masks, tmp_path / "out", refiner=refined_run)
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
        refine_folder(images, masks, masks, refiner=refined_run)
    assert {path: path.read_bytes() for path in masks.iterdir()} == before


def test_a_run_without_a_refiner_is_refused(trained_run: Path, images: Path, masks: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"without a refiner; expected one of train-refiner"):
        refine_folder(images, masks, tmp_path / "out", refiner=trained_run)


def whole_range() -> np.ndarray:
    return np.linspace(0, 255, 32 * 32).astype(np.uint8).reshape(32, 32)


def three_labels() -> np.ndarray:
    """Labels 0, 2 and 5, 32×32 pixels, with an ignored corner."""
    labels = np.zeros((32, 32), np.uint8)
    labels[6:20, 4:14], labels[10:28, 18:30], labels[:3, :3] = 2, 5, 255
    return labels


def write_all(masks: Path, array: np.ndarray) -> None:
    for path in masks.iterdir():
        Image.fromarray(array).save(path)


@pytest.mark.parametrize("suffix", [".png", ".npy"])
@pytest.mark.parametrize(
    "array",
    [half_planes(), half_planes() * 255, half_planes() * 7, three_labels(), whole_range()],
    ids=["0/1", "0/255", "0/7", "labels", "grey"],
)
def test_a_file_is_guessed_to_hold_what_its_array_is(array: np.ndarray, suffix: str, tmp_path: Path) -> None:
    path = saved(tmp_path / f"m{suffix}", array)
    if suffix == ".npy" and len(np.unique(array)) > 16:
        with pytest.raises(DataError, match=r"m\.npy: holds uint8; expected float or bool"):
            read_mask_alone(path, kind="auto")
    else:
        assert read_mask_alone(path, kind="auto").kind == guess_kind(array)


@pytest.mark.parametrize("array", [whole_range() / np.float32(255), whole_range() / 9 - np.float32(14)])
def test_a_file_of_floats_is_guessed_to_hold_what_its_array_is(array: np.ndarray, tmp_path: Path) -> None:
    assert read_mask_alone(saved(tmp_path / "m.npy", array), kind="auto").kind == guess_kind(array)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_refines_files_as_it_does_arrays(method: str, images: Path, masks: Path, tmp_path: Path) -> None:
    written = refine_folder(images, masks, tmp_path / "labels", method=method)
    assert [path.name for path in written] == ["test_0.png", "test_1.png", "test_2.png"]
    for path in written:
        image, mask = read_image(images / path.name), np.asarray(Image.open(masks / path.name))
        np.testing.assert_array_equal(read_mask(path), refine_mask(image, mask, method=method))
    write_all(masks, whole_range())
    soft_masks = refine_folder(images, masks, tmp_path / "soft", method=method, save="probabilities")
    for path in soft_masks:
        image = read_image(images / f"{path.stem}.png")
        expected = refine_mask(image, whole_range() / np.float32(255), method=method)
        np.testing.assert_allclose(read_probabilities(path)[0], expected, rtol=0, atol=1e-3)
    logits = refine_folder(images, masks, tmp_path / "logits", method=method, save="logits")[0]
    np.testing.assert_allclose(1 / (1 + np.exp(-read_logits(logits))), read_probabilities(soft_masks[0]), atol=2e-3)


def test_a_method_takes_files_smaller_than_their_images(images: Path, masks: Path, tmp_path: Path) -> None:
    shares = np.random.default_rng(0).dirichlet(np.full(3, 0.3), size=(8, 4)).transpose(2, 0, 1).astype(np.float32)
    for path in sorted(masks.iterdir()):
        path.unlink()
        saved(path.with_suffix(".npy"), shares)
    with pytest.raises(BatchError, match=r"test_0\.npy is 4×8, its image 32×32 pixels; .* set to estimate or shares"):
        refine_folder(images, masks, tmp_path / "refused", method="guided")
    for smaller in ("estimate", "shares"):
        out = tmp_path / smaller
        for path in refine_folder(images, masks, out, method="guided", smaller=smaller, save="probabilities"):
            image = read_image(images / f"{path.stem}.png")
            expected = refine_mask(image, shares, method="guided", smaller=smaller)
            np.testing.assert_allclose(read_probabilities(path), expected, atol=1e-3)
        labels = refine_folder(images, masks, tmp_path / f"{smaller}_labels", method="guided", smaller=smaller)
        np.testing.assert_array_equal(read_mask(labels[-1]), expected.argmax(0))
    with pytest.raises(ConfigError, match="made with another smaller"):
        refine_folder(images, masks, tmp_path / "shares", method="guided", smaller="estimate", save="probabilities")


def test_a_label_map_keeps_to_its_labels_in_every_form(images: Path, masks: Path, tmp_path: Path) -> None:
    write_all(masks, three_labels())
    labels = read_mask(refine_folder(images, masks, tmp_path / "l", method="guided")[0])
    np.testing.assert_array_equal(labels == 255, three_labels() == 255)
    assert set(np.unique(labels)) <= {0, 2, 5, 255}
    assert (labels != three_labels()).any()
    probabilities = read_probabilities(
        refine_folder(images, masks, tmp_path / "p", method="guided", save="probabilities")[0]
    )
    assert probabilities.shape == (6, 32, 32) and (probabilities[[1, 3, 4]] == 0).all()
    known = labels != 255
    own = np.take_along_axis(probabilities, np.where(known, labels, 0)[None], 0)[0]
    np.testing.assert_allclose(own[known], probabilities.max(0)[known], atol=1e-3)
    none = refine_folder(images, masks, tmp_path / "none", method="none")[0]
    np.testing.assert_array_equal(read_mask(none), three_labels())


@pytest.mark.parametrize("value", [0, 1, 7, 255])
@pytest.mark.parametrize("kind", ["auto", "labels", "binary"])
def test_a_mask_of_one_value_is_written_as_it_is(
    value: int, kind: str, images: Path, masks: Path, tmp_path: Path
) -> None:
    write_all(masks, np.full((32, 32), value, np.uint8))
    labels = read_mask(refine_folder(images, masks, tmp_path / "o", method="dense_crf", mask_kind=kind)[0])  # type: ignore[arg-type]
    is_binary = kind == "binary" or (kind == "auto" and value == 255)
    assert (labels == (min(value, 1) if is_binary else value)).all()


def test_masks_that_a_method_cannot_take_are_named_and_the_others_are_done(
    images: Path, masks: Path, tmp_path: Path
) -> None:
    saved(masks / "test_0.png", half_planes())
    saved(masks / "test_1.png", (np.arange(32 * 32).reshape(32, 32) % 20).astype(np.uint8))
    with pytest.raises(BatchError) as caught:
        refine_folder(images, masks, tmp_path / "out", method="guided")
    assert "test_0.png is 8×6, its image 32×32 pixels" in str(caught.value)
    assert re.search(r"test_1\.png holds 20 different integers .* say which kind", str(caught.value))
    assert names_in(tmp_path / "out") == ["test_2.png"]
    saved(masks / "test_0.png", three_labels())
    refine_folder(images, masks, tmp_path / "labels", method="guided", mask_kind="labels")
    masks.joinpath("test_1.png").unlink()
    saved(masks / "test_1.npy", np.where(three_labels() == 5, 300, 0))
    with pytest.raises(BatchError, match=r"test_1\.npy holds label 300; expected 0\.\.254"):
        refine_folder(images, masks, tmp_path / "large", method="guided", mask_kind="labels")


def test_outputs_of_another_method_are_not_taken_for_finished(
    refined_run: Path, images: Path, masks: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    refine_folder(images, masks, out, method="guided")
    refine_folder(images, masks, out, method="guided")
    with pytest.raises(ConfigError, match="made with another method"):
        refine_folder(images, masks, out, method="none")
    with pytest.raises(ConfigError, match="made with another refiner"):
        refine_folder(images, masks, out, refiner=refined_run)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"refiner": Path("run"), "method": "guided"}, r"both refiner and method"),
        ({"method": "gided"}, r"unknown method 'gided'; did you mean guided\?"),
        (
            {"method": ""},
            r"unknown method ''; expected one of bundled, dense_crf, dense_crf:deeplab, dense_crf:pydensecrf, guided, none",
        ),
        ({"method": "."}, r"method \. is a folder; give the run of a trained refiner as --refiner"),
        (
            {"method": "guided", "device": "cuda"},
            r"device cuda is given beside the method guided, which works on the CPU",
        ),
        ({"device": "cuda"}, r"device cuda is given beside the method bundled"),
        ({"smaller": "larger"}, r"unknown smaller 'larger'; expected one of refuse, estimate, shares"),
        ({"smaller": "shares", "refiner": Path("run")}, r"smaller shares is given beside a refiner"),
        ({"method": "guided", "size": 64}, r"size 64 is given beside the method guided"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_is_written(
    settings: dict[str, object], message: str, images: Path, masks: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        refine_folder(images, masks, tmp_path / "out", **settings)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_the_processor_may_be_named_beside_a_method(images: Path, masks: Path, tmp_path: Path) -> None:
    assert len(refine_folder(images, masks, tmp_path / "out", method="none", device="cpu")) == 3


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_where_memory_ends_the_advice_is_one_that_can_be_followed(
    error: Exception, refined_run: Path, images: Path, masks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("maskwright.engine.refine.apply_method", fail)
    monkeypatch.setattr("maskwright.engine.refine.TrainedRefiner.logits", fail)
    monkeypatch.setattr("maskwright.engine.predict.Predictor.logits", fail)
    with pytest.raises(BatchError, match="test_0.png: out of memory; free some, or refine smaller copies") as caught:
        refine_folder(images, masks, tmp_path / "method", method="guided")
    assert "--size" not in str(caught.value)
    with pytest.raises(BatchError, match="out of memory; refine at a smaller --size"):
        refine_folder(images, masks, tmp_path / "run", refiner=refined_run)
    with pytest.raises(BatchError, match="out of memory; use a run with a smaller data.size"):
        predict_folder(refined_run, images, tmp_path / "predicted")
