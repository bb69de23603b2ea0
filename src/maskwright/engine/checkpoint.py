"""Checkpoints: tensors and JSON in one safetensors file that is written whole or not at all and verified before use.

Safetensors (Hugging Face, 2022) runs no code when read, unlike a pickle, but notices neither a flipped bit nor an edited
header. So the file's only metadata entry is the string `VERSION SHA256 JSON`; the SHA-256 is taken over the whole file
with its own 64 digits set to "0", which leaves no byte uncovered. It guards against damage, not against forgery: whoever
can edit the file can also compute the digest, hence the header is checked as a stranger's before anything is allocated.

One file, because one `os.replace` then swaps weights and metadata together: a process killed at any moment leaves the
previous checkpoint or the new one. A pair of files would need a third state to be ruled out. Any other reader of
safetensors still opens the file.
"""

import hashlib
import json
import math
import os
import re
import stat
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from maskwright.errors import CheckpointError
from maskwright.files import JSON, atomic_write

FORMAT_VERSION = 1
"""Version of the file format; a reader refuses higher ones."""

# Bounds the memory of parsing JSON, up to 25 bytes per byte; 10,000 parameters with their optimizer need about 5 MiB.
_MAX_HEADER_BYTES = 16 * 2**20
_LENGTH_BYTES = 8  # a safetensors file starts with the length of its JSON header, little-endian
_NO_DIGEST = "0" * 64
_STAMP = re.compile(rb'\{"__metadata__":\{"maskwright":"(?P<version>\d{1,9}) (?P<digest>[0-9a-f]{64}) ')
_PICKLE = re.compile(rb"\x80[\x02-\x05]|PK\x03\x04")  # a bare pickle; the ZIP archive that torch.save makes around one

_FLOATS = {torch.float64, torch.float32, torch.float16, torch.bfloat16}
_INTEGERS = {torch.int64, torch.int32, torch.int16, torch.int8, torch.uint64, torch.uint32, torch.uint16, torch.uint8}
_DTYPES = _FLOATS | _INTEGERS | {torch.bool}

_MAPPINGS: dict[str, type[dict[Any, Any]]] = {"dict": dict, "OrderedDict": OrderedDict, "Counter": Counter}
_NUMPY_SCALARS = {
    scalar.__name__: scalar
    for scalar in (np.bool_, np.float16, np.float32, np.float64, np.int8, np.int16, np.int32, np.int64)
    + (np.uint8, np.uint16, np.uint32, np.uint64)
}


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, JSON]) -> None:
    """Writes a checkpoint; until it is complete, one that stood there before stays as it was.

    Tensors of any device, shape and stride; those that share memory are stored once each. Equal arguments make equal
    files. Takes about twice the tensors' size of memory.

    Args:
        path: the file to write, `*.safetensors` by convention.
        tensors: by name; dense, real, at most 64 bits an element.
        metadata: what is needed to use the tensors: model, options, classes, normalisation, version.

    Raises:
        CheckpointError: a tensor or the metadata cannot be stored.
        WriteError: no space, no permission, an unsuitable path.
    """
    try:
        text = json.dumps(dict(metadata), allow_nan=False, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"the metadata of checkpoint {path} is not JSON: {error}; use strings, finite numbers, lists and dicts"
        ) from error
    blob = safetensors.torch.save(_storable(tensors), {"maskwright": f"{FORMAT_VERSION} {_NO_DIGEST} {text}"})
    header_bytes = int.from_bytes(blob[:_LENGTH_BYTES], "little")
    if header_bytes > _MAX_HEADER_BYTES:
        raise CheckpointError(
            f"names and metadata of checkpoint {path} take {header_bytes} bytes, at most {_MAX_HEADER_BYTES} are read "
            "back; store large values as tensors"
        )
    start, stop = _stamp(blob, path).span("digest")
    with atomic_write(path) as stream:
        stream.write(blob[:start])
        stream.write(_digest(blob, start, stop).encode())
        stream.write(memoryview(blob)[stop:])


