"""Tiny made-up copies of data sets: pictures, masks and the message of a fault."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskwright.errors import DataError
from maskwright.types import Splits

HEIGHT, WIDTH = 6, 9


def put(path: Path, pixels: np.ndarray) -> Path:
    """Write a picture; its folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def put_photo(path: Path, *, height: int = HEIGHT, width: int = WIDTH) -> Path:
    """Write a grey photograph."""
    return put(path, np.full((height, width, 3), 90, np.uint8))


def values(*stored: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A mask that repeats these values."""
    return np.resize(np.array(stored, np.uint8), (height, width))


def put_mask(path: Path, *stored: int) -> Path:
    """Write a mask that repeats these values."""
    return put(path, values(*stored))


def put_segments(path: Path, content: Mapping[int, tuple[np.ndarray, list[dict[str, Any]]]], **fields: Any) -> Path:
    """Write a panoptic file of COCO and its PNGs: image id → number of each pixel's segment, and segments_info."""
    annotations = []
    for image, (ids, segments) in content.items():
        pixels = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
        put(path.with_suffix("") / f"{image:06}.png", pixels)
        annotations.append({"image_id": image, "file_name": f"{image:06}.png", "segments_info": segments})
    path.write_text(json.dumps({"annotations": annotations, **fields}))
    return path


def labels_of(splits: Splits, part: str = "train", index: int = 0) -> list[int]:
    """The different labels of one sample."""
    return sorted(getattr(splits, part)[index].target.unique().tolist())


def fault_of(action: Callable[[], object]) -> str:
    """The message of the DataError that an action raises."""
    with pytest.raises(DataError) as caught:
        action()
    return str(caught.value)
