"""Checkpoints: what was saved comes back bit for bit; what was damaged, forged or interrupted does not come back at all."""

import json
import math
import os
import pickle
import random
import resource
import struct
import subprocess
import sys
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from maskwright.engine import checkpoint
from maskwright.errors import CheckpointError, WriteError
from maskwright.files import JSON

METADATA: dict[str, JSON] = {
    "model": "unet",
    "classes": ["background", "pet"],
    "mean": [0.485, 0.1],
    "note": 'a "quoted" \\ ä \udcff',
    "x": None,
}


def example_tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 3, 3, 3, generator=generator)
    return {
        "weight": weight,
        "tied": weight,
        "row": weight[1],
        "transposed": weight.permute(3, 2, 1, 0),
        "strided": torch.arange(10)[::3],
        "parameter": nn.Parameter(torch.ones(2)),
        "expanded": torch.ones(1).expand(5),
        "scalar": torch.tensor(7, dtype=torch.int64),
        "empty": torch.empty(0, 3),
        "empty too": torch.empty(2, 0, dtype=torch.uint8),
        "flags": torch.tensor([True, False]),
        "bfloat16": weight.bfloat16(),
        "float16": weight.half(),
        "float64": torch.tensor([math.nan, -math.inf, -0.0, 5e-324], dtype=torch.float64),
        'name.with/ä "quotes"': torch.tensor([1, 255], dtype=torch.uint8),
    }


def bits(tensor: Tensor) -> tuple[torch.dtype, torch.Size, bytes]:
    """What two tensors share exactly if they are equal bit for bit."""
    plain = tensor.detach().contiguous()
    return plain.dtype, plain.shape, bytes(plain.reshape(-1).view(torch.uint8).numpy())


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A small checkpoint: 1.5 KB."""
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, {"weight": torch.randn(300, generator=torch.Generator().manual_seed(1))}, METADATA)
    return path


def forged(header: bytes, data: bytes = b"", *, version: int = 1, metadata: str = "{}") -> bytes:
    """A file with a right stamp around any header: `header` continues the object that the stamp opened."""
    opening = json.dumps({"maskwright": f"{version} {'0' * 64} {metadata}"}, separators=(",", ":"))
    header = b'{"__metadata__":' + opening.encode() + header
    blob = struct.pack("<Q", len(header)) + header + data
    return blob.replace(b"0" * 64, sha256(blob).hexdigest().encode(), 1)


def entry(name: str, shape: list[Any], offsets: list[Any], dtype: str = "F32") -> bytes:
    return b"," + json.dumps({name: {"dtype": dtype, "shape": shape, "data_offsets": offsets}}).encode()[1:-1]


# Rows 1 to 3: writing


def test_everything_saved_comes_back_bit_for_bit(tmp_path: Path) -> None:
    tensors = example_tensors()
    path = tmp_path / "runs" / "first" / "model.safetensors"
    checkpoint.save(path, tensors, METADATA)
    loaded, metadata = checkpoint.load(path)
    assert {name: bits(tensor) for name, tensor in loaded.items()} == {name: bits(t) for name, t in tensors.items()}
    assert metadata == METADATA
    loaded["tied"].zero_()
    assert loaded["weight"].any()


def test_other_readers_of_safetensors_open_it(saved: Path) -> None:
    loaded, _ = checkpoint.load(saved)
    assert torch.equal(safetensors.torch.load_file(saved)["weight"], loaded["weight"])


def test_equal_states_make_equal_files(tmp_path: Path) -> None:
    tensors = example_tensors()
    checkpoint.save(tmp_path / "a", tensors, METADATA)
    checkpoint.save(tmp_path / "b", dict(reversed(tensors.items())), dict(reversed(list(METADATA.items()))))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_checkpoint_without_tensors_or_metadata_is_one(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "a", {}, {})
    assert checkpoint.load(tmp_path / "a") == ({}, {})


KILL_DRIVER = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from maskwright.engine import checkpoint
from maskwright.files import sweep_temporary

torch.set_num_threads(1)
path = Path(sys.argv[1]) / "model.safetensors"

def save_forever(first):
    for step in range(first, first + 10**6):
        checkpoint.save(path, {"a": torch.full((50_000,), float(step)), "b": torch.tensor(step)}, {"step": step})

checkpoint.save(path, {"a": torch.zeros(50_000), "b": torch.tensor(0)}, {"step": 0})
chance, last, swept = random.Random(0), 0, 0
for kill in range(50):
    child = os.fork()
    if child == 0:
        try:
            save_forever(last + 1)
        finally:
            os._exit(1)
    time.sleep(chance.uniform(0.005, 0.03))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the child failed on its own"
    tensors, metadata = checkpoint.load(path)
    step = metadata["step"]
    assert step >= last and tensors["b"] == step and bool((tensors["a"] == step).all())
    last = step
    swept += len(sweep_temporary(path.parent))
    assert os.listdir(path.parent) == [path.name]
print(last, swept)
"""


