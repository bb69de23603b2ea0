"""A folder of outputs remembers what made it: what other settings made is never taken for finished."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from folders import names_in
from maskwright.data.io import read_image
from maskwright.data.naming import list_images
from maskwright.engine.batch import RECORD, digest_of, run_batch
from maskwright.errors import BatchError, ConfigError


def convert(folder: Path, **settings: str | int | None) -> list[str]:
    """Run a batch of two files that writes the settings' values, and return what was written now."""
    done = []

    def do(path: Path) -> None:
        (folder / f"{path.name}.out").write_text(str(sorted(settings.items())))
        done.append(path.name)

    folder.mkdir(exist_ok=True)
    inputs = [folder.parent / name for name in ("a", "b")]
    run_batch(
        {path: folder / f"{path.name}.out" for path in inputs}, do, label="convert", settings=settings, memory_advice=""
    )
    return done


def test_equal_settings_go_on_where_they_stopped(tmp_path: Path) -> None:
    assert convert(tmp_path / "out", size=3, run="x") == ["a", "b"]
    (tmp_path / "out" / "a.out").unlink()
    assert convert(tmp_path / "out", size=3, run="x") == ["a"]
    assert names_in(tmp_path / "out") == ["a.out", "b.out"]


def test_outputs_of_other_settings_are_neither_kept_nor_replaced(tmp_path: Path) -> None:
    convert(tmp_path / "out", size=3, run="x")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(ConfigError, match=r"out holds files made with another size, run; choose another --out"):
        convert(tmp_path / "out", size=None, run="y")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_outputs_that_nothing_is_known_of_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.out").write_text("mine")
    with pytest.raises(ConfigError, match="unknown origin"):
        convert(tmp_path / "out", size=3)
    assert names_in(tmp_path / "out") == ["b.out"]
    assert (tmp_path / "out" / "b.out").read_text() == "mine"


def test_other_files_in_the_folder_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert convert(tmp_path / "out", size=3) == ["a", "b"]


@pytest.mark.parametrize("content", ["", "[]", "3", "{}", "no json"])
def test_a_damaged_record_is_named(tmp_path: Path, content: str) -> None:
    convert(tmp_path / "out", size=3)
    (tmp_path / "out" / RECORD).write_text(content)
    with pytest.raises(ConfigError, match="out"):
        convert(tmp_path / "out", size=3)


def test_a_folder_whose_outputs_were_deleted_is_free_again(tmp_path: Path) -> None:
    convert(tmp_path / "out", size=3)
    for name in ("a.out", "b.out"):
        (tmp_path / "out" / name).unlink()
    assert convert(tmp_path / "out", size=4) == ["a", "b"]


def test_the_digest_is_the_contents(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"abc")
    assert digest_of(tmp_path / "one") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_loop_of_links_is_one_failure_among_others(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(images / "good.png")
    (images / "loop.png").symlink_to("loop.png")
    done = []
    outputs = {path: tmp_path / "out" / f"{path.name}.out" for path in list_images(images)}

    def do(path: Path) -> None:
        done.append(read_image(path))

    with pytest.raises(BatchError, match=r"1 of 2 images done, 1 failed:\s+.*loop\.png"):
        run_batch(outputs, do, label="convert", settings={}, memory_advice="")
    assert len(done) == 1
