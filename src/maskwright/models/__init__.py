"""Segmentation networks under one interface: `build` a `Segmenter` from a name."""

from .config import ModelConfig
from .segmenter import Segmenter
from .zoo import MODELS, build, class_names, logit_channels, self_contained

__all__ = ["MODELS", "ModelConfig", "Segmenter", "build", "class_names", "logit_channels", "self_contained"]