def test_50_kills_while_saving_leave_the_previous_or_the_new_checkpoint(tmp_path: Path) -> None:
    driver = [sys.executable, "-c", KILL_DRIVER, str(tmp_path)]
    result = subprocess.run(driver, capture_output=True, text=True, timeout=100, check=False)
    assert result.returncode == 0, result.stderr
    last, swept = map(int, result.stdout.split())
    assert last > 0, "no child ever saved"
    assert swept > 0, "no kill ever met a half-written file"


def test_a_full_disk_is_named_and_the_old_checkpoint_loads(saved: Path) -> None:
    before = saved.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(WriteError, match=r"cannot write .*model\.safetensors"):
            checkpoint.save(saved, {"weight": torch.zeros(50_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes into folders without write permission")
def test_a_folder_without_write_permission_is_named(saved: Path) -> None:
    before = saved.read_bytes()
    saved.parent.chmod(0o500)
    try:
        with pytest.raises(WriteError, match="permission"):
            checkpoint.save(saved, {}, {})
    finally:
        saved.parent.chmod(0o700)
    assert saved.read_bytes() == before


def test_a_path_below_a_file_is_named(saved: Path) -> None:
    with pytest.raises(WriteError, match="choose another path"):
        checkpoint.save(saved / "model.safetensors", {}, {})
    checkpoint.load(saved)


@pytest.mark.parametrize("value", [math.nan, {1, 2}, Path("x"), torch.ones(1)])
def test_metadata_that_is_not_json_is_refused(saved: Path, value: Any) -> None:
    before = saved.read_bytes()
    with pytest.raises(CheckpointError, match="metadata .* is not JSON"):
        checkpoint.save(saved, {}, {"value": value})
    assert saved.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("sparse", torch.eye(2).to_sparse()),
        ("meta", torch.empty(2, device="meta")),
        ("complex", torch.zeros(2, dtype=torch.complex128)),
        ("__metadata__", torch.zeros(2)),
    ],
)
def test_a_tensor_that_the_format_lacks_is_refused_by_name(tmp_path: Path, name: str, tensor: Tensor) -> None:
    with pytest.raises(CheckpointError, match=f"tensor.*{name}"):
        checkpoint.save(tmp_path / "a", {name: tensor}, {})
    assert not (tmp_path / "a").exists()


def test_nothing_is_saved_that_could_not_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "_MAX_HEADER_BYTES", 1000)
    with pytest.raises(CheckpointError, match="at most 1000 are read back"):
        checkpoint.save(tmp_path / "a", {}, {"long": "x" * 1000})
    assert not (tmp_path / "a").exists()


# Rows 4 to 7: reading what is damaged or hostile


def test_every_flipped_bit_is_refused(saved: Path) -> None:
    intact = saved.read_bytes()
    header_end = 8 + int.from_bytes(intact[:8], "little")
    chance = random.Random(0)
    in_length = range(64)
    in_header = chance.sample(range(64, 8 * header_end), 136)
    in_data = chance.sample(range(8 * header_end, 8 * len(intact)), 64)
    for bit in (*in_length, *in_header, *in_data):
        damaged = bytearray(intact)
        damaged[bit // 8] ^= 1 << bit % 8
        saved.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"model\.safetensors"):
            checkpoint.load(saved)
    saved.write_bytes(intact)
    checkpoint.load(saved)


