"""A picture of costs against size on logarithmic axes, as SVG, with a light ground of its own for pages of any colour.

matplotlib is imported here alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

_INK, _GROUND, _GRID = "#24292f", "#ffffff", "#d8dee4"
_COLOURS = ("#0550ae", "#1a7f37", "#9a6700", "#8250df", "#bf3989", "#0a7ea4")
_COMPARED = "#cf222e"
_SETTINGS = {
    "svg.hashsalt": "scale",  # the same figures make the same file
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "figure.facecolor": _GROUND,
    "savefig.facecolor": _GROUND,
}


@dataclass(frozen=True)
class Lines:
    """Seconds at each size, by what is measured; `compared` is drawn apart."""

    sizes: Sequence[int]
    seconds: Mapping[str, Sequence[float]]
    compared: Mapping[str, Sequence[float]]
    across: str
    title: str


def draw(lines: Lines, file: Path) -> None:
    """Write the picture."""
    with matplotlib.rc_context(_SETTINGS):
        figure, axes = pyplot.subplots(figsize=(8.6, 5.2), layout="constrained")
        for (name, seconds), colour in zip(lines.seconds.items(), _COLOURS, strict=False):
            axes.plot(lines.sizes, seconds, marker="o", markersize=4, linewidth=1.8, color=colour, label=name)
        for name, seconds in lines.compared.items():
            axes.plot(lines.sizes, seconds, "--", marker="s", markersize=4, color=_COMPARED, label=name)
        axes.set(xscale="log", yscale="log", xlabel=lines.across, ylabel="seconds", title=lines.title)
        axes.set_xticks(lines.sizes, [f"{size:,}" for size in lines.sizes])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(lambda value, place: f"{value:g}")
        axes.grid(color=_GRID, linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="upper left", frameon=False, fontsize=9)
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, format="svg", metadata={"Date": None})
        pyplot.close(figure)
