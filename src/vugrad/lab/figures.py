"""The curves of a study: one picture of the training loss, one of the validation accuracy."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vugrad.lab.record import Record
from vugrad.lab.statistics import estimate
from vugrad.lab.study import Study

#: Okabe and Ito's colours, which people with any kind of colour vision tell apart, the palest left out.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))
#: What is drawn of every epoch: its name in a history, the axis's label, a factor, and whether the axis is logarithmic.
CURVES = {
    "loss": ("training loss (mean per image)", 1.0, True),
    "validation_accuracy": ("validation accuracy (%)", 100.0, False),
}
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "vugrad",
}


@dataclass(frozen=True)
class Picture:
    """A figure as SVG text and PNG bytes, with a sentence for those who cannot see it."""

    name: str
    title: str
    svg: str
    png: bytes
    says: str


def pictures(study: Study, records: Mapping[str, Sequence[Record]]) -> list[Picture]:
    """The curves of a study's configurations: the mean over seeds, and its interval as a band."""
    return [
        _picture(study, records, name)
        for name in CURVES
        if any(x is not None for each in records.values() for r in each for x in r.history[name])
    ]


def _picture(study: Study, records: Mapping[str, Sequence[Record]], name: str) -> Picture:
    label, factor, logarithmic = CURVES[name]
    ends = []
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 3.3), layout="constrained")
        axes = figure.subplots()
        for (configuration, style), each in zip(styles(study).items(), records.values(), strict=True):
            whole = [r for r in each if not r.history.stopped]
            if not whole:
                axes.plot([], [], label=f"{configuration} (went to infinity)", **style)
                continue
            curves = factor * np.array([r.history[name] for r in whole], float)
            band = [estimate(column) for column in curves.T]
            epochs, mean = np.arange(1, len(band) + 1), [e.mean for e in band]
            marker = "o" if len(band) < 3 else ""
            axes.plot(epochs, mean, label=configuration, marker=marker, markersize=4, **style)
            if len(whole) > 1:
                low, high = [e.low for e in band], [e.high for e in band]
                axes.fill_between(epochs, low, high, color=style["color"], alpha=0.18, linewidth=0)
            ends.append((mean[-1], configuration))
        if logarithmic and ends and all(value > 0 for value, _ in ends):
            axes.set_yscale("log")
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(records) > 1:
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
        svg, png = io.StringIO(), io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
        figure.savefig(png, format="png", dpi=150)
    last = "; ".join(f"{configuration} {value:.4g}" for value, configuration in ends)
    text = svg.getvalue()
    says = f"{study.title}: {label} by epoch. At the end: {last or 'nothing'}."
    title = name.replace("_", " ").capitalize().replace("Loss", "Training loss")
    return Picture(f"{study.name}-{name.replace('_', '-')}", title, text[text.index("<svg") :], png.getvalue(), says)


def styles(study: Study) -> dict[str, dict[str, Any]]:
    """The line of each configuration, the same in all of a study's pictures.

    The first axis has the colours, dark to light where its values are numbers in order; the others have the dashes.
    """
    labels = list(study.configurations())
    first = len(next(iter(study.vary.values()), [None]))
    rest = len(labels) // first
    values = next(iter(study.vary.values()), [])
    ordered = first > 4 and not isinstance(values, Mapping) and all(isinstance(x, int | float) for x in values)
    ordered = ordered or first > len(COLOURS)
    shades = [mpl.colormaps["cividis"](0.92 * i / max(first - 1, 1)) for i in range(first)]
    colours = shades if ordered or first > 5 else list(COLOURS)
    return {
        label: {"color": mpl.colors.to_hex(colours[i // rest]), "linestyle": DASHES[i % rest % len(DASHES)]}
        for i, label in enumerate(labels)
    }
