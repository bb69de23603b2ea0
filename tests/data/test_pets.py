"""Oxford-IIIT Pet in its official layout: lists, trimaps, both meanings of the border, and what may be missing."""

from pathlib import Path

import numpy as np
import pooch
import pytest
import torch
from PIL import Image

from maskwright.data.pets import ARCHIVES, PetsDataset, open_pets
from maskwright.errors import DataError

REAL = Path(__file__).parents[3] / "shared" / "data" / "pets"
TRAINVAL = ("Abyssinian_2", "pug_10", "Abyssinian_1")
TEST = ("beagle_3",)
TRIMAP = np.array([[2, 2, 2, 2], [2, 3, 3, 2], [3, 1, 1, 3]], np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tiny data set in the official layout."""
    (tmp_path / "images").mkdir()
    (tmp_path / "annotations" / "trimaps").mkdir(parents=True)
    for part, names in {"trainval": TRAINVAL, "test": TEST}.items():
        lines = ["#Image CLASS-ID SPECIES BREED ID", *(f"{name} 1 1 1" for name in names), ""]
        (tmp_path / "annotations" / f"{part}.txt").write_text("\n".join(lines))
        for grey, name in enumerate(names):
            Image.new("RGB", (4, 3), (50 * grey, 100, 200)).save(tmp_path / "images" / f"{name}.jpg", quality=100)
            put_trimap(tmp_path, name, TRIMAP)
    return tmp_path


def put_trimap(root: Path, name: str, trimap: np.ndarray) -> None:
    Image.fromarray(trimap).save(root / "annotations" / "trimaps" / f"{name}.png")


def fault(root: Path, part: str = "trainval") -> str:
    with pytest.raises(DataError) as caught:
        PetsDataset(root, part, border="pet")[0]
    return str(caught.value)


def test_the_official_lists_are_the_parts_in_their_order(root: Path) -> None:
    splits = open_pets(root, border="pet")
    assert (splits.train.names, splits.val, splits.test.names) == (TRAINVAL, None, TEST)
    assert splits.classes == ("background", "pet")


def test_a_sample_is_the_picture_of_its_name(root: Path) -> None:
    dataset = PetsDataset(root, "trainval", border="pet")
    assert len(dataset) == 3
    for grey, (name, sample) in enumerate(zip(TRAINVAL, (dataset[i] for i in range(3)), strict=True)):
        assert sample.name == name
        assert sample.image.shape == (3, 3, 4)
        assert sample.image.dtype == sample.target.dtype == torch.uint8
        colour = sample.image.float().mean((1, 2))
        torch.testing.assert_close(colour, torch.tensor([50.0 * grey, 100, 200]), rtol=0, atol=4)


@pytest.mark.parametrize(("border", "label"), [("pet", 1), ("ignore", 255)])
def test_the_border_counts_as_pet_or_is_ignored(root: Path, border: str, label: int) -> None:
    target = PetsDataset(root, "test", border=border)[0].target
    assert target.tolist() == [[0, 0, 0, 0], [0, label, label, 0], [label, 1, 1, label]]


def test_all_missing_files_are_counted_and_the_first_named(root: Path) -> None:
    (root / "images" / "pug_10.jpg").unlink()
    (root / "annotations" / "trimaps" / "pug_10.png").unlink()
    (root / "annotations" / "trimaps" / "Abyssinian_1.png").unlink()
    message = fault(root)
    assert "lacks 3 file(s) that trainval.txt names" in message
    for missing in ("images/pug_10.jpg", "annotations/trimaps/pug_10.png", "annotations/trimaps/Abyssinian_1.png"):
        assert missing in message


def test_a_folder_of_another_layout_says_what_was_expected(tmp_path: Path) -> None:
    message = fault(tmp_path)
    assert "trainval.txt is missing" in message
    assert "annotations/trimaps/" in message


def test_an_empty_list_is_an_error(root: Path) -> None:
    (root / "annotations" / "test.txt").write_text("# nothing\n\n")
    assert "names no picture" in fault(root, "test")


@pytest.mark.parametrize("label", [0, 4, 255])
def test_a_label_that_no_trimap_has_is_named(root: Path, label: int) -> None:
    trimap = TRIMAP.copy()
    trimap[0, 0] = label
    put_trimap(root, "beagle_3", trimap)
    message = fault(root, "test")
    assert "beagle_3.png" in message
    assert str(label) in message


def test_a_trimap_of_another_size_is_named_with_both(root: Path) -> None:
    put_trimap(root, "beagle_3", TRIMAP[:2])
    message = fault(root, "test")
    assert "beagle_3.jpg is 4×3" in message
    assert "4×2" in message


def test_without_a_folder_the_archives_are_fetched_by_their_checksums(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}
    monkeypatch.setattr(pooch, "os_cache", lambda _name: root.parent)
    root.rename(root.parent / "pets")
    monkeypatch.setattr(pooch, "retrieve", lambda url, known_hash, *_args, **_options: asked.update({url: known_hash}))
    assert open_pets(None, border="pet").train.names == TRAINVAL
    assert {url.rpartition("/")[2]: known_hash for url, known_hash in asked.items()} == {
        archive: f"sha256:{sha256}" for archive, sha256 in ARCHIVES.items()
    }
    assert all(len(bytes.fromhex(sha256)) == 32 for sha256 in ARCHIVES.values())


@pytest.mark.parametrize("failure", [ConnectionError("no route"), ValueError("SHA256 hash does not match")])
def test_a_failed_download_says_how_to_do_without(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise failure

    monkeypatch.setattr(pooch, "retrieve", fail)
    with pytest.raises(DataError, match="pets:DIR") as caught:
        open_pets(None, border="pet")
    assert str(failure) in str(caught.value)


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data/pets is absent")
def test_the_real_layout() -> None:
    splits = open_pets(REAL, border="ignore")
    assert (len(splits.train), len(splits.test)) == (653, 315)
    assert set(splits.test[0].target.unique().tolist()) == {0, 1, 255}
