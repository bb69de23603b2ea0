"""What sets of masks mean: habits of many, slips of one, and how the labels are had back."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy import ndimage

from maskwright.data.doctor.diagnosis import Diagnosis, diagnose, habit_code
from maskwright.data.doctor.encoding import Known, Reading, read_set
from maskwright.data.doctor.facts import Item, MaskFacts
from maskwright.data.doctor.probe import probe
from maskwright.data.doctor.recipe import Recipe, apply_recipe
from maskwright.data.doctor.samples import read_samples, turned
from planted_faults import COLOURS, draw_shapes, save_palette

Store = Callable[[Path, np.ndarray], Path]
NOBODY = Known()
TABLE = Known(colours={0: 0, 0x800000: 1, 0x8000: 2, 0x808000: 3})


def png(change: Callable[[np.ndarray], np.ndarray]) -> Store:
    def store(stem: Path, labels: np.ndarray) -> Path:
        path = stem.with_suffix(".png")
        Image.fromarray(change(labels)).save(path)
        return path

    return store


def npy(change: Callable[[np.ndarray], np.ndarray]) -> Store:
    def store(stem: Path, labels: np.ndarray) -> Path:
        path = stem.with_suffix(".npy")
        np.save(path, change(labels))
        return path

    return store


def jpeg(stem: Path, labels: np.ndarray) -> Path:
    path = stem.with_suffix(".jpg")
    Image.fromarray(COLOURS[labels]).save(path, quality=90)
    return path


def own_palette(stem: Path, labels: np.ndarray) -> Path:
    order = np.concatenate([[0], np.random.default_rng(len(stem.name) + ord(stem.name[-1])).permutation([1, 2, 3])])
    table = np.zeros((4, 3), np.uint8)
    table[order] = COLOURS
    save_palette(stem.with_suffix(".png"), order.astype(np.uint8)[labels], table)
    return stem.with_suffix(".png")


def clear(labels: np.ndarray) -> np.ndarray:
    return np.dstack([np.zeros((*labels.shape, 3), np.uint8), (labels > 0).astype(np.uint8) * 255])


def facts_of(path: Path) -> MaskFacts:
    mask = probe(Item(name="a", masks=(path,))).mask
    assert mask is not None
    return mask


def read_all(
    folder: Path, store: Store, known: Known, *, binary: bool
) -> tuple[Reading, list[Diagnosis], list[Path], list[np.ndarray]]:
    rng = np.random.default_rng(7)
    truths, paths = [], []
    for number in range(12):
        labels = draw_shapes(rng, 90, 70)[1]
        labels = (labels > 0).astype(np.uint8) if binary else labels
        truths.append(labels)
        paths.append(store(folder / f"m{number:02d}", labels))
    masks = [facts_of(path) for path in paths]
    reading = read_set(masks, known)
    return reading, [diagnose(mask, reading) for mask in masks], paths, truths


SETS: dict[str, tuple[Store, bool, Known, str, str, str]] = {
    "labels": (png(lambda a: a), False, NOBODY, "labels", "", ""),
    "named labels": (png(lambda a: a), False, Known(count=5), "labels", "", ""),
    "0 and 255": (png(lambda a: a * 255), True, NOBODY, "binary", "mask-0-255", ""),
    "0 and 3": (png(lambda a: a * 3), True, NOBODY, "binary", "mask-0-255", ""),
    "said binary": (png(lambda a: a * 255), True, Known(foreground=255, own=True), "binary", "", ""),
    "from one": (png(lambda a: a + 1), False, NOBODY, "shifted", "label-shift", ""),
    "unlabelled zero": (png(lambda a: a + 1), False, Known(count=4), "shifted", "label-shift", ""),
    "stretched": (png(lambda a: a * 85), False, NOBODY, "scaled", "mask-scaled", ""),
    "unevenly": (png(lambda a: np.array([0, 86, 170, 255], np.uint8)[a]), False, NOBODY, "scaled", "mask-scaled", ""),
    "16 bits stretched": (png(lambda a: a.astype(np.uint16) * 257), False, NOBODY, "scaled", "mask-scaled", ""),
    "floats": (npy(lambda a: a.astype(np.float32)), False, NOBODY, "labels", "", "mask-float"),
    "probabilities": (npy(lambda a: (0.1 + 0.8 * a).astype(np.float32)), True, NOBODY, "labels", "", "mask-probabilities"),
    "opacity": (png(clear), True, NOBODY, "labels", "", "mask-alpha"),
    "colours": (png(lambda a: COLOURS[a]), False, TABLE, "colours", "mask-rgb", ""),
    "own palettes": (own_palette, False, TABLE, "palettes", "palette-differs", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", SETS)
def test_habits_are_told_and_labels_had_back(tmp_path: Path, name: str) -> None:
    store, binary, known, habit, whole, single = SETS[name]
    reading, diagnoses, paths, truths = read_all(tmp_path, store, known, binary=binary)
    assert reading.habit == habit
    assert habit_code(reading) == whole
    assert {diagnosis.code for diagnosis in diagnoses} == {single}
    for path, diagnosis, truth in zip(paths, diagnoses, truths, strict=True):
        assert diagnosis.recipe is not None
        assert (apply_recipe(read_samples(path, path.read_bytes()), diagnosis.recipe) == truth).all()


def outlined(labels: np.ndarray) -> np.ndarray:
    inside = ndimage.binary_erosion(labels > 0)
    return (labels > 0).astype(np.uint8) + inside


def shrunk(labels: np.ndarray) -> np.ndarray:
    """Resize as if labels were brightness: lines of other labels appear between two."""
    return np.asarray(Image.fromarray(labels).resize((135, 105), Image.Resampling.BILINEAR))


def test_a_class_of_outlines_is_no_anti_aliasing(tmp_path: Path) -> None:
    reading, diagnoses, paths, truths = read_all(tmp_path, png(outlined), NOBODY, binary=False)
    assert (reading.habit, reading.count, reading.lined) == ("labels", 3, True)
    for path, diagnosis, truth in zip(paths, diagnoses, truths, strict=True):
        assert diagnosis.code == "" and diagnosis.recipe is not None
        assert (apply_recipe(read_samples(path, path.read_bytes()), diagnosis.recipe) == outlined(truth)).all()


def test_labels_that_were_resized_are_no_outlines(tmp_path: Path) -> None:
    reading, diagnoses, _, _ = read_all(tmp_path, png(shrunk), NOBODY, binary=False)
    assert not reading.lined
    assert sum(diagnosis.code == "mask-antialiased" for diagnosis in diagnoses) > 6


def test_unknown_colours_are_numbered_black_first(tmp_path: Path) -> None:
    reading, _, _, _ = read_all(tmp_path, png(lambda a: COLOURS[a]), NOBODY, binary=False)
    assert (reading.habit, habit_code(reading), reading.count) == ("colours", "colours-unknown", 4)
    assert reading.table[0] == 0


def test_lossy_colours_are_read_but_for_mixtures(tmp_path: Path) -> None:
    _, diagnoses, paths, truths = read_all(tmp_path, jpeg, TABLE, binary=False)
    for path, diagnosis, truth in zip(paths, diagnoses, truths, strict=True):
        assert diagnosis.code == "mask-lossy" and diagnosis.recipe is not None
        labels = apply_recipe(read_samples(path, path.read_bytes()), diagnosis.recipe)
        assert ((labels == truth) | (labels == 255)).mean() > 0.999
        assert (labels == 255).mean() < 0.12


def test_numbers_of_objects_are_no_classes(tmp_path: Path) -> None:
    masks = []
    for count in (6, 9, 12, 7):
        numbers = np.zeros((40, 130), np.uint16)
        for number in range(count):
            numbers[5:20, 10 * number : 10 * number + 8] = number + 1
        Image.fromarray(numbers).save(tmp_path / "a.png")
        masks.append(facts_of(tmp_path / "a.png"))
    reading = read_set(masks, NOBODY)
    assert (reading.habit, habit_code(reading)) == ("instances", "instance-numbers")
    recipe = diagnose(masks[0], reading).recipe
    assert recipe is not None and recipe.threshold == 0.5


def test_a_rare_class_is_no_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    masks = []
    for number in range(40):
        labels = draw_shapes(rng, 60, 50)[1]
        if number == 11:
            labels[:8, :8] = 4
        Image.fromarray(labels).save(tmp_path / "a.png")
        masks.append(facts_of(tmp_path / "a.png"))
    reading = read_set(masks, NOBODY)
    assert reading.count == 5
    assert not [code for mask in masks if (code := diagnose(mask, reading).code)]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_is_pillows(orientation: int) -> None:
    values = np.arange(15, dtype=np.uint8).reshape(3, 5)
    picture = Image.fromarray(values)
    picture.getexif()[0x0112] = orientation
    assert (turned(values, orientation) == np.asarray(ImageOps.exif_transpose(picture))).all()


def test_a_value_without_a_label_is_refused_where_none_may_be(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1, 9]], np.uint8)).save(tmp_path / "a.png")
    samples = read_samples(tmp_path / "a.png", (tmp_path / "a.png").read_bytes())
    with pytest.raises(ValueError, match="9"):
        apply_recipe(samples, Recipe(table={0: 0, 1: 1}))
    assert apply_recipe(samples, Recipe(table={0: 0, 1: 1}, others="ignored")).tolist() == [[0, 1, 255]]


@pytest.mark.parametrize(("value", "label"), [(10, 0), (127, 0), (128, 1), (250, 1)])
def test_of_two_values_the_nearest(tmp_path: Path, value: int, label: int) -> None:
    Image.fromarray(np.array([[0, value, 255]], np.uint8)).save(tmp_path / "a.png")
    samples = read_samples(tmp_path / "a.png", (tmp_path / "a.png").read_bytes())
    assert apply_recipe(samples, Recipe(table={0: 0, 255: 1}, others="nearest", thin=True)).tolist() == [[0, label, 1]]