def load(path: Path, *, device: str | torch.device = "cpu") -> tuple[dict[str, Tensor], dict[str, JSON]]:
    """Reads a checkpoint that `save` wrote, after verifying all of it. Takes about twice the file's size of memory.

    Returns:
        The tensors by name, on `device`, and the metadata.

    Raises:
        CheckpointError: the file is missing, empty, truncated, changed in any bit, no checkpoint of maskwright's, a
            pickle (which is never run), hostile, or of a newer format.
    """
    try:
        header, blob = _read(path)
    except OSError as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error.strerror}; check the path") from error
    except MemoryError as error:
        raise CheckpointError(f"checkpoint {path} is larger than the free memory; use a larger machine") from error
    stamp = _stamp(blob, path)
    if _digest(blob, *stamp.span("digest")) != stamp["digest"].decode():
        _refuse(path, "is damaged: its content does not match its SHA-256")
    try:
        tensors = safetensors.torch.load(blob)
    except Exception as error:  # SafetensorError, KeyError, RuntimeError, ...: whatever a forged header provokes
        raise CheckpointError(_refusal(path, f"has a header that contradicts itself ({error})")) from error
    metadata = _parse(header["__metadata__"]["maskwright"].split(" ", 2)[2], path)
    return {name: tensor.to(device) for name, tensor in tensors.items()}, metadata


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], *, what: str) -> None:
    """Loads parameters and buffers into a module: all of them, or none.

    Args:
        module: takes the values; its devices and dtypes stay.
        tensors: exactly the keys and shapes of `module.state_dict()`.
        what: names the module in the error, such as "the unet with 3 classes".

    Raises:
        CheckpointError: keys are missing, unexpected or of another shape; the module is unchanged.
    """
    expected = module.state_dict()
    missing = [name for name in expected if name not in tensors]
    unexpected = [name for name in tensors if name not in expected]
    reshaped = [
        f"{name}: {tuple(tensors[name].shape)} instead of {tuple(value.shape)}"
        for name, value in expected.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    faults = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    if any(faults.values()):
        listed = "; ".join(f"{len(names)} {fault} ({_first(names)})" for fault, names in faults.items() if names)
        raise CheckpointError(
            f"the checkpoint does not fit {what}, nothing was loaded: {listed}. "
            "Use it with the model, options and classes that it was trained with"
        )
    module.load_state_dict(dict(tensors))


def pack_state(state: object) -> tuple[dict[str, Tensor], JSON]:
    """Splits a nested state, such as an optimizer's, into tensors and JSON, so that it can be stored without a pickle.

    Args:
        state: dicts (also OrderedDict and Counter, any keys of the kinds named here), lists and tuples of tensors, numpy
            scalars, numbers (NaN and infinity too), strings, booleans and None.

    Returns:
        What `unpack_state` turns back into an equal state of the same types. The names of the tensors are unique, begin
        with a number and end with the place in the state. The tensors are not copied.

    Raises:
        CheckpointError: something else is in the state; the message names its place.
    """
    tensors: dict[str, Tensor] = {}
    return tensors, _pack(state, "", tensors)


def unpack_state(tensors: Mapping[str, Tensor], tree: JSON) -> Any:
    """The inverse of `pack_state`. `tensors` may hold others as well.

    Raises:
        CheckpointError: `tree` did not come from `pack_state`, or a tensor is missing.
    """
    try:
        return _unpack(tree, tensors)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"the stored state is not one of maskwright's ({error!r}); train again") from error


