"""Instances and panoptic segments of the universal networks of transformers, by their own image processors.

The processor turns class and mask of every query into segments: `post_process_instance_segmentation` and
`post_process_panoptic_segmentation` of transformers, with its own rules for scores and overlaps.
"""

import inspect
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from ..errors import ConfigError
from .segmenter import Segmenter
from .transformers_nets import QueryNetwork


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One thing in an image, or all stuff of one class.

    Attributes:
        label: class, index of `class_names`.
        score: 0–1.
        mask: bool (H, W), at the image's size.
    """

    label: int
    score: float
    mask: Tensor


def segments(
    segmenter: Segmenter,
    image: Float[Tensor, "n c h w"],
    *,
    task: Literal["instance", "panoptic"] = "panoptic",
    threshold: float = 0.5,
    stuff: Collection[int] = (),
) -> list[list[Segment]]:
    """Return the segments of each image of a batch.

    Args:
        segmenter: of `build`, from a universal network of `hf:`, in evaluation mode.
        image: in [0, 1], of any size.
        task: `instance` segments may overlap, where the processor offers that; `panoptic` ones do not.
        threshold: score that a segment must reach, 0–1.
        stuff: labels whose panoptic segments are one per image.

    Raises:
        ConfigError: the segmenter has no queries; a threshold outside 0–1.
    """
    net = segmenter.net
    if not isinstance(net, QueryNetwork):
        raise ConfigError(
            f"{type(net).__name__} gives no segments; expected a universal model of hf: Mask2Former, MaskFormer, OneFormer "
            "or EoMT"
        )
    if not 0 <= threshold <= 1:
        raise ConfigError(f"threshold must be from 0 to 1, got {threshold}")
    height, width = image.shape[-2:]
    with torch.no_grad():
        prepared = segmenter.prepared(image)
        fitted = net.fitted(prepared)
        outputs = net.outputs(fitted, task=task)
    sides = (fitted.shape[-2], fitted.shape[-1])
    found = _post_process(net, outputs, sides, task=task, threshold=threshold, stuff=stuff)
    return [
        [
            Segment(
                label=int(info["label_id"]),
                score=float(info["score"]),
                mask=_at_size(mask, prepared.shape[-2:])[:height, :width],
            )
            for info, mask in zip(one["segments_info"], _masks(one), strict=True)
        ]
        for one in found
    ]


def _post_process(
    net: QueryNetwork,
    outputs: Any,
    sides: tuple[int, int],
    *,
    task: str,
    threshold: float,
    stuff: Collection[int],
) -> list[dict[str, Any]]:
    """Call the image processor of the network's type, with what its method takes."""
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING

    processor = IMAGE_PROCESSOR_MAPPING[type(net.network.config)]["torchvision"]()
    if getattr(processor, "class_info_file", "") is None:
        # OneFormer's processor looks for the name of a data set in it.
        processor.class_info_file = ""
    method = getattr(processor, f"post_process_{task}_segmentation")
    offered = {
        "return_binary_maps": True,
        "label_ids_to_fuse": set(stuff),
        "stuff_classes": list(stuff),
        "size": {"shortest_edge": sides[0], "longest_edge": sides[1]},
    }
    taken = inspect.signature(method).parameters
    more = {name: value for name, value in offered.items() if name in taken}
    found: list[dict[str, Any]] = method(
        outputs, threshold=threshold, target_sizes=[sides] * len(outputs.class_queries_logits), **more
    )
    return found


def _masks(found: dict[str, Any]) -> list[Tensor]:
    """Return the mask of every segment, from a map of their numbers or from masks one above the other."""
    drawn = found["segmentation"]
    if drawn.ndim == 3:
        return [mask > 0 for mask in drawn]
    return [drawn == info["id"] for info in found["segments_info"]]


def _at_size(mask: Bool[Tensor, "h w"], size: torch.Size) -> Bool[Tensor, "H W"]:
    """Resize a mask to `size`, nearest."""
    if mask.shape == size:
        return mask
    return F.interpolate(mask[None, None].float(), tuple(size), mode="nearest-exact")[0, 0] > 0
