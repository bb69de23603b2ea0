"""Refinement of coarse logits by learned propagation: CSPN and DySPN as functions and as modules."""

from .affinity import AffinityNet
from .cspn import CSPN, cspn
from .dyspn import DySPN, dyspn
from .zoo import RefinerConfig, build_refiner

__all__ = ["CSPN", "AffinityNet", "DySPN", "RefinerConfig", "build_refiner", "cspn", "dyspn"]
