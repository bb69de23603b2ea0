"""From names to networks: what is compared, and that nothing begins with a wrong name among them."""

from dataclasses import replace
from pathlib import Path

import pytest

from maskwright.data.catalog import DataConfig
from maskwright.engine.candidates import ComparisonConfig, check_candidates
from maskwright.engine.config import TrainConfig
from maskwright.errors import ConfigError
from maskwright.models import ModelConfig

DATA = DataConfig(name="digits")


def test_encoders_become_networks_with_their_weights() -> None:
    model = ModelConfig(name="smp:FPN", pretrained="imagenet", options={"decoder_dropout": 0.0})
    config = ComparisonConfig(data=DATA, model=model, encoders=("resnet18", "tu-lcnet_050@none"))
    first, second = (candidate.model for candidate in config.candidates)
    assert first == replace(model, name="smp:FPN/resnet18")
    assert second == replace(model, name="smp:FPN/tu-lcnet_050", pretrained="none")
    assert [candidate.name for candidate in config.candidates] == ["resnet18", "tu-lcnet_050@none"]


def test_models_have_folders_of_their_own() -> None:
    config = ComparisonConfig(data=DATA, models=("unet", "smp:Unet/resnet18@imagenet", "smp:Unet/resnet18"), seeds=2)
    assert [candidate.folder for candidate in config.candidates] == [
        "unet",
        "smp_Unet_resnet18@imagenet",
        "smp_Unet_resnet18",
    ]
    run = config.run_folder(Path("out"), config.candidates[1], 1)
    assert run == Path("out/runs/smp_Unet_resnet18@imagenet/seed-1")


def test_trainings_differ_in_the_seed_alone() -> None:
    config = ComparisonConfig(data=DATA, models=("unet",), train=TrainConfig(seed=7), seeds=3)
    assert config.seed_numbers == (7, 8, 9)
    first, *others = (config.run_config(config.candidates[0], seed) for seed in config.seed_numbers)
    for seed, other in zip((8, 9), others, strict=True):
        assert other == replace(first, train=replace(first.train, seed=seed))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "--encoders or --models"),
        ({"encoders": ("resnet18",), "models": ("unet",)}, "not both"),
        ({"models": ("unet",), "seeds": 0}, "seeds must be at least 1"),
        ({"models": ("unet",), "margin": 1.0}, "margin"),
        ({"models": ("unet",), "cost": "money"}, "cost must be one of"),
        ({"encoders": ("resnet18",), "model": ModelConfig(name="unet")}, "does not take encoders"),
        ({"encoders": ("resnet18",), "model": ModelConfig(name="smp:Unet/vgg11")}, "does not take encoders"),
        ({"models": ("unet", "unet")}, "unet came more than once"),
        ({"models": ("smp:Unet/vgg11", "smp_Unet/vgg11")}, "came more than once"),
        ({"models": ("unet@imagenot",)}, "NAME@WEIGHTS"),
        ({"models": ("@none",)}, "names no candidate"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ComparisonConfig(data=DATA, **settings)  # type: ignore[arg-type]


def test_all_wrong_names_are_told_at_once() -> None:
    names = ("tu-lcnet_050", "resnot18", "resnet18@imagenet-offline", "tu-swin_tiny_patch4_window7_224")
    config = ComparisonConfig(data=DATA, model=ModelConfig(name="smp:FPN"), encoders=names[1:])
    with pytest.raises(ConfigError, match="3 of 3") as caught:
        check_candidates(config.candidates, num_classes=2, height=64, width=64)
    assert all(f"\n  {name}: " in str(caught.value) for name in names[1:])
    assert "cannot take images of 64×64" in str(caught.value)
    config = ComparisonConfig(data=DATA, encoders=names[:1])
    (size,) = check_candidates(config.candidates, num_classes=2, height=64, width=64).values()
    assert size.parameters > 1e6 and size.macs > 1e6
