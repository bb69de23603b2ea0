"""Decoding: every kind of file gives what the docstrings say or an error with its name, whatever is wrong with it."""

import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskwright.data.io import read_image, read_labels, read_logits, read_mask, read_probabilities, write_mask
from maskwright.data.naming import list_images, output_names
from maskwright.errors import DataError, ImageError, MaskwrightError, WriteError

AWKWARD = Path(__file__).parents[3] / "shared" / "data" / "awkward_images"

# EXIF orientation: what must be done to the stored pixels to see them upright (EXIF 2.3, tag 0x0112).
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


def noise(*shape: int, dtype: str = "uint8", high: int = 256) -> np.ndarray:
    return np.random.default_rng(0).integers(0, high, shape).astype(dtype)


def png(width: int, height: int, bits: int, colour_type: int, rows: bytes) -> bytes:
    """A PNG of raw scanlines, each led by its filter byte, for the kinds that Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def refused(path: Path, reader=read_image) -> str:
    """The message with which `reader` refuses the file; it names the file."""
    with pytest.raises(ImageError) as caught:
        reader(path)
    assert path.name in str(caught.value)
    return str(caught.value)


# Images


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_orientation_is_applied_to_images(tmp_path: Path, kind: str, orientation: int) -> None:
    stored = np.kron(noise(2, 3, 3), np.ones((16, 16, 1), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(stored)
    path = tmp_path / "photo"
    path.write_bytes(encoded(picture, kind, exif=exif, quality=100))
    seen = read_image(path).astype(int)
    expected = UPRIGHT[orientation](stored).astype(int)
    assert seen.shape == expected.shape
    assert np.abs(seen - expected)[4::8, 4::8].max() < 40  # lossy; block centres


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("mode", ["L", "P", "1", "I;16"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_orientation_is_applied_to_masks_in_the_same_way(
    tmp_path: Path, kind: str, mode: str, orientation: int
) -> None:
    stored = noise(5, 3, high=2)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(stored.astype(bool) if mode == "1" else stored.astype("u2") if mode == "I;16" else stored)
    if mode == "P":
        picture.putpalette([9, 9, 9, 200, 0, 0])
    path = tmp_path / "mask.png"
    path.write_bytes(encoded(picture, kind, exif=exif))
    np.testing.assert_array_equal(read_mask(path), UPRIGHT[orientation](stored))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_levels(tmp_path: Path, kind: str) -> None:
    ramp = np.linspace(0, 65535, 4096).astype("u2").reshape(64, 64)
    path = tmp_path / "ramp"
    path.write_bytes(encoded(Image.fromarray(ramp), kind))
    seen = read_image(path)
    assert len(np.unique(seen)) >= 250
    assert seen.min() == 0 and seen.max() == 255
    assert (np.diff(seen[..., 0].ravel().astype(int)) >= 0).all()


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_16_bit_colour_tiff_keeps_the_high_byte(tmp_path: Path, planar: str, byteorder: str, compression: str) -> None:
    stored = noise(12, 17, 3, dtype="u2", high=65536)
    path = tmp_path / "rgb.tif"
    data = np.ascontiguousarray(np.moveaxis(stored, 2, 0)) if planar == "separate" else stored
    tifffile.imwrite(path, data, photometric="rgb", planarconfig=planar, byteorder=byteorder, compression=compression)
    np.testing.assert_array_equal(read_image(path), stored >> 8)


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3)])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_float_tiff_in_the_unit_range_is_scaled(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    stored = noise(*shape)
    path = tmp_path / "float.tif"
    tifffile.imwrite(path, (stored / 255).astype(dtype), photometric="rgb" if len(shape) == 3 else "minisblack")
    seen = read_image(path)
    np.testing.assert_array_equal(seen if len(shape) == 3 else seen[..., 1], stored)


@pytest.mark.parametrize("value", [-0.1, 1.5, np.nan])
def test_float_tiff_outside_the_unit_range_is_refused(tmp_path: Path, value: float) -> None:
    tifffile.imwrite(tmp_path / "float.tif", np.array([[0.5, value]], "f4"))
    assert "0..1" in refused(tmp_path / "float.tif")


def test_each_mode_has_its_stated_colours(tmp_path: Path) -> None:
    half_red = Image.new("RGBA", (3, 2), (255, 0, 0, 128))
    palette = Image.new("P", (3, 2), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    cases = [
        (Image.new("1", (3, 2), 1), "PNG", {}, (255, 255, 255)),
        (Image.new("L", (3, 2), 77), "PNG", {}, (77, 77, 77)),
        (Image.new("LA", (3, 2), (0, 0)), "PNG", {}, (255, 255, 255)),
        (half_red, "PNG", {}, (255, 127, 127)),
        (palette, "PNG", {}, (10, 20, 30)),
        (palette, "PNG", {"transparency": 1}, (255, 255, 255)),
        (palette, "GIF", {}, (10, 20, 30)),
        (Image.new("CMYK", (3, 2), (255, 0, 0, 0)), "TIFF", {}, (0, 255, 255)),
        (Image.new("CMYK", (3, 2), (0, 255, 255, 0)), "JPEG", {"quality": 100}, (255, 0, 0)),
    ]
    for picture, kind, options, colour in cases:
        (tmp_path / "picture").write_bytes(encoded(picture, kind, **options))
        seen = read_image(tmp_path / "picture")
        assert seen.shape == (2, 3, 3) and seen.dtype == np.uint8
        assert np.abs(seen.astype(int) - colour).max() <= 2, (picture.mode, kind, seen[0, 0])


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_several_frames_or_pages_are_refused(tmp_path: Path, kind: str) -> None:
    frames = [Image.fromarray(noise(8, 8, 3) // (n + 1)) for n in range(3)]
    (tmp_path / "film").write_bytes(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert "several frames or pages" in refused(tmp_path / "film")


def test_the_first_picture_of_a_phone_jpeg_is_read(tmp_path: Path) -> None:
    photo, preview = Image.new("RGB", (16, 8), (200, 200, 200)), Image.new("RGB", (4, 2))
    (tmp_path / "phone.jpg").write_bytes(encoded(photo, "MPO", save_all=True, append_images=[preview]))
    assert read_image(tmp_path / "phone.jpg").shape == (8, 16, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 20000), (20000, 1), (7, 13)])
def test_any_shape_and_any_name(tmp_path: Path, size: tuple[int, int]) -> None:
    stored = noise(*size, 3)
    path = tmp_path / "a b.%s {} ü\n.x.JPG"
    path.write_bytes(encoded(Image.fromarray(stored), "PNG"))
    np.testing.assert_array_equal(read_image(path), stored)


def test_a_bomb_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    side = 30000
    (tmp_path / "bomb.png").write_bytes(png(side, side, 1, 0, bytes(side // 8 + 1) * side))
    script = (
        "import resource, sys, pathlib; from maskwright.data.io import read_image; from maskwright.errors import *\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "before = peak()\n"
        "try: read_image(pathlib.Path(sys.argv[1]))\n"
        "except ImageError as error: print(peak() - before, error)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "bomb.png"], check=True, capture_output=True, text=True, timeout=60
    )
    megabytes, message = run.stdout.split(maxsplit=1)
    assert int(megabytes) < 50 and "900000000 pixels" in message


def test_the_pixel_limit_is_the_callers_and_not_pillows(tmp_path: Path) -> None:
    for name, kind in (("a.png", "PNG"), ("a.tif", "TIFF"), ("a.jpg", "JPEG")):
        (tmp_path / name).write_bytes(encoded(Image.fromarray(noise(10, 10)), kind))
        assert read_image(tmp_path / name, max_pixels=100).shape == (10, 10, 3)
        with pytest.raises(ImageError, match="10 x 10 = 100 pixels"):
            read_image(tmp_path / name, max_pixels=99)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "PPM"])
def test_every_cut_is_refused(tmp_path: Path, kind: str) -> None:
    whole = encoded(Image.fromarray(noise(16, 16, 3)), kind)
    slack = 4 if kind == "PNG" else 0  # the checksum of the empty end chunk
    for length in range(0, len(whole) - slack, max(len(whole) // 60, 1)):
        (tmp_path / "cut").write_bytes(whole[:length])
        refused(tmp_path / "cut")


def test_damaged_bytes_give_a_result_or_a_named_error(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    colour = Image.fromarray(noise(12, 11, 3))
    files = [encoded(colour.convert(mode), "PNG") for mode in ("RGBA", "L", "P", "1")]
    files += [encoded(colour.convert(mode), "JPEG") for mode in ("RGB", "CMYK")]
    files += [encoded(colour, kind) for kind in ("WEBP", "GIF", "BMP", "PPM", "TIFF")]
    for whole in files:
        for _ in range(40):
            damaged = bytearray(whole)
            for place in random.integers(0, len(whole), 3):
                damaged[place] = random.integers(0, 256)
            (tmp_path / "damaged").write_bytes(damaged)
            for reader in (read_image, read_mask, read_probabilities):
                try:
                    assert reader(tmp_path / "damaged").size > 0
                except MaskwrightError as error:
                    assert "damaged" in str(error)


def test_what_pillow_warns_of_does_not_leak(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description that is longer than what is left of the block"
    photo = encoded(Image.fromarray(noise(8, 8, 3)), "JPEG", exif=exif.tobytes()[:40])
    (tmp_path / "photo.jpg").write_bytes(photo)
    with pytest.warns(UserWarning), Image.open(tmp_path / "photo.jpg") as picture:
        picture.getexif()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "photo.jpg").shape == (8, 8, 3)


def test_a_flipped_bit_of_png_data_is_refused(tmp_path: Path) -> None:
    whole = bytearray(encoded(Image.fromarray(noise(16, 16)), "PNG", compress_level=0))
    whole[len(whole) // 2] ^= 1
    (tmp_path / "flip.png").write_bytes(whole)
    refused(tmp_path / "flip.png")


@pytest.mark.timeout(30)
def test_what_is_no_image_file_is_refused_without_waiting(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    listed = list_images(tmp_path)
    assert len(listed) == 5
    for path in [*listed, tmp_path / "missing.png"]:
        for reader in (read_image, read_mask, read_probabilities):
            refused(path, reader)
    assert "0 bytes" in refused(tmp_path / "empty.png")
    assert "folder" in refused(tmp_path / "folder.png")


@pytest.mark.skipif(not AWKWARD.is_dir(), reason="the awkward images are not there")
def test_sweep_of_the_awkward_images() -> None:
    upright = []
    for path in sorted(AWKWARD.rglob("*.*g")):
        try:
            image = read_image(path)
            assert not path.name.startswith("x") or path.parent.name != "pngsuite", f"{path.name} is broken"
            upright += [image] if path.name.startswith("Landscape") else []
        except ImageError as error:
            assert path.name.startswith("x") and path.name in str(error)
    small = np.stack([np.asarray(Image.fromarray(image).resize((30, 20)), float) for image in upright])
    assert np.abs(small - small[0]).mean(axis=(1, 2, 3)).max() < 12


# Masks


def test_a_palette_mask_gives_its_indices_and_a_bilevel_one_0_and_1(tmp_path: Path) -> None:
    labels = noise(6, 7, high=4)
    picture = Image.fromarray(labels)
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        (tmp_path / "mask").write_bytes(encoded(picture, kind))
        np.testing.assert_array_equal(read_mask(tmp_path / "mask"), labels, err_msg=kind)
    for kind in ("PNG", "BMP", "TIFF"):
        (tmp_path / "mask").write_bytes(encoded(Image.fromarray(labels > 1), kind))
        np.testing.assert_array_equal(read_mask(tmp_path / "mask"), labels > 1, err_msg=kind)


@pytest.mark.parametrize(("bits", "packed", "samples"), [(2, b"\x1b", [0, 1, 2, 3]), (4, b"\x01\x9f", [0, 1, 9, 15])])
def test_narrow_grey_masks_give_their_stored_samples(
    tmp_path: Path, bits: int, packed: bytes, samples: list[int]
) -> None:
    (tmp_path / "mask.png").write_bytes(png(4, 1, bits, 0, b"\0" + packed))
    assert read_mask(tmp_path / "mask.png").tolist() == [samples]


@pytest.mark.parametrize("dtype", ["i1", "u2", "i2", "u4", "i4", "i8", "u8"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff_masks_of_every_integer_type(tmp_path: Path, dtype: str, byteorder: str, compression: str) -> None:
    labels = noise(6, 7, dtype=dtype, high=100)
    tifffile.imwrite(tmp_path / "mask.tif", labels, byteorder=byteorder, compression=compression)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.tif"), labels)


def test_wide_labels_are_kept_by_read_labels_and_named_by_read_mask(tmp_path: Path) -> None:
    labels = np.array([[0, 255, 300], [300, 7, 65535]], "u2")
    Image.fromarray(labels).save(tmp_path / "wide.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "wide.png"), labels)
    assert "300 (2 pixels), 65535 (1 pixel)" in refused(tmp_path / "wide.png", read_mask)
    np.save(tmp_path / "wide.npy", np.array([[0, -1]]))
    assert "-1 (1 pixel)" in refused(tmp_path / "wide.npy", read_mask)


def test_array_masks(tmp_path: Path) -> None:
    labels = noise(4, 5, dtype=">i8", high=11)
    np.save(tmp_path / "mask.npy", labels)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.npy"), labels)
    for wrong in (labels.astype(float), labels[0], labels[None], np.zeros((0, 3), int), labels.astype(object)):
        np.save(tmp_path / "wrong.npy", wrong, allow_pickle=True)
        refused(tmp_path / "wrong.npy", read_mask)


def test_colour_masks_are_refused_with_their_colours_unless_grey(tmp_path: Path) -> None:
    grey = noise(4, 5, high=11)
    (tmp_path / "grey.png").write_bytes(encoded(Image.fromarray(np.stack([grey] * 3, -1)), "PNG"))
    np.testing.assert_array_equal(read_mask(tmp_path / "grey.png"), grey)
    opaque = np.dstack([grey, grey, grey, np.full_like(grey, 255)])
    Image.fromarray(opaque).save(tmp_path / "opaque.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "opaque.png"), grey)
    opaque[0, 0, 3] = 0
    Image.fromarray(opaque).save(tmp_path / "clear.png")
    assert "transparent" in refused(tmp_path / "clear.png", read_mask)
    Image.new("RGB", (3, 2), (128, 0, 16)).save(tmp_path / "colour.png")
    message = refused(tmp_path / "colour.png", read_mask)
    assert "#800010 (6 pixels)" in message and "which colour is which class" in message


def test_masks_whose_labels_were_changed_by_their_format_are_refused(tmp_path: Path) -> None:
    mask = Image.fromarray(noise(8, 8, high=3))
    for name, kind, options in (
        ("a.jpg", "JPEG", {}),
        ("a.webp", "WEBP", {}),
        ("a.tif", "TIFF", {"compression": "jpeg"}),
        ("a.pgm", "PPM", {}),
    ):
        (tmp_path / name).write_bytes(encoded(mask, kind, **options))
        assert "cannot be trusted" in refused(tmp_path / name, read_mask)
    (tmp_path / "rgb16.png").write_bytes(png(1, 1, 16, 2, b"\0" + struct.pack(">3H", 3, 3, 3)))
    assert "cut to 8 bits" in refused(tmp_path / "rgb16.png", read_mask)


@pytest.mark.parametrize("palette", [None, np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]], np.uint8)])
def test_a_written_mask_is_read_back_unchanged(tmp_path: Path, palette: np.ndarray | None) -> None:
    labels = np.array([[0, 1, 2], [255, 254, 3]], np.int64)
    write_mask(tmp_path / "mask.png", labels, palette=palette)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), labels)
    if palette is not None:
        np.testing.assert_array_equal(read_image(tmp_path / "mask.png")[0], palette)


def test_a_mask_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError):
        write_mask(tmp_path / "file" / "mask.png", np.zeros((2, 2), np.uint8))
    for wrong in (
        np.zeros((2, 2)),
        np.zeros((1, 2, 2), int),
        np.array([[256]]),
        np.array([[-1]]),
        np.zeros((0, 2), int),
    ):
        with pytest.raises(DataError):
            write_mask(tmp_path / "mask.png", wrong)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# Probabilities and logits


def test_probabilities_of_pictures(tmp_path: Path) -> None:
    grey, deep = noise(4, 5), noise(4, 5, dtype="u2", high=65536)
    Image.fromarray(grey).save(tmp_path / "8.png")
    Image.fromarray(deep).save(tmp_path / "16.png")
    Image.fromarray(grey > 99).save(tmp_path / "1.png")
    tifffile.imwrite(tmp_path / "f.tif", (grey / 255).astype("f4"))
    for name, expected in (
        ("8.png", grey / 255),
        ("16.png", deep / 65535),
        ("1.png", grey > 99),
        ("f.tif", grey / 255),
    ):
        seen = read_probabilities(tmp_path / name)
        assert seen.shape == (1, 4, 5) and seen.dtype == np.float32
        np.testing.assert_allclose(seen[0], expected, atol=1e-6)


def test_a_label_map_is_not_taken_for_probabilities(tmp_path: Path) -> None:
    labels = noise(4, 5, high=2)
    Image.fromarray(labels).save(tmp_path / "mask.png")
    with pytest.raises(DataError, match="label map"):
        read_probabilities(tmp_path / "mask.png")
    write_mask(tmp_path / "mask.png", labels, palette=np.zeros((2, 3), np.uint8))
    with pytest.raises(DataError, match="label map"):
        read_probabilities(tmp_path / "mask.png")


def test_probability_arrays(tmp_path: Path) -> None:
    one = np.random.default_rng(0).random((4, 5))
    two = np.stack([one, 1 - one])
    for array in (one, one > 0.5, two):
        np.save(tmp_path / "p.npy", array)
        np.savez(tmp_path / "only.npz", array)
        np.savez(tmp_path / "named.npz", other=np.zeros(3), probabilities=array)
        for name in ("p.npy", "only.npz", "named.npz"):
            np.testing.assert_allclose(read_probabilities(tmp_path / name), array.reshape(-1, 4, 5), atol=1e-6)
    for wrong in (one * np.nan, one + 1, one - 1, np.moveaxis(two, 0, 2), one[0], np.zeros((0, 4)), one.astype(int)):
        np.save(tmp_path / "p.npy", wrong)
        with pytest.raises(DataError, match="p.npy"):
            read_probabilities(tmp_path / "p.npy")
    np.savez(tmp_path / "two.npz", a=one, b=one)
    assert "probabilities" in refused(tmp_path / "two.npz", read_probabilities)


def test_logit_arrays(tmp_path: Path) -> None:
    logits = np.random.default_rng(0).normal(0, 9, (3, 4, 5))
    np.savez(tmp_path / "l.npz", names=np.zeros(2), logits=logits)
    np.testing.assert_allclose(read_logits(tmp_path / "l.npz"), logits, rtol=1e-6)
    np.save(tmp_path / "l.npy", logits[0])
    assert read_logits(tmp_path / "l.npy").shape == (1, 4, 5)
    for wrong in (logits.astype(int), logits * np.inf, logits[None]):
        np.save(tmp_path / "l.npy", wrong)
        with pytest.raises(DataError, match="l.npy"):
            read_logits(tmp_path / "l.npy")


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_pickles_are_refused_and_not_run(tmp_path: Path) -> None:
    payload = np.array([Payload(tmp_path / "run")], dtype=object)
    np.save(tmp_path / "object.npy", payload, allow_pickle=True)
    np.savez(tmp_path / "object.npz", logits=payload, probabilities=payload)
    for path in (tmp_path / "object.npy", tmp_path / "object.npz"):
        for reader in (read_logits, read_probabilities):
            refused(path, reader)
    assert not (tmp_path / "run").exists()


def test_cut_arrays_are_refused(tmp_path: Path) -> None:
    whole = io.BytesIO()
    np.save(whole, np.zeros((9, 9)))
    (tmp_path / "cut.npy").write_bytes(whole.getvalue()[:-8])
    (tmp_path / "text.npz").write_text("text")
    for name in ("cut.npy", "text.npz"):
        refused(tmp_path / name, read_probabilities)
        refused(tmp_path / name, read_logits)


# Names


def test_images_are_listed_by_suffix_without_subfolders_or_hidden_files(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "notes.txt", ".hidden.png", "c.npy"):
        (tmp_path / name).touch()
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a.png").touch()
    assert [path.name for path in list_images(tmp_path)] == ["a.jpg", "b.PNG"]
    with pytest.raises(DataError, match="nowhere"):
        list_images(tmp_path / "nowhere")


def test_outputs_never_share_a_name() -> None:
    paths = [Path("in") / name for name in ("a.jpg", "a.png", "a.jpg.tif", "b.jpg", "C.png", "c.tif", "d.x.png")]
    names = output_names(paths)
    assert names[Path("in/a.jpg")] == "a.jpg" and names[Path("in/b.jpg")] == "b" and names[Path("in/d.x.png")] == "d.x"
    assert len({name.casefold() for name in names.values()}) == len(paths)
    assert output_names(paths[::-1]) == names
    with pytest.raises(DataError, match="a.jpg"):
        output_names([Path("x/a.jpg"), Path("y/a.jpg")])
