"""Grouping of pixels without training: Gaussian blurring mean shift.

labels, modes = segment(image)                     # RGB uint8 (H, W, 3)
modes = mean_shift(points, bandwidth=0.5)          # any points (N, D)
"""

from .mean_shift import mean_shift
from .segment import segment

__all__ = ["mean_shift", "segment"]
