"""maskwright trains segmenters, refines the masks of any segmenter, groups pixels, and measures whether masks got better.

    import maskwright

    run = maskwright.train_segmenter(config, Path("runs/mine"))    # or the command `maskwright train`
    predictor = maskwright.Predictor.load(run)
    logits = predictor.logits(image)                               # RGB uint8 (H, W, 3) → float32 (C, H, W)

The names below are loaded when they are first used, since most of them bring PyTorch along.
"""

import importlib
from typing import TYPE_CHECKING, Any

from maskwright.ops import kernel_cache

__version__ = "0.1.0.dev0"

_HOMES = {
    "maskwright.data.catalog": ("DataConfig", "open_data"),
    "maskwright.data.io": ("read_image", "read_mask", "read_probabilities", "write_mask"),
    "maskwright.data.transforms": ("AugmentConfig",),
    "maskwright.engine.cluster": ("cluster_folder",),
    "maskwright.engine.config": ("RefinerRunConfig", "SegmenterRunConfig", "TrainConfig"),
    "maskwright.engine.evaluate": ("evaluate_folders", "evaluate_run"),
    "maskwright.engine.mask": ("refine_mask",),
    "maskwright.engine.predict": ("Predictor", "predict_folder"),
    "maskwright.engine.refine": ("refine_folder",),
    "maskwright.engine.reporting": ("report_runs",),
    "maskwright.engine.run": ("load_model",),
    "maskwright.engine.train": ("train_refiner", "train_segmenter"),
    "maskwright.errors": ("MaskwrightError",),
    "maskwright.metrics": ("EvaluationMeter",),
    "maskwright.models": ("ModelConfig", "Segmenter"),
    "maskwright.refine": ("CSPN", "DySPN", "RefinerConfig"),
    "maskwright.refine.dense_crf": ("CRFParameters", "dense_crf"),
    "maskwright.refine.outcome": ("RefinementReport",),
    "maskwright.types": ("EvaluationResult", "Prediction", "RefinedMask", "Sample"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

# Before any module loads a kernel.
kernel_cache.provide()

if TYPE_CHECKING:
    from maskwright.data.catalog import DataConfig, open_data
    from maskwright.data.io import read_image, read_mask, read_probabilities, write_mask
    from maskwright.data.transforms import AugmentConfig
    from maskwright.engine.cluster import cluster_folder
    from maskwright.engine.config import RefinerRunConfig, SegmenterRunConfig, TrainConfig
    from maskwright.engine.evaluate import evaluate_folders, evaluate_run
    from maskwright.engine.mask import refine_mask
    from maskwright.engine.predict import Predictor, predict_folder
    from maskwright.engine.refine import refine_folder
    from maskwright.engine.reporting import report_runs
    from maskwright.engine.run import load_model
    from maskwright.engine.train import train_refiner, train_segmenter
    from maskwright.errors import MaskwrightError
    from maskwright.metrics import EvaluationMeter
    from maskwright.models import ModelConfig, Segmenter
    from maskwright.refine import CSPN, DySPN, RefinerConfig
    from maskwright.refine.dense_crf import CRFParameters, dense_crf
    from maskwright.refine.outcome import RefinementReport
    from maskwright.types import EvaluationResult, Prediction, RefinedMask, Sample

__all__ = [
    "CSPN",
    "AugmentConfig",
    "CRFParameters",
    "DataConfig",
    "DySPN",
    "EvaluationMeter",
    "EvaluationResult",
    "MaskwrightError",
    "ModelConfig",
    "Prediction",
    "Predictor",
    "RefinedMask",
    "RefinementReport",
    "RefinerConfig",
    "RefinerRunConfig",
    "Sample",
    "Segmenter",
    "SegmenterRunConfig",
    "TrainConfig",
    "__version__",
    "cluster_folder",
    "dense_crf",
    "evaluate_folders",
    "evaluate_run",
    "load_model",
    "open_data",
    "predict_folder",
    "read_image",
    "read_mask",
    "read_probabilities",
    "refine_folder",
    "refine_mask",
    "report_runs",
    "train_refiner",
    "train_segmenter",
    "write_mask",
]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(importlib.import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'maskwright' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
