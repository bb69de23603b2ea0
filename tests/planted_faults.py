"""Sets of made-up shapes whose masks are known, and faults planted into them, one of each kind."""

import io
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

COLOURS = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]], np.uint8)
NAMES = ("background", "disc", "bar", "triangle")
VAL_SHARE = 0.2


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The files of one clean sample, and its labels."""

    image: Path
    mask: Path
    labels: np.ndarray

    @property
    def name(self) -> str:
        return f"{self.image.parent.parent.name}/{self.image.stem}"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What was planted: kind, files of which one must be named, and what --fix owes: exact, nearest or left out."""

    code: str
    files: tuple[str, ...]
    owed: str
    sample: str


def draw_shapes(rng: np.random.Generator, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Return RGB and labels: two to four shapes with a texture of their own on a cluttered ground."""
    ground = _texture(rng, height, width, low=40, high=150)
    labels = np.zeros((height, width), np.uint8)
    y, x = np.mgrid[:height, :width]
    picture = ground
    for label in rng.permutation([1, 2, 3])[: rng.integers(2, 4)]:
        cy, cx = rng.uniform(0.25, 0.75) * height, rng.uniform(0.25, 0.75) * width
        size = rng.uniform(0.14, 0.24) * min(height, width)
        angle = rng.uniform(0, np.pi)
        u = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        v = -(x - cx) * np.sin(angle) + (y - cy) * np.cos(angle)
        inside = [
            u**2 + v**2 < size**2,
            (abs(u) < 1.6 * size) & (abs(v) < 0.6 * size),
            (v > -size) & (2 * abs(u) + v < size),
        ]
        inside = inside[label - 1]
        labels[inside] = label
        tone = rng.uniform(0, 255, 3)
        tone += np.where(tone > 95, 60, -60)
        picture = np.where(
            inside[..., None], tone + 0.25 * (_texture(rng, height, width, low=0, high=120) - 60), picture
        )
    return picture.clip(0, 255).astype(np.uint8), labels


def _texture(rng: np.random.Generator, height: int, width: int, *, low: float, high: float) -> np.ndarray:
    coarse = rng.uniform(low, high, (height // 24 + 3, width // 24 + 3, 3))
    smooth = ndimage.zoom(coarse, (24, 24, 1), order=1)[:height, :width]
    return smooth + rng.normal(0, 5, (height, width, 1))


def make_clean(root: Path, count: int, *, seed: int = 0, side: int = 96) -> list[Sample]:
    """Write `count` pairs in train/ and val/: JPEG images, palette PNG masks of four classes."""
    rng = np.random.default_rng(seed)
    samples = []
    for number in range(count):
        part = "val" if number >= count - max(4, int(VAL_SHARE * count)) else "train"
        width = int(side * rng.uniform(1.1, 1.5))
        image, labels = draw_shapes(rng, width, side)
        paths = [
            root / part / kind / f"shape_{number:04d}{end}" for kind, end in (("images", ".jpg"), ("masks", ".png"))
        ]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(paths[0], quality=92)
        save_palette(paths[1], labels)
        samples.append(Sample(image=paths[0], mask=paths[1], labels=labels))
    return samples


def save_palette(path: Path, labels: np.ndarray, colours: np.ndarray = COLOURS) -> None:
    picture = Image.fromarray(labels)
    table = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    table[: len(colours)] = colours
    picture.putpalette(table.tobytes())
    picture.save(path)


def _empty(s: Sample) -> None:
    s.image.write_bytes(b"")


def _truncated(s: Sample) -> None:
    content = s.image.read_bytes()
    s.image.write_bytes(content[: len(content) * 6 // 10])


def _html(s: Sample) -> None:
    s.image.write_text("<!DOCTYPE html><html><body>404 Not Found</body></html>")


def _bomb(s: Sample) -> None:
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0),
        b"IDAT": zlib.compress(bytes(10_000)),
        b"IEND": b"",
    }
    content = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks.items()
    )
    s.image.unlink()
    s.image.with_suffix(".png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def _loop(s: Sample) -> None:
    s.image.unlink()
    s.image.symlink_to(s.image.name)


def _pages(s: Sample) -> None:
    pages = [Image.fromarray(s.labels), Image.fromarray(s.labels)]
    s.mask.unlink()
    pages[0].save(s.mask.with_suffix(".tif"), save_all=True, append_images=pages[1:])


def _no_mask(s: Sample) -> None:
    s.mask.unlink()


def _no_image(s: Sample) -> None:
    s.image.unlink()


def _second_image(s: Sample) -> None:
    Image.open(s.image).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(s.image.with_suffix(".png"))


def _other_case(s: Sample) -> None:
    s.mask.rename(s.mask.with_name(s.mask.name.upper().replace(".PNG", ".png")))


def _cropped(s: Sample) -> None:
    save_palette(s.mask, s.labels[3:, 5:].copy())


def _turned(s: Sample) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    # Orientation 6 shows the stored picture turned clockwise, so the upright one is stored turned the other way.
    Image.open(s.image).transpose(Image.Transpose.ROTATE_90).save(s.image, quality=92, exif=exif)
    save_palette(s.mask, np.rot90(s.labels, 1).copy())


def _outside(s: Sample) -> None:
    labels = s.labels.copy()
    labels[2:7, 2:9] = 17
    save_palette(s.mask, labels)


def _white(s: Sample) -> None:
    Image.fromarray((s.labels > 0).astype(np.uint8) * 255).save(s.mask)


def _colours(s: Sample) -> None:
    Image.fromarray(COLOURS[s.labels]).save(s.mask)


def _scrambled(s: Sample) -> None:
    order = np.array([0, 3, 1, 2], np.uint8)
    table = np.zeros((4, 3), np.uint8)
    table[order] = COLOURS
    save_palette(s.mask, order[s.labels], table)


def _shifted(s: Sample) -> None:
    Image.fromarray(s.labels + 1).save(s.mask)


def _scaled(s: Sample) -> None:
    Image.fromarray(s.labels * 85).save(s.mask)


def _smoothed(s: Sample) -> None:
    small = Image.fromarray(s.labels * np.uint8(85)).resize((s.labels.shape[1] // 2, s.labels.shape[0] // 2))
    Image.fromarray(np.asarray(small.resize(s.labels.shape[::-1], Image.Resampling.BILINEAR))).save(s.mask)


def _jpeg(s: Sample) -> None:
    s.mask.unlink()
    Image.fromarray(COLOURS[s.labels]).save(s.mask.with_suffix(".jpg"), quality=85)


def _alpha(s: Sample) -> None:
    grey = np.repeat(s.labels[..., None], 4, axis=2)
    grey[..., 3] = np.where(s.labels > 0, 255, 0)
    Image.fromarray(grey).save(s.mask)


def _deep(s: Sample) -> None:
    Image.fromarray(s.labels.astype(np.uint16) * 257).save(s.mask)


def _float(s: Sample) -> None:
    s.mask.unlink()
    np.save(s.mask.with_suffix(".npy"), s.labels.astype(np.float32))


def _numbers(s: Sample) -> None:
    numbers = np.zeros_like(s.labels)
    step = s.labels.shape[1] // 12
    for number in range(1, 11):
        numbers[10 : 10 + 2 * step, number * step : (number + 1) * step - 2] = number
    Image.fromarray(numbers).save(s.mask)


Plant = Callable[[Sample], None]
FAULTS: dict[str, tuple[Plant, str, str]] = {
    "empty-file": (_empty, "image", "left out"),
    "damaged-file": (_truncated, "image", "left out"),
    "not-an-image": (_html, "image", "left out"),
    "too-large": (_bomb, "image", "left out"),
    "not-a-file": (_loop, "image", "left out"),
    "several-frames": (_pages, "mask", "left out"),
    "missing-mask": (_no_mask, "image", "left out"),
    "missing-image": (_no_image, "mask", "left out"),
    "duplicate-stem": (_second_image, "image", "left out"),
    "name-differs": (_other_case, "image", "exact"),
    "size-differs": (_cropped, "mask", "left out"),
    "orientation": (_turned, "mask", "exact"),
    "labels-outside": (_outside, "mask", "nearest"),
    "mask-0-255": (_white, "mask", "left out"),
    "mask-rgb": (_colours, "mask", "exact"),
    "palette-differs": (_scrambled, "mask", "exact"),
    "label-shift": (_shifted, "mask", "exact"),
    "mask-scaled": (_scaled, "mask", "exact"),
    "mask-antialiased": (_smoothed, "mask", "nearest"),
    "mask-lossy": (_jpeg, "mask", "nearest"),
    "mask-alpha": (_alpha, "mask", "exact"),
    "mask-16-bit": (_deep, "mask", "exact"),
    "mask-float": (_float, "mask", "exact"),
    "instance-numbers": (_numbers, "mask", "left out"),
}
"""Kind → what plants it, which file it is in, and what --fix owes."""


def plant_all(root: Path, samples: list[Sample]) -> list[Fault]:
    """Plant one fault of each kind, each into another sample of the training part that has all that it needs."""
    faults = []
    training = [s for s in samples if s.image.is_relative_to(root / "train") and len(np.unique(s.labels)) == 4]
    free = training[:: max(1, len(training) // (len(FAULTS) + 2))]
    for (code, (plant, where, owed)), sample in zip(FAULTS.items(), free, strict=False):
        plant(sample)
        stem = getattr(sample, where).with_suffix("").relative_to(root)
        faults.append(Fault(code=code, files=(str(stem).lower(),), owed=owed, sample=sample.name))
    twin = free[len(FAULTS)]
    last = samples[-1]
    stream = io.BytesIO()
    with Image.open(last.image) as opened:
        picture = opened.convert("RGB")
    picture.resize((picture.width * 3 // 4, picture.height * 3 // 4)).save(stream, "JPEG", quality=80)
    twin.image.write_bytes(stream.getvalue())
    size = (picture.width * 3 // 4, picture.height * 3 // 4)
    save_palette(twin.mask, np.asarray(Image.fromarray(last.labels).resize(size, Image.Resampling.NEAREST)))
    names = tuple(str(s.image.with_suffix("").relative_to(root)).lower() for s in (twin, last))
    faults.append(Fault(code="same-image", files=names, owed="left out", sample=twin.name))
    assert len(faults) == len(FAULTS) + 1, "too few samples of four classes"
    return faults


def tree_hash(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return mode, size and bytes of every file, links not followed."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder) / name
            state = path.lstat()
            content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
            found[str(path.relative_to(root))] = (state.st_mode, state.st_size, content)
    return found


def fresh(root: Path) -> Path:
    """Return an empty folder."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    return root
