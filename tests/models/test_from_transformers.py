"""Networks of transformers on tiny random repositories, offline: the library's own numbers under the one interface."""

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

import tiny_transformers
from maskwright.errors import ConfigError
from maskwright.models import ModelConfig, Segmenter, build, class_names, self_contained
from maskwright.models.from_transformers import UNIVERSAL
from maskwright.models.segments import segments
from maskwright.models.transformers_nets import SMALLEST_SUM, TASKS, class_shares
from tiny_transformers import BUILDERS, LABELS

SEMANTIC = [name for name in BUILDERS if name not in UNIVERSAL]
QUERIES = [name for name in BUILDERS if name in UNIVERSAL]
SIDE = {"mask2former": 384}
"""Side at which the library's own post-processing looks at the masks, where that is fixed."""

Repository = tuple[Path, PreTrainedModel]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Repository]:
    """Return a function from a type's name to its folder and network, written once."""
    root, written = tmp_path_factory.mktemp("repositories"), {}

    def write(name: str) -> Repository:
        if name not in written:
            written[name] = (root / name, tiny_transformers.write(name, root / name))
        return written[name]

    return write


def picture(*size: int, n: int = 1, channels: int = 3) -> Tensor:
    return torch.rand(n, channels, *size, generator=torch.Generator().manual_seed(0))


def loaded(folder: Path, num_classes: int = LABELS, **more: Any) -> Segmenter:
    return build(ModelConfig(name=f"hf:{folder}", pretrained="full"), num_classes=num_classes, **more).eval()


def library_outputs(segmenter: Segmenter, network: PreTrainedModel, image: Tensor, task: str = "semantic") -> Any:
    normalised = (image - segmenter.mean) / segmenter.std
    more = {}
    if network.config.model_type == "oneformer":
        more["task_inputs"] = segmenter.net.task_tokens[TASKS.index(task)].expand(len(image), -1)
    if network.config.model_type == "mobilevit":
        normalised = normalised.flip(1)
    with torch.no_grad():
        return network(pixel_values=normalised, **more)


def fault(config: ModelConfig | str, num_classes: int = 2) -> str:
    with pytest.raises(ConfigError) as caught:
        build(config, num_classes=num_classes)
    return str(caught.value)


@pytest.mark.parametrize("name", SEMANTIC)
def test_semantic_logits_are_the_library_s_own(name: str, repository: Callable[[str], Repository]) -> None:
    folder, network = repository(name)
    segmenter, image = loaded(folder), picture(64, 64, n=2)
    expected = F.interpolate(
        library_outputs(segmenter, network, image).logits, (64, 64), mode="bilinear", align_corners=False
    )
    with torch.no_grad():
        logits = segmenter(image)
    torch.testing.assert_close(logits, expected, rtol=1e-6, atol=1e-6)
    assert logits.std() > 1e-4, "one logit everywhere proves nothing"


@pytest.mark.parametrize("name", QUERIES)
def test_semantic_labels_of_queries_are_the_library_s_own(name: str, repository: Callable[[str], Repository]) -> None:
    folder, network = repository(name)
    side = SIDE.get(name, 64)
    segmenter, image = loaded(folder), picture(side, side)
    outputs = library_outputs(segmenter, network, image)
    processor = tiny_transformers.processor(network)
    more = {"size": {"shortest_edge": side, "longest_edge": side}} if name == "eomt" else {}
    (expected,) = processor.post_process_semantic_segmentation(
        outputs, target_sizes=[(side, side)], return_segmentation_scores=True, **more
    )
    with torch.no_grad():
        logits = segmenter(image)[0]
    torch.testing.assert_close(logits.exp(), expected.segmentation_scores, rtol=1e-5, atol=1e-6)
    # The logarithm rounds near scores to equal ones, whose order nothing decides.
    scores = expected.segmentation_scores
    best, chosen = scores.amax(0), scores.gather(0, logits.argmax(0, keepdim=True))[0]
    torch.testing.assert_close(chosen, best, rtol=1e-6, atol=2 * SMALLEST_SUM)
    known = best > 2 * SMALLEST_SUM
    assert (logits.argmax(0) == expected.segmentation)[known].float().mean() > 0.999
    if name == "mask2former":
        assert len(expected.segmentation.unique()) > 1, "one label everywhere proves nothing"


