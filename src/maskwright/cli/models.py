"""The command that lists models: `models`."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from ..engine.layer_table import LayerTable

GIGA, MEGA = 1e9, 1e6

WIDTH = 140
"""Columns of a table where nobody watches; one cut to 80 is useless in a log."""


def models(
    name: str = "",
    size: int = 224,
    classes: int = 21,
    channels: int = 3,
    options: dict[str, int | float | str | bool] | None = None,
    json: Path | None = None,
) -> None:
    """List the models with parameters, GMACs, stride and source; or, of one, its layers.

    GMACs are 10⁹ multiply-accumulates of one image: convolutions, matrix products and attention.

    Args:
        name: a model, as in `maskwright train --model`; without it, all are listed.
        size: side of the square image that GMACs and shapes are of, pixels.
        classes: classes with the background; 2 make one logit.
        channels: channels of the image.
        options: arguments of the model, such as {width: 16}.
        json: also write what is shown to this file.
    """
    from ..engine.layer_table import layer_table, own_models
    from ..files import write_json
    from ..models import ModelConfig

    if name:
        table = layer_table(
            ModelConfig(name=name, options=options or {}), size=size, num_classes=classes, in_channels=channels
        )
        _print(_layers(table))
        record = table.record()
    else:
        from ..models.zoo import DESCRIPTIONS, MODELS

        tables = own_models(size=size, num_classes=classes, in_channels=channels)
        libraries = {form: describe() for form, describe in DESCRIPTIONS.items()}
        _print(_overview(tables, {name: MODELS[name].source for name in MODELS}))
        for form, text in libraries.items():
            print(f"{form:<26} {text}")
        record = {
            "models": [{**table.record(), "source": MODELS[table.name].source} for table in tables],
            "libraries": libraries,
        }
        for model in record["models"]:
            del model["layers"]
    if json is not None:
        write_json(json, record)


def _overview(tables: "list[LayerTable]", sources: dict[str, str]) -> "Table":
    from rich.table import Table

    first = tables[0]
    shown = Table(title=f"Models written here, {first.classes} classes, {first.channels}×{first.size}×{first.size}")
    for column, side in (("model", "left"), ("M parameters", "right"), ("GMACs", "right"), ("stride", "right")):
        shown.add_column(column, justify=side, no_wrap=True)  # type: ignore[arg-type]
    shown.add_column("source")
    for table in tables:
        numbers = (f"{table.parameters / MEGA:.2f}", f"{table.macs / GIGA:.2f}", str(table.stride))
        shown.add_row(table.name, *numbers, sources[table.name])
    return shown


def _layers(table: "LayerTable") -> "Table":
    from rich.table import Table

    title = f"{table.name}, {table.classes} classes, {table.channels}×{table.size}×{table.size}, stride {table.stride}"
    shown = Table(title=title, show_footer=True)
    shown.add_column("layer", "total", overflow="fold")
    shown.add_column("type", overflow="fold")
    shown.add_column("output", justify="right", no_wrap=True)
    shown.add_column("parameters", f"{table.parameters:,}", justify="right", no_wrap=True)
    shown.add_column("GMACs", f"{table.macs / GIGA:.3f}", justify="right", no_wrap=True)
    for layer in table.layers:
        output = "×".join(map(str, layer.output)) if layer.output else ""
        macs = f"{layer.macs / GIGA:.4f}" if layer.macs else ""
        shown.add_row(layer.path, layer.kind, output, f"{layer.parameters:,}" if layer.parameters else "", macs)
    return shown


def _print(table: "Table") -> None:
    from rich.console import Console

    console = Console()
    (console if console.is_terminal else Console(width=WIDTH)).print(table)
