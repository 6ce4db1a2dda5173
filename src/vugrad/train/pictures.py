"""Pictures of a training run (extra ``lab``): its curves, and a classifier's regions in the plane."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from vugrad.data import Dataset
from vugrad.nn import Module
from vugrad.train.evaluate import predict
from vugrad.train.history import History

#: Okabe and Ito's colours, which colour-blind readers can tell apart.
TRAIN, VALIDATION = "#0072B2", "#D55E00"


def draw_curves(history: History, path: Path) -> None:
    """The curves of a history, as a PNG."""
    curves(history).savefig(path, dpi=150)


def curves_svg(history: History) -> str:
    """The curves of a history, as SVG for a notebook."""
    file = io.StringIO()
    curves(history).savefig(file, format="svg")
    return file.getvalue()


def curves(history: History) -> Figure:
    """Loss and, for classes, accuracy by epoch, of the training and the validation split."""
    panels = [("loss", "loss (mean per instance)"), ("accuracy", "accuracy")]
    panels = [(figure, label) for figure, label in panels if None not in history[figure]]
    picture = Figure(figsize=(4.8 * len(panels), 3.6), layout="constrained")
    for axes, (figure, label) in zip(picture.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for name, key, color in (("train", figure, TRAIN), ("validation", f"validation_{figure}", VALIDATION)):
            values = history[key]
            if None not in values:
                axes.plot(history["epoch"], values, "o-", color=color, label=name, markersize=4)
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        if figure == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    return picture


def draw_boundary(model: Module, data: Dataset, path: Path) -> None:
    """The class that the model gives each point of the plane, and instances with their own, as a PNG."""
    split = data.test or data.validation or data.train
    x, y = split.x[:1000], split.y[:1000]
    low, high = x.min(axis=0) - 0.3, x.max(axis=0) + 0.3
    columns, rows = (np.linspace(low[i], high[i], 300, dtype=x.dtype) for i in (0, 1))
    points = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
    taken: Any = predict(model, points).argmax(axis=1).reshape(300, 300)
    picture = Figure(figsize=(5.4, 4.6), layout="constrained")
    axes = picture.subplots()
    palette = [TRAIN, VALIDATION, "#009E73", "#CC79A7", "#F0E442", "#56B4E9", "#E69F00"]
    colors = [palette[label % len(palette)] for label in range(data.num_classes)]
    axes.contourf(columns, rows, taken, levels=np.arange(data.num_classes + 1) - 0.5, colors=colors, alpha=0.25)
    for label, color in enumerate(colors):
        chosen = x[y == label]
        marker = "os^D"[label // len(palette) % 4]  # distinguishes classes of the same colour
        axes.scatter(chosen[:, 0], chosen[:, 1], s=9, color=color, marker=marker, label=f"class {label}", linewidths=0)
    axes.set(xlabel="feature 1", ylabel="feature 2", title="regions: the network; points: the data")
    picture.legend(frameon=False, loc="outside right upper")  # outside, where it hides no point
    picture.savefig(path, dpi=150)