def test_shares_are_the_sum_over_queries_in_float64() -> None:
    generator = torch.Generator().manual_seed(0)
    classes = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64)
    masks = torch.randn(2, 3, 4, 6, generator=generator, dtype=torch.float64)
    expected = torch.zeros(2, 4, 4, 6, dtype=torch.float64)
    for image in range(2):
        for query in range(3):
            p = classes[image, query].softmax(0)
            for label in range(4):
                expected[image, label] += p[label] * masks[image, query].sigmoid()
    torch.testing.assert_close(class_shares(classes, masks).double(), expected, rtol=1e-5, atol=1e-6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(class_shares(classes, masks).double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", BUILDERS)
def test_any_size_any_channels_any_classes(name: str, repository: Callable[[str], Repository]) -> None:
    folder, _ = repository(name)
    for channels, num_classes, logits in [(4, 2, 1), (1, 6, 6)]:
        segmenter = build(f"hf:{folder}", num_classes=num_classes, in_channels=channels).eval()
        for size in [(1, 1), (33, 70)]:
            with torch.no_grad():
                found = segmenter(picture(*size, channels=channels))
            assert found.shape == (1, logits, *size) and found.dtype == torch.float32 and found.isfinite().all()
    segmenter, image = loaded(folder, 6, in_channels=1), picture(64, 64, channels=1)
    with torch.no_grad():
        assert not torch.equal(segmenter(image), segmenter(1 - image))


@pytest.mark.parametrize("name", BUILDERS)
def test_a_checkpoint_needs_no_repository(name: str, repository: Callable[[str], Repository]) -> None:
    folder, _ = repository(name)
    config = self_contained(ModelConfig(name=f"hf:{folder}", pretrained="full"))
    moved = ModelConfig(name="hf:no/such-repository", options=config.options)
    first, again = loaded(folder, 2, in_channels=4), build(moved, num_classes=2, in_channels=4).eval()
    again.load_state_dict(first.state_dict())
    image = picture(40, 50, channels=4)
    with torch.no_grad():
        assert torch.equal(first(image), again(image))
    assert class_names(moved) == class_names(f"hf:{folder}") == tuple(f"LABEL_{i}" for i in range(LABELS))


@pytest.mark.parametrize("name", ["segformer", "mask2former"])
def test_it_learns(name: str, repository: Callable[[str], Repository]) -> None:
    folder, _ = repository(name)
    torch.manual_seed(0)
    segmenter = build(f"hf:{folder}", num_classes=2).train()
    image = picture(64, 64, n=2)
    target = (image[:, :1] > 0.5).float()
    optimizer = torch.optim.Adam(segmenter.parameters(), lr=1e-3)
    losses = []
    for _step in range(8):
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(segmenter(image), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    unread = [key for key, p in segmenter.named_parameters() if p.grad is None]
    assert all("layernorm" in key for key in unread), unread


def test_two_classes_of_the_repository_are_the_difference_of_their_logits(tmp_path: Path) -> None:
    network = tiny_transformers.segformer()
    config = type(network.config)(**{**network.config.to_dict(), "num_labels": 2})
    network = type(network)(config).eval()
    network.save_pretrained(tmp_path)
    segmenter, image = loaded(tmp_path, 2), picture(64, 64)
    both = F.interpolate(library_outputs(segmenter, network, image).logits, (64, 64), mode="bilinear")
    with torch.no_grad():
        torch.testing.assert_close(segmenter(image).sigmoid(), both.softmax(1)[:, 1:], rtol=1e-5, atol=1e-6)


def test_a_head_of_other_classes_starts_anew_and_the_log_says_so(
    repository: Callable[[str], Repository], caplog: pytest.LogCaptureFixture
) -> None:
    folder, network = repository("segformer")
    with caplog.at_level(logging.WARNING, logger="maskwright"):
        loaded(folder)
        assert "anew" not in caplog.text
        state = loaded(folder, 7, in_channels=4).net.network.state_dict()
    assert "decode_head.classifier.weight" in caplog.text and str(folder) in caplog.text
    for key, value in network.state_dict().items():
        if "patch_embeddings" in key and value.ndim == 4 and value.shape[1] == 3:
            torch.testing.assert_close(state[key], torch.cat((value, value[:, :1]), 1) * 3 / 4)
        elif "classifier" not in key:
            assert torch.equal(state[key], value), key


def test_images_are_normalised_as_the_repository_says(repository: Callable[[str], Repository], tmp_path: Path) -> None:
    folder, network = repository("segformer")
    network.save_pretrained(tmp_path)
    said = json.loads((folder / "preprocessor_config.json").read_text())
    said |= {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "rescale_factor": 2 / 255}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    segmenter = build(f"hf:{tmp_path}", num_classes=3)
    torch.testing.assert_close(segmenter.mean.flatten(), torch.tensor([0.05, 0.1, 0.15]))
    torch.testing.assert_close(segmenter.std.flatten(), torch.tensor([0.2, 0.25, 0.3]))
    (tmp_path / "preprocessor_config.json").unlink()
    torch.testing.assert_close(build(f"hf:{tmp_path}", num_classes=3).mean.flatten()[0], torch.tensor(0.485))


@pytest.mark.parametrize("task", ["instance", "panoptic"])
@pytest.mark.parametrize("name", QUERIES)
def test_segments_are_the_library_s_own(name: str, task: Any, repository: Callable[[str], Repository]) -> None:
    folder, network = repository(name)
    segmenter, image = loaded(folder), picture(64, 64, n=2)
    outputs = library_outputs(segmenter, network, image, task)
    processor = tiny_transformers.processor(network)
    if name == "oneformer":
        processor.class_info_file = ""
    more: dict[str, Any] = {"size": {"shortest_edge": 64, "longest_edge": 64}} if name == "eomt" else {}
    if task == "panoptic" and name != "eomt":
        more["label_ids_to_fuse"] = set()
    method = getattr(processor, f"post_process_{task}_segmentation")
    expected = method(outputs, threshold=0, target_sizes=[(64, 64)] * 2, **more)
    found = segments(segmenter, image, task=task, threshold=0)
    assert [[(s.label, pytest.approx(s.score)) for s in one] for one in found] == [
        [(info["label_id"], info["score"]) for info in one["segments_info"]] for one in expected
    ]
    for one, theirs in zip(found, expected, strict=True):
        drawn = torch.full((64, 64), -1.0)
        for segment, info in zip(one, theirs["segments_info"], strict=True):
            drawn[segment.mask] = info["id"]
        covered = drawn >= 0
        assert torch.equal(drawn[covered], theirs["segmentation"].float()[covered])
    assert any(found) or task == "panoptic"


def test_segments_lie_where_they_are_in_images_of_any_size(repository: Callable[[str], Repository]) -> None:
    for name in ("mask2former", "eomt"):
        segmenter = loaded(repository(name)[0])
        for one in segments(segmenter, picture(40, 50, n=2), task="instance", threshold=0):
            assert one and all(s.mask.shape == (40, 50) and s.mask.dtype == torch.bool for s in one)
    with pytest.raises(ConfigError, match="no segments"):
        segments(loaded(repository("segformer")[0]), picture(32, 32))
    with pytest.raises(ConfigError, match="threshold"):
        segments(segmenter, picture(32, 32), threshold=1.5)


def test_an_option_replaces_a_setting(repository: Callable[[str], Repository]) -> None:
    folder, _ = repository("segformer")
    config = ModelConfig(name=f"hf:{folder}", options={"decoder_hidden_size": 16})
    assert build(config, num_classes=3).net.network.decode_head.classifier.in_channels == 16
    assert "no option 'width'" in fault(ModelConfig(name=f"hf:{folder}", options={"width": 4}))


def test_what_cannot_be_had_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = fault("hf:nobody/no-such-network")
    assert "nobody/no-such-network" in message and "imagenet-offline" in message
    assert "hf:FOLDER" in fault(f"hf:{tmp_path}")
    assert "hf:REPO" in fault("hf:")
    tiny_transformers.segformer().config.save_pretrained(tmp_path)
    assert "safetensors" in fault(ModelConfig(name=f"hf:{tmp_path}", pretrained="full"))
    assert "full" in fault(ModelConfig(name=f"hf:{tmp_path}", pretrained="imagenet"))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    message = fault(f"hf:{tmp_path}")
    assert "bert" in message and "segformer" in message and "mask2former" in message
    assert "repository" in fault(ModelConfig(name="hf:x", options={"repository": "{}"}))


def test_pickled_weights_are_never_read(repository: Callable[[str], Repository], tmp_path: Path) -> None:
    _, network = repository("segformer")
    network.config.save_pretrained(tmp_path)
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    assert "safetensors" in fault(ModelConfig(name=f"hf:{tmp_path}", pretrained="full"), LABELS)


def test_code_of_a_repository_is_never_run(tmp_path: Path) -> None:
    network = tiny_transformers.segformer()
    network.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    settings["auto_map"] = {
        "AutoConfig": "evil.Config",
        "AutoModelForSemanticSegmentation": "evil.Network",
        "AutoImageProcessor": "evil.Processor",
    }
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "evil.py").write_text("raise SystemExit('code of the repository was run')\n")
    loaded(tmp_path)
    assert not [name for name in sys.modules if "evil" in name]


def test_without_transformers_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskwright.models.from_transformers.importlib.util.find_spec", lambda name: None)
    assert "pip install 'maskwright[transformers]'" in fault("hf:nvidia/mit-b0")
