"""Meters of several processes made one: what `torch.distributed` gathers, each image once."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Optional, TypeVar

import torch

from maskwright.errors import DataError

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Meter = TypeVar("Meter")
Record = TypeVar("Record")

NAMES_SHOWN = 8
"""Names that an error message lists."""


def of_all_processes(own: Meter, group: Optional["ProcessGroup"]) -> list[Meter]:
    """Return what each process of the group gave, in the order of their ranks; all must call it.

    Args:
        own: of this process; it is pickled.
        group: None is that of all processes; where none was started, there is this process alone.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [own]
    gathered: list[Meter] = [own] * torch.distributed.get_world_size(group)
    torch.distributed.all_gather_object(gathered, own, group=group)
    return gathered


def in_turns(records: Sequence[Mapping[str, Record]], equal: Callable[[Record, Record], bool]) -> dict[str, Record]:
    """Return the records of all processes by image: the first of each process, then the second of each, and so on.

    A DistributedSampler that does not shuffle hands out images so, and repeats some for all processes to get as many;
    those come once.

    Raises:
        DataError: processes have records of one image that are not `equal`.
    """
    together: dict[str, Record] = {}
    differing = []
    for name, record in chain.from_iterable(
        filter(None, turn) for turn in zip_longest(*(mapping.items() for mapping in records))
    ):
        if not equal(together.setdefault(name, record), record):
            differing.append(name)
    if differing:
        raise DataError(
            f"several processes scored {', '.join(differing[:NAMES_SHOWN])}{' and more' * (len(differing) > NAMES_SHOWN)}, "
            "and not alike; score each image once, under a name of its own, with the same model in every process"
        )
    return together
