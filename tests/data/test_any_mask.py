"""Masks of any tool: every form of one and the same mask is read as that mask, and what may be two things is refused."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskwright.data.any_mask import Stored, contents_of, read_stored
from maskwright.data.mask_kinds import kind_of, labels_of, probabilities_of
from maskwright.errors import ConfigError, DataError, ImageError, MaskwrightError

SIZE = (7, 9)
LABELS = np.random.default_rng(0).integers(0, 3, SIZE).astype(np.uint8)
BINARY = (LABELS == 1).astype(np.uint8)
COLOURS = ((0, 0, 0), (255, 0, 0), (0, 0, 255))


def one_hot(labels: np.ndarray, count: int) -> np.ndarray:
    return (np.arange(count)[:, None, None] == labels).astype(np.float32)


def save(path: Path, values: np.ndarray, *, palette: bool = False, **arrays: np.ndarray) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, values)
    else:
        picture = Image.fromarray(values)
        if palette:
            picture.putpalette(bytes(np.array(COLOURS[::-1], np.uint8).ravel()))
        picture.save(path)
    return path


def kind(path: Path, *, truth: bool = False, num_classes: int | None = None, **settings: object) -> str:
    contents = [contents_of(read_stored(path, like=SIZE, num_classes=num_classes), path)]
    option = "--kind"
    return kind_of(contents, num_classes=num_classes, truth=truth, folder=path.parent, option=option, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("soft", ["probabilities", "logits"])
def test_soft_masks_of_classes_give_their_labels(tmp_path: Path, channels_last: bool, suffix: str, soft: str) -> None:
    values = 0.8 * one_hot(LABELS, 3) + 0.2 / 3 if soft == "probabilities" else 7 * one_hot(LABELS, 3) - 3
    values = np.moveaxis(values, 0, -1) if channels_last else values
    path = save(tmp_path / f"a{suffix}", values, arr=values)
    stored = read_stored(path, like=SIZE, num_classes=3)
    assert kind(path, num_classes=3) == soft
    np.testing.assert_array_equal(labels_of(stored, soft, path=path), LABELS)  # type: ignore[arg-type]
    shares = probabilities_of(stored, soft, path=path)  # type: ignore[arg-type]
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("a.png", np.where(BINARY, 200, 90).astype(np.uint8) + np.arange(9, dtype=np.uint8)),
        ("a.png", (np.where(BINARY, 200, 90) * 256 + np.arange(63).reshape(SIZE)).astype(np.uint16)),
        ("a.tif", np.where(BINARY, 0.5, 0.4999).astype(np.float32)),
        ("a.npy", np.where(BINARY, 0.7, 0.1)),
        ("a.npy", np.where(BINARY, 0.7, 0.1)[None]),
        ("a.npy", np.where(BINARY, 0.7, 0.1)[..., None]),
        ("a.npy", np.where(BINARY, 0.7, 0.1)[None, None, :, :, None]),
    ],
)
def test_soft_masks_of_one_channel_are_cut_at_a_half(tmp_path: Path, name: str, values: np.ndarray) -> None:
    if name == "a.png" and values.dtype == np.uint8:
        values = np.add(values, np.arange(7, dtype=np.uint8)[:, None])
    path = save(tmp_path / name, values)
    assert kind(path) == "probabilities"
    stored = read_stored(path, like=SIZE)
    np.testing.assert_array_equal(labels_of(stored, "probabilities", path=path), BINARY)


def test_logits_of_one_channel_are_cut_at_zero_even_where_their_sigmoid_rounds_to_a_half(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npy", np.where(BINARY, 0.0, -1e-9) - 3 * (LABELS == 2))
    np.testing.assert_array_equal(labels_of(read_stored(path), "logits", path=path), BINARY)


def test_extreme_logits_are_finite_probabilities(tmp_path: Path) -> None:
    for values in (np.array([[-1e30, 1e30]]), np.array([[[-1e30, 1e30]], [[1e30, -1e30]]])):
        stored = Stored(storage="floats", values=np.atleast_3d(values) if values.ndim == 3 else values[None])
        shares = probabilities_of(stored, "logits", path=tmp_path)
        assert np.isfinite(shares).all() and shares.min() >= 0 and shares.max() <= 1


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (BINARY, "labels"),
        (BINARY * 255, "binary"),
        (BINARY.astype(np.uint16) * 255, "binary"),
        (BINARY.astype(np.uint16) * 65535, "binary"),
        (np.where(LABELS == 2, 255, BINARY).astype(np.uint8), "labels"),
        (LABELS, "labels"),
        (np.zeros(SIZE, np.uint8), "labels"),
        (BINARY.astype(bool), "labels"),
    ],
)
def test_what_true_integers_mean(tmp_path: Path, values: np.ndarray, found: str) -> None:
    assert kind(save(tmp_path / "a.npy", values), truth=True) == found


def test_0_and_255_are_labels_where_there_are_more_classes(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", BINARY * 255)
    assert kind(path, truth=True, num_classes=3) == "labels"
    assert kind(path, truth=True, num_classes=2) == "binary"
    assert kind(path, truth=True, num_classes=2, ignore=255) == "labels"


def test_twenty_labels_of_more_than_two_classes_are_no_probabilities(tmp_path: Path) -> None:
    values = np.arange(63, dtype=np.uint8).reshape(SIZE) % 21
    assert kind(save(tmp_path / "a.png", values), num_classes=21) == "labels"


@pytest.mark.parametrize(
    ("values", "truth", "says"),
    [
        (BINARY * 7, True, "--kind binary or --kind labels"),
        (np.full(SIZE, 255, np.uint8), True, "--kind labels or --kind binary"),
        (np.arange(63, dtype=np.uint8).reshape(SIZE), False, "--kind labels or --kind probabilities"),
        (np.arange(63).reshape(SIZE) % 7 * 1.0, False, "--kind logits"),
        (np.linspace(0, 1, 63).reshape(SIZE), True, "--kind probabilities"),
        (np.where(BINARY, 0.05, -0.05), False, "--kind probabilities or --kind logits"),
    ],
)
def test_what_may_be_two_things_names_the_option_that_decides(
    tmp_path: Path, values: np.ndarray, truth: bool, says: str
) -> None:
    path = save(tmp_path / "a.npy", values)
    with pytest.raises(DataError) as caught:
        kind(path, truth=truth)
    assert says in " ".join(str(caught.value).split())


def test_twenty_integers_beside_two_classes_may_be_labels_that_the_truth_lacks(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.arange(63, dtype=np.uint8).reshape(SIZE) % 21)
    with pytest.raises(DataError, match="up to 20, .*--kind labels or --kind probabilities"):
        kind(path, num_classes=2)


def test_whole_numbers_of_several_channels_are_logits(tmp_path: Path) -> None:
    assert kind(save(tmp_path / "a.npy", one_hot(LABELS, 3) * 4.0)) == "logits"


def test_a_folder_is_judged_as_a_whole(tmp_path: Path) -> None:
    soft = save(tmp_path / "soft.png", (np.arange(63).reshape(SIZE) * 4).astype(np.uint8))
    hard = save(tmp_path / "hard.png", BINARY * 255)
    contents = [contents_of(read_stored(path), path) for path in (hard, soft)]
    settings = {"num_classes": 2, "truth": False, "folder": tmp_path, "option": "--kind"}
    assert kind_of(contents, **settings) == "probabilities"  # type: ignore[arg-type]
    assert kind_of(contents[:1], **settings) == "binary"  # type: ignore[arg-type]


def test_floats_among_integers_are_refused(tmp_path: Path) -> None:
    paths = [save(tmp_path / "a.npy", BINARY), save(tmp_path / "b.npy", BINARY * 0.5)]
    contents = [contents_of(read_stored(path), path) for path in paths]
    with pytest.raises(DataError, match=r"floats \(b.npy\) and integers \(a.npy\)"):
        kind_of(contents, num_classes=2, truth=False, folder=tmp_path, option="--kind")


def test_an_unknown_kind_and_one_that_does_not_fit_are_named(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", BINARY)
    with pytest.raises(ConfigError, match="expected one of auto, labels"):
        kind(path, kind="heatmap")
    with pytest.raises(DataError, match="holds integers, which cannot be logits"):
        kind(path, kind="logits")


def test_class_masks_of_0_and_1_become_labels(tmp_path: Path) -> None:
    for values in (one_hot(LABELS, 3).astype(np.uint8), np.moveaxis(one_hot(LABELS, 3), 0, -1).astype(bool)):
        stored = read_stored(save(tmp_path / "a.npy", values), like=SIZE, num_classes=3)
        assert stored.storage == "integers"
        np.testing.assert_array_equal(stored.values, LABELS)


def test_a_palette_is_read_by_its_indices_or_by_colours_that_are_all_of_the_table(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", LABELS, palette=True)  # index i shows colour 2 - i
    plain = read_stored(path)
    np.testing.assert_array_equal(plain.values, LABELS)
    by_colour = read_stored(path, colours=COLOURS)
    assert by_colour.storage == "colours"
    np.testing.assert_array_equal(by_colour.values, np.array(COLOURS[::-1], np.uint8)[LABELS])
    other = read_stored(path, colours=((9, 9, 9), (8, 8, 8)))
    np.testing.assert_array_equal(other.values, LABELS)


def test_black_rgb_among_coloured_masks_is_a_colour(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.zeros((*SIZE, 3), np.uint8))
    assert read_stored(path, colours=COLOURS).storage == "colours"
    assert read_stored(path).storage == "integers"


def test_colours_without_a_table_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.array(COLOURS, np.uint8)[LABELS])
    with pytest.raises(ImageError, match="which colour is which class"):
        read_stored(path)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.full(SIZE, np.nan), "63 of 63 values are NaN"),
        (np.zeros((2, 3, 7, 9)), "has shape"),
        (np.zeros((0, 9)), "holds float64 of shape"),
        (np.zeros(SIZE, "S3"), r"holds \|S3"),
        (np.full((3, *SIZE), 5), "class masks of 0 and 1"),
        (np.zeros((5, 5, 5)), "may be"),
    ],
)
def test_arrays_that_are_no_mask_are_named(tmp_path: Path, values: np.ndarray, says: str) -> None:
    path = save(tmp_path / "a.npy", values)
    with pytest.raises(MaskwrightError, match=says):
        read_stored(path)


def test_probabilities_that_do_not_sum_to_one_are_refused_and_logits_taken_all_the_same(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npy", 0.9 * one_hot(LABELS, 3) + 0.05)
    stored = read_stored(path, like=SIZE)
    with pytest.raises(DataError, match="sum to"):
        probabilities_of(stored, "probabilities", path=path)
    np.testing.assert_array_equal(labels_of(stored, "logits", path=path), LABELS)


def test_broken_files_are_named(tmp_path: Path) -> None:
    for name in ("a.png", "b.npy", "c.npz", "d.tif"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(ImageError, match=name):
            read_stored(tmp_path / name)


def test_many_values_are_counted_but_not_kept(tmp_path: Path) -> None:
    values = np.arange(40_000, dtype=np.uint16).reshape(200, 200)
    one = contents_of(read_stored(save(tmp_path / "a.png", values)), tmp_path / "a.png")
    assert (one.distinct, len(one.integers), one.integers[-1], one.largest) == (40_000, 300, 39_999, 65_535)
