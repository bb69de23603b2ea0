"""What a network costs: its parameters, and the multiplications of one pass.

Counted by PyTorch (`torch.utils.flop_counter`): convolutions, matrix products and attention; normalisation, activations,
pooling and resizing are left out, as the tables of papers leave them out. One multiplication with its addition is one MAC,
half of PyTorch's two operations.
"""

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from ..errors import ConfigError


def parameters(network: nn.Module) -> int:
    """Return the number of trained numbers; buffers such as running means are none."""
    return sum(parameter.numel() for parameter in network.parameters())


def macs(network: nn.Module, *, height: int, width: int, channels: int = 3) -> int:
    """Return the multiply-accumulates of predicting one image. Nothing is computed, and the network stays as it is.

    Args:
        network: maps images (N, channels, H, W) to whatever it likes.
        height, width: of the image, pixels, as the network sees it.
        channels: of the image.

    Raises:
        ConfigError: the network cannot take images of this size.
    """
    was_training = network.training
    network.eval()
    shapes = {name: tensor.to("meta") for name, tensor in (*network.named_parameters(), *network.named_buffers())}
    counter = FlopCounterMode(display=False)
    try:
        with counter, torch.no_grad():
            functional_call(network, shapes, (torch.empty(1, channels, height, width, device="meta"),))
    except (AssertionError, ValueError, RuntimeError) as error:
        raise ConfigError(f"the network cannot take images of {width}×{height} pixels: {error}") from error
    finally:
        network.train(was_training)
    return int(counter.get_total_flops()) // 2
