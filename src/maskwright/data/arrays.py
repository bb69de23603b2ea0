"""A data set that lies in memory as arrays."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..types import Sample


class ArrayDataset:
    """Images and label maps as arrays; satisfies `Dataset`.

    Args:
        images: uint8, (N, H, W) grey or (N, H, W, 3) RGB.
        targets: uint8, (N, H, W), labels or 255 = ignored.
        classes: class names, index = label.
        prefix: the samples are called `prefix_00000` and so on.
    """

    def __init__(
        self, images: NDArray[np.uint8], targets: NDArray[np.uint8], *, classes: Sequence[str], prefix: str
    ) -> None:
        self.images = images
        self.targets = targets
        self.classes = tuple(classes)
        self.names = tuple(f"{prefix}_{i:05d}" for i in range(len(images)))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        image = torch.from_numpy(self.images[index])
        image = image.expand(3, -1, -1) if image.ndim == 2 else image.permute(2, 0, 1)
        return Sample(name=self.names[index], image=image, target=torch.from_numpy(self.targets[index]))