def test_every_truncated_or_lengthened_file_is_refused(saved: Path) -> None:
    intact = saved.read_bytes()
    lengths = {0, 1, 7, 8, 9, len(intact) - 1} | set(random.Random(0).sample(range(len(intact)), 94))
    for length in lengths:
        saved.write_bytes(intact[:length])
        with pytest.raises(CheckpointError, match="is empty" if length == 0 else "is truncated"):
            checkpoint.load(saved)
    for tail in (b"\0", intact):
        saved.write_bytes(intact + tail)
        with pytest.raises(CheckpointError, match="damaged"):
            checkpoint.load(saved)


def test_swapped_tensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    checkpoint.save(path, {"one": torch.zeros(2), "two": torch.ones(2)}, {})
    swapped = path.read_bytes().replace(b'"one"', b'"xxx"').replace(b'"two"', b'"one"').replace(b'"xxx"', b'"two"')
    path.write_bytes(swapped)
    assert safetensors.torch.load(swapped)["one"].all(), "a plain reader takes it"
    with pytest.raises(CheckpointError, match="does not match its SHA-256"):
        checkpoint.load(path)


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name, message in {"missing": "cannot read", "fifo": "not a regular file", ".": "not a regular file"}.items():
        with pytest.raises(CheckpointError, match=message):
            checkpoint.load(tmp_path / name)


