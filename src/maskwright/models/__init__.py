"""Segmentation networks under one interface: `build` a `Segmenter` from a name."""

from .config import ModelConfig
from .segmenter import Segmenter
from .zoo import MODELS, build, logit_channels

__all__ = ["MODELS", "ModelConfig", "Segmenter", "build", "logit_channels"]