def _storable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU, contiguous and without shared memory, as safetensors wants them."""
    storable: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        if name == "__metadata__":
            raise CheckpointError("a tensor cannot be stored as '__metadata__', which safetensors reserves; rename it")
        if tensor.layout is not torch.strided or tensor.is_meta or tensor.dtype not in _DTYPES:
            raise CheckpointError(
                f"tensor {name!r} cannot be stored: it is {tensor.dtype}, {tensor.layout}, on {tensor.device}; "
                "expected dense real values"
            )
        plain = tensor.detach().cpu().contiguous()
        if plain.untyped_storage().data_ptr() in storages:
            plain = plain.clone()
        storages.add(plain.untyped_storage().data_ptr())
        storable[name] = plain
    return storable


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    """Header and all bytes of the file; nothing of its data is read before the header has been found to fit its size."""
    if not stat.S_ISREG(path.stat().st_mode):  # opening a FIFO would wait for ever
        _refuse(path, "is not a regular file")
    with path.open("rb") as stream:
        header = _read_header(stream, os.fstat(stream.fileno()).st_size, path)
        stream.seek(0)
        return header, stream.read()


def _read_header(stream: BinaryIO, size: int, path: Path) -> dict[str, Any]:
    """The header of a file of `size` bytes, once length, stamp, JSON and the data's declared size are in order."""
    if size == 0:
        _refuse(path, "is empty")
    start = stream.read(_LENGTH_BYTES + 1)
    length = int.from_bytes(start[:_LENGTH_BYTES], "little")
    if length > min(size - _LENGTH_BYTES, _MAX_HEADER_BYTES) or not start.endswith(b"{"):
        if _PICKLE.match(start):
            _refuse(path, "is a pickle, which can run any code when it is read, so it was not read")
        _refuse(path, "is truncated or no safetensors file")
    blob = start + stream.read(length - 1)
    _stamp(blob, path)
    header = _parse(blob[_LENGTH_BYTES:], path)
    try:
        data_bytes = max(
            (entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0
        )
        expected = _LENGTH_BYTES + length + data_bytes
    except (TypeError, KeyError, IndexError) as error:
        raise CheckpointError(_refusal(path, "has a header that is not safetensors'")) from error
    if size != expected:
        _refuse(path, f"is truncated or damaged: it has {size} bytes, its header says {expected}")
    return header


def _stamp(blob: bytes, path: Path) -> re.Match[bytes]:
    """Version and digest, which stand at the very start of the header."""
    stamp = _STAMP.match(blob, _LENGTH_BYTES)
    if stamp is None:
        _refuse(path, "is a safetensors file without maskwright's stamp")
    if int(stamp["version"]) > FORMAT_VERSION:
        raise CheckpointError(
            f"checkpoint {path} has format version {int(stamp['version'])}, this maskwright reads up to "
            f"{FORMAT_VERSION}; upgrade maskwright"
        )
    return stamp


def _digest(blob: bytes, start: int, stop: int) -> str:
    """SHA-256 of `blob`, hexadecimal, with the digits at start..stop taken as zeros."""
    view = memoryview(blob)
    digest = hashlib.sha256(view[:start])
    digest.update(_NO_DIGEST.encode())
    digest.update(view[stop:])
    return digest.hexdigest()


def _parse(text: str | bytes, path: Path) -> dict[str, Any]:
    """A JSON object without duplicate keys, of which readers of safetensors disagree which one counts."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("a key occurs twice")
        return result

    try:
        parsed = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(_refusal(path, f"has a damaged header ({error})")) from error
    if not isinstance(parsed, dict):
        _refuse(path, "has a damaged header (not a JSON object)")
    return parsed


def _refusal(path: Path, reason: str) -> str:
    return f"{path} {reason}; expected a checkpoint that maskwright saved. Use an intact copy, or train again"


def _refuse(path: Path, reason: str) -> NoReturn:
    raise CheckpointError(_refusal(path, reason))


def _first(names: Sequence[str], count: int = 10) -> str:
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


def _pack(value: Any, place: str, tensors: dict[str, Tensor]) -> JSON:
    """JSON of `value`, in which every object has one key, the name of a type. Adds the tensors it meets to `tensors`."""
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if kind is list:
        return [_pack(item, f"{place}.{index}", tensors) for index, item in enumerate(value)]
    if kind is tuple:
        return {"tuple": [_pack(item, f"{place}.{index}", tensors) for index, item in enumerate(value)]}
    if _MAPPINGS.get(kind.__name__) is kind:
        # Pairs, not a JSON object: its keys could be only strings, and not every writer of JSON keeps their order.
        return {
            kind.__name__: [[_pack(k, place, tensors), _pack(v, f"{place}.{k}", tensors)] for k, v in value.items()]
        }
    if _NUMPY_SCALARS.get(kind.__name__) is kind:
        return {kind.__name__: _pack(value.item(), place, tensors)}
    if isinstance(value, Tensor):
        name = f"{len(tensors)}{place}"
        tensors[name] = value
        return {"Tensor": name}
    raise CheckpointError(
        f"the state at {place.lstrip('.') or 'its root'} is a {kind.__name__}, which a checkpoint cannot hold; expected "
        "tensors, numbers, strings, booleans, None, lists, tuples and dicts"
    )


def _unpack(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(tree, list):
        return [_unpack(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    ((kind, content),) = tree.items()
    if kind == "float":
        return float(content)
    if kind == "tuple":
        return tuple(_unpack(item, tensors) for item in content)
    if kind == "Tensor":
        return tensors[content]
    if kind in _MAPPINGS:
        return _MAPPINGS[kind]({_unpack(k, tensors): _unpack(v, tensors) for k, v in content})
    return _NUMPY_SCALARS[kind](_unpack(content, tensors))
