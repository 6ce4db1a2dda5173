"""The curves of a study: one picture of the training loss, one of the validation accuracy."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from vugrad.lab.record import Record
from vugrad.lab.statistics import estimate
from vugrad.lab.study import Study

#: Colours that are distinct for every kind of colour vision (after Okabe and Ito): on a light page, and the same on a
#: dark page. The last is the ink.
COLOURS = {
    "#0072b2": "#4aa8e0",
    "#d55e00": "#ff8b3d",
    "#009e73": "#2fc79b",
    "#b04a8c": "#e58fc6",
    "#c98a00": "#f0bd3c",
    "#3d8fc4": "#8fd0f5",
    "#1c1f24": "#e8eaed",
}
#: Marks and dashes that distinguish curves without colours.
MARKS: tuple[Any, ...] = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))
INK, GRID = "#1c1f24", "#e2e5e9"
#: What is drawn of every epoch: its name in a history, the axis's label, a factor, and whether the axis is logarithmic.
CURVES = {
    "loss": ("training loss (mean per image)", 1.0, True),
    "validation_accuracy": ("validation accuracy (%)", 100.0, False),
}
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "vugrad",
}
#: In inches: the width of a picture, the height of its axes, the margins around them, and a line of the legend.
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BELOW, LINE = 5.0, 2.7, 0.62, 0.12, 0.1, 0.5, 0.2
#: The characters that fit in a line of the legend.
ROOM = 66


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
    single = all(r.run.recipe.epochs == 1 for each in records.values() for r in each)
    ends = []
    with mpl.rc_context(STYLE):
        figure, axes = _canvas(list(records) if len(records) > 1 else [])
        for place, (configuration, style) in enumerate(styles(study).items(), 1):
            each = records[configuration]
            whole = [r for r in each if not r.history.stopped]
            if not whole:
                axes.plot([], [], label=f"{configuration} (went to infinity)", **style)
                continue
            curves = factor * np.array([r.history[name] for r in whole], float)
            band = [estimate(column) for column in curves.T]
            mean, low, high = ([getattr(e, part) for e in band] for part in ("mean", "low", "high"))
            at = [place] if single else range(1, len(band) + 1)
            axes.plot(at, mean, label=configuration, markevery=max(1, len(band) // 8), **style)
            if len(whole) > 1:
                between = axes.vlines if single else axes.fill_between
                alpha, linewidth = (0.4, 1.6) if single else (0.18, 0)
                between(at, low, high, color=style["color"], alpha=alpha, linewidth=linewidth)
            ends.append((mean[-1], configuration))
        if logarithmic and ends and all(value > 0 for value, _ in ends):
            _logarithmic(axes)
        axes.set_xlabel("configuration, after one epoch" if single else "epoch")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(NullLocator() if single else MaxNLocator(integer=True))
        if len(records) > 1:
            figure.legend(loc="lower center", ncols=_columns(list(records)), borderaxespad=0.1, handlelength=2.8)
        svg, png = io.StringIO(), io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None}, transparent=True)
        figure.savefig(png, format="png", dpi=150)
    last = "; ".join(f"{configuration} {value:.4g}" for value, configuration in ends)
    text = svg.getvalue()
    says = f"{study.title}: {label} by epoch. At the end: {last or 'nothing'}."
    title = name.replace("_", " ").capitalize().replace("Loss", "Training loss")
    return Picture(f"{study.name}-{name.replace('_', '-')}", title, text[text.index("<svg") :], png.getvalue(), says)


def _canvas(labels: Sequence[str]) -> tuple[Figure, Any]:
    """A figure, and axes with room for a legend of these labels below them."""
    legend = LINE * -(-len(labels) // _columns(labels)) if labels else 0.0
    height = TOP + HEIGHT + BELOW + legend
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((LEFT / WIDTH, (BELOW + legend) / height, 1 - (LEFT + RIGHT) / WIDTH, HEIGHT / height))
    return figure, axes


def _columns(labels: Sequence[str]) -> int:
    """The number of labels in a line of the legend."""
    return max(1, min(len(labels), 4, ROOM // (max(map(len, labels)) + 7)))


def _logarithmic(axes: Any) -> None:
    """Make the vertical axis logarithmic, with plain numbers."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def styles(study: Study) -> dict[str, dict[str, Any]]:
    """The line of each configuration, the same in all of a study's pictures.

    Colour and mark show the value on the study's first axis, dashes the values on the others.
    """
    labels = list(study.configurations())
    rest = len(labels) // len(next(iter(study.vary.values()), [None]))
    colours = list(COLOURS)
    return {
        label: {
            "color": colours[i // rest % len(colours)],
            "marker": MARKS[i // rest % len(MARKS)],
            "linestyle": DASHES[i % rest % len(DASHES)],
            "linewidth": 1.6,
            "markersize": 4,
        }
        for i, label in enumerate(labels)
    }


def themed(svg: str) -> str:
    """An SVG whose colours a page can change: each becomes a CSS variable with the colour as its default."""
    for number, colour in enumerate((*COLOURS, GRID)):
        svg = svg.replace(colour, f"var(--line{number}, {colour})")
    return svg