class Payload:
    """Unpickling it creates a file."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return Path.touch, (self.sentinel,)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5, None])
def test_a_pickle_is_refused_and_not_run(tmp_path: Path, protocol: int | None) -> None:
    path, sentinel = tmp_path / "model.safetensors", tmp_path / "sentinel"
    if protocol is None:
        torch.save({"weight": Payload(sentinel)}, path)
    else:
        path.write_bytes(pickle.dumps({"weight": Payload(sentinel)}, protocol=protocol))
    with pytest.raises(CheckpointError, match="is a pickle, .* not read"):
        checkpoint.load(path)
    assert not sentinel.exists()


def test_a_foreign_safetensors_file_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    safetensors.torch.save_file({"weight": torch.ones(1)}, tmp_path / "a")
    with pytest.raises(CheckpointError, match="without maskwright's stamp"):
        checkpoint.load(tmp_path / "a")


def test_a_newer_format_asks_for_an_upgrade(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(forged(b"}", version=2))
    with pytest.raises(CheckpointError, match="format version 2, .* up to 1; upgrade"):
        checkpoint.load(tmp_path / "a")


HOSTILE = {
    "overlapping": entry("a", [2], [0, 8]) + entry("b", [2], [4, 12]) + b"}",
    "with a hole": entry("a", [1], [0, 4]) + entry("b", [1], [8, 12]) + b"}",
    "backwards": entry("a", [1], [16, 12]) + b"}",
    "negative": entry("a", [-3], [0, 12]) + b"}",
    "fraction": entry("a", [3], [0, 12.0]) + b"}",
    "other size than its shape": entry("a", [4], [0, 12]) + b"}",
    "giant shape": entry("a", [2**40, 2**40], [0, 12]) + b"}",
    "giant shape without elements": entry("b", [0, 2**64 - 1], [0, 0]) + entry("a", [3], [0, 12]) + b"}",
    "unknown dtype": entry("a", [24], [0, 12], "F4") + b"}",
    "duplicate name": entry("a", [3], [0, 12]) + entry("a", [3], [0, 12]) + b"}",
    "duplicate metadata": b',"__metadata__":{}' + entry("a", [3], [0, 12]) + b"}",
    "offsets of strings": entry("a", [3], ["0", "12"]) + b"}",
    "without offsets": b',"a":{"dtype":"F32","shape":[3]}}',
    "no object": b',"a":[1,2,3]}',
    "deep": b',"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "unclosed": b',"a":',
    "long number": b',"a":' + b"9" * 100_000 + b"}",
    "not UTF-8": b',"\xff":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}',
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_forged_header_with_a_right_digest_is_refused(tmp_path: Path, case: str) -> None:
    (tmp_path / "a").write_bytes(forged(HOSTILE[case], bytes(12)))
    with pytest.raises(CheckpointError, match="header|truncated or damaged"):
        checkpoint.load(tmp_path / "a")


@pytest.mark.parametrize("metadata", ["", "[]", "{", '{"a":1,"a":2}', "[" * 100_000])
def test_forged_metadata_with_a_right_digest_is_refused(tmp_path: Path, metadata: str) -> None:
    (tmp_path / "a").write_bytes(forged(b"}", metadata=metadata))
    with pytest.raises(CheckpointError, match="damaged header"):
        checkpoint.load(tmp_path / "a")


def test_the_forger_of_these_tests_makes_files_that_load(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(forged(entry("a", [3], [0, 12]) + b"}", bytes(12), metadata='{"b":1}'))
    tensors, metadata = checkpoint.load(tmp_path / "a")
    assert bits(tensors["a"]) == bits(torch.zeros(3)) and metadata == {"b": 1}


def peak_memory_of(action: Callable[[], None]) -> int:
    """Bytes by which the process grew at most while `action` ran."""
    reset, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")

    def line(name: str) -> int:
        return next(int(row.split()[1]) * 1024 for row in status.read_text().splitlines() if row.startswith(name))

    try:
        reset.write_text("5")
    except OSError:
        pytest.skip("this system cannot reset its memory peak")
    before = line("VmRSS")
    action()
    return line("VmHWM") - before


def test_hostile_sizes_do_not_take_memory(tmp_path: Path) -> None:
    path = tmp_path / "a"
    gigabyte = 2**30
    small = forged(entry("a", [3], [0, 12]) + b"}", bytes(12))
    giant = forged(entry("a", [2**40], [0, 2**42]) + b"}")
    headers = [struct.pack("<Q", length) + b"{" for length in (2**64 - 1, 2**63, 200 * 2**20, gigabyte - 8)]

    def load_all() -> None:
        for start in (*headers, small, giant):
            path.write_bytes(start)
            os.truncate(path, gigabyte)  # a sparse file: takes no room on the disk
            with pytest.raises(CheckpointError):
                checkpoint.load(path)

    assert peak_memory_of(load_all) < 64 * 2**20


# Row 8: another model


def segmenter(classes: int = 2) -> nn.Module:
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4), head=nn.Conv2d(4, classes, 1)))


def test_a_state_goes_through_a_checkpoint_into_another_module(tmp_path: Path) -> None:
    source, target = segmenter(), segmenter()
    checkpoint.save(tmp_path / "a", source.state_dict(), {})
    checkpoint.load_into(target, checkpoint.load(tmp_path / "a")[0], what="the segmenter")
    for name, value in source.state_dict().items():
        assert bits(target.state_dict()[name]) == bits(value)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda state: state.pop("conv.bias"), ["1 missing (conv.bias)"]),
        (lambda state: state.update(extra=torch.ones(1)), ["1 unexpected (extra)"]),
        (
            lambda state: state.update(segmenter(7).state_dict()),
            [
                "2 of another shape",
                "head.weight: (7, 4, 1, 1) instead of (2, 4, 1, 1)",
                "head.bias: (7,) instead of (2,)",
            ],
        ),
        (lambda state: state.update({"conv.bias": torch.ones(1)}), ["conv.bias: (1,) instead of (4,)"]),
        (
            lambda state: [state.pop("head.bias"), state.update({f"old.{i}": torch.ones(1) for i in range(12)})],
            ["1 missing (head.bias)", "12 unexpected (old.0, ", "old.9, ...)"],
        ),
    ],
)
def test_a_state_of_another_model_is_named_and_not_loaded(edit: Callable[[Any], Any], said: list[str]) -> None:
    module, state = segmenter(), dict(segmenter().state_dict())
    edit(state)
    before = {name: bits(value) for name, value in module.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load_into(module, state, what="the segmenter with 2 classes")
    for words in ["the segmenter with 2 classes", "nothing was loaded", *said]:
        assert words in str(caught.value)
    assert {name: bits(value) for name, value in module.state_dict().items()} == before


# States


def through_a_file(state: object, path: Path) -> Any:
    tensors, tree = checkpoint.pack_state(state)
    checkpoint.save(path, tensors, {"state": tree})
    loaded, metadata = checkpoint.load(path)
    return checkpoint.unpack_state(loaded, metadata["state"])


def described(value: Any) -> Any:
    """A form in which two values are equal exactly if type, order and bits are."""
    if isinstance(value, Tensor):
        return "tensor", bits(value)
    if isinstance(value, dict):
        return type(value), [(described(k), described(v)) for k, v in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [described(item) for item in value]
    return type(value), repr(value)


STATES: list[object] = [
    None,
    0,
    "",
    [],
    (),
    {},
    torch.tensor(1.5),
    [math.nan, math.inf, -math.inf, -0.0, 0.1, 5e-324, 1e308],
    [True, 1, 1.0, False, 0, 2**128, -(2**63)],
    {0: "int", "0": "str", 1.5: "float", None: "none", (1, "a"): "tuple", math.inf: "infinity"},
    {"b": 1, "a": 2},
    {"Tensor": 1, "float": "nan", "tuple": [{"dict": []}]},
    [[], (), {}, [()], ((),), {"a": {}}],
    [np.float32(0.1), np.float64("nan"), np.int64(-1), np.uint8(255), np.bool_(True), np.float16("-inf")],
    OrderedDict(b=torch.ones(2), a=Counter({30: 1, 60: 2})),
    {"a.b": torch.zeros(1), "a": {"b": torch.ones(1)}, 1: [torch.ones(2)], "1": [torch.zeros(2)]},
    ["ä\udcff\0\n", ("x", [1, (2, [3])])],
]


@pytest.mark.parametrize("state", STATES, ids=repr)
def test_a_state_returns_with_all_its_types(state: object, tmp_path: Path) -> None:
    assert described(through_a_file(state, tmp_path / "a")) == described(state)


def test_tensors_of_a_state_can_lie_among_others() -> None:
    tensors, tree = checkpoint.pack_state({"step": torch.tensor(3.0)})
    assert checkpoint.unpack_state({"model": torch.ones(1), **tensors}, tree) == {"step": torch.tensor(3.0)}


def test_an_unsupported_leaf_is_named_by_its_place() -> None:
    for state, place in [
        ({"groups": [{"f": print}]}, r"groups\.0\.f is a builtin_function_or_method"),
        ({"seen": {1, 2}}, "seen is a set"),
        ([defaultdict(list)], "0 is a defaultdict"),
        (object(), "its root is a object"),
        ({"size": torch.Size([1])}, "size is a Size"),
    ]:
        with pytest.raises(CheckpointError, match=place):
            checkpoint.pack_state(state)


@pytest.mark.parametrize(
    "tree",
    [{"Tensor": "missing"}, {"os.system": "x"}, {"tuple": 1}, {"dict": [[1]]}, {"float": "x"}, {}, {"a": 1, "b": 2}]
    + [{"Tensor": []}, {"dict": [[[], 1]]}, {"int8": 1000}, {"uint8": {}}],
    ids=repr,
)
def test_a_forged_state_is_refused(tree: Any) -> None:
    with pytest.raises(CheckpointError, match="stored state"):
        checkpoint.unpack_state({}, tree)


def trained(steps: int, resume_from: Any = None) -> tuple[nn.Linear, dict[str, Any]]:
    """A small training whose schedule, momentum and step count all matter to the next step."""
    model = nn.Linear(3, 2)
    nn.init.constant_(model.weight, 0.5)
    nn.init.constant_(model.bias, -0.3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, amsgrad=True)
    warm_up = torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=2)
    decay = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[1, 1, 3])
    scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [warm_up, decay], milestones=[2])
    if resume_from is not None:
        model.load_state_dict(resume_from["model"])
        optimizer.load_state_dict(resume_from["optimizer"])
        scheduler.load_state_dict(resume_from["scheduler"])
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.ones(4, 3)).square().sum().backward()
        optimizer.step()
        scheduler.step()
    states = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    return model, states


@pytest.mark.filterwarnings("ignore:.*epoch parameter in `scheduler.step.*:UserWarning")
def test_a_training_resumed_from_a_stored_state_gives_the_same_weights(tmp_path: Path) -> None:
    straight, _ = trained(6)
    _, states = trained(3)
    resumed, _ = trained(3, resume_from=through_a_file(states, tmp_path / "a"))
    assert bits(resumed.weight) == bits(straight.weight) and bits(resumed.bias) == bits(straight.bias)
