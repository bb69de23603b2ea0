"""Commands that make labels: `scribble`."""

from collections.abc import Callable
from pathlib import Path


def scribble_command() -> Callable[..., None]:
    """Return the command."""
    from ..data.catalog import DataConfig
    from ..engine.weak import WeakKind, make_weak_labels

    def scribble(data: DataConfig, out: Path, kind: WeakKind = "scribble", share: float = 0.03, seed: int = 0) -> None:
        """Make scribbles, points or boxes from the full masks of the training images, to try weak labels out.

        `maskwright train --data DATA --labels KIND:OUT` then learns from them instead of the masks.

        Args:
            data: which pictures; `--data pets:DIR` is short for `--data.name pets:DIR`.
            out: new folder of the labels.
            kind: scribble, points (one in each region) or boxes (one around each region).
            share: of the pixels that scribbles cover, in (0, 1].
            seed: of all choices.
        """
        report = make_weak_labels(data, out, kind=kind, share=share, seed=seed)
        of = report.share
        print(
            f"{len(of)} images: {of.mean():.2%} of the pixels have a label ({of.min():.2%} to {of.max():.2%}), and "
            f"{report.agreement:.2%} of these agree with the masks"
        )
        print(f"labels: {out}; train from them with --labels {kind}:{out}")

    return scribble
