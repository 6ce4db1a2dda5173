"""``vugrad predict``: digits in pictures, read by a trained network (extra ``lab``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from vugrad import ops
from vugrad.files import as_json, check_writable, write_whole
from vugrad.train import checkpoint
from vugrad.train.evaluate import predict
from vugrad.train.handwriting import centred, read_ink
from vugrad.train.screen import Screen
from vugrad.train.trained import Trained

Array = np.ndarray[Any, Any]


def _softmax(outputs: Array) -> Array:
    return np.asarray(ops.Softmax.do_forward(outputs, axis=1).value)


#: From outputs (N, C) to a share of each class, by the loss that the network was trained with; others are by softmax.
SHARES: dict[str, Callable[[Array], Array]] = {
    "bce": lambda outputs: np.asarray(ops.Sigmoid.do_forward(outputs).value),
    **dict.fromkeys(("mse", "l1", "huber"), lambda outputs: np.clip(outputs, 0, None)),
}
#: How light is drawn where there are no colours.
INK = " .:-=+*#%@"
#: Columns that the probabilities take.
WIDTH = 34


@dataclass(frozen=True)
class Reading:
    """A picture as the network saw it, pixels from 0 (paper) to 1 (ink), and the probability of each class."""

    path: Path
    pixels: Array
    probabilities: Array

    @property
    def label(self) -> int:
        """The class that is the likeliest."""
        return int(self.probabilities.argmax())

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"image": str(self.path), "label": self.label, "probabilities": self.probabilities.tolist()}


def predict_files(console: Console, model: Path, images: Sequence[Path], json_file: Path | None) -> bool:
    """Print what is on every picture, and whether all could be read; one that cannot costs no other."""
    if json_file is not None and str(json_file) != "-":
        check_writable(json_file.absolute())
    read = reader(model)
    found: list[dict[str, Any]] = []
    for path in images:
        try:
            reading = read(path)
        except (OSError, ValueError) as error:
            found.append({"image": str(path), "error": str(error)})
            Screen(stderr=True).print(f"error: {error}", style="red")
            continue
        found.append(reading.as_dict())
        if str(json_file) != "-":
            console.print(_shown(reading, console))
    if str(json_file) == "-":
        print(as_json(found).decode())
    elif json_file is not None:
        write_whole(json_file, as_json(found))
    return all("error" not in entry for entry in found)


def reader(model: str | Path) -> Callable[[Path], Reading]:
    """What reads pictures with the network in a checkpoint, or in the one in a folder.

    Raises ``FileNotFoundError``, or ``ValueError`` where that is none of images of one digit.
    """
    saved = checkpoint.read(model)
    trained = Trained.of(saved)
    network, loss, box = trained.network(saved), trained.recipe.loss, trained.box
    if box is None or trained.shape[0] != 1 or trained.shape[1] != trained.shape[2]:
        raise ValueError(f"{model} takes no images: its network was trained on {trained.recipe.data}")

    def read(path: Path) -> Reading:
        pixels = centred(read_ink(path), trained.shape[1], box)
        x = (trained.low + (trained.high - trained.low) * pixels).astype(np.float32)
        outputs = predict(network, x[None, None])
        shares = SHARES.get(loss, _softmax)(outputs)[0]
        total = shares.sum(dtype=np.float64)
        return Reading(path, pixels, shares / total if total else np.full_like(shares, 1 / len(shares)))

    return read


def _shown(reading: Reading, console: Console) -> Group:
    """The picture, and the probabilities beside it, or below it where there is no room."""
    best = reading.probabilities[reading.label]
    plain = console.options.ascii_only
    colour = console.color_system is not None and not console.no_color and not plain
    bars = Table.grid(padding=(0, 1))
    for label, share in enumerate(reading.probabilities):
        style = "bold green" if label == reading.label else ""
        bars.add_row(
            Text(str(label), style),
            Text(("#" if plain else "█") * round(20 * float(share)), style),
            Text(f"{share:.1%}", style),
        )
    title, picture = Text(f"{reading.path}: {reading.label} ({best:.1%})", "bold"), _drawn(reading.pixels, colour)
    if console.width < reading.pixels.shape[1] + WIDTH:
        return Group(title, *([picture] if console.width >= reading.pixels.shape[1] else []), bars)
    beside = Table.grid(padding=(0, 2))
    beside.add_row(picture, bars)
    return Group(title, beside)


def _drawn(pixels: Array, colour: bool) -> Text:
    """A picture of two rows of pixels in each line: half blocks in greys, or letters."""
    if len(pixels) % 2:
        pixels = np.vstack([pixels, np.zeros((1, pixels.shape[1]))])
    picture = Text()
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        for a, b in zip(upper, lower, strict=True):
            if colour:
                over, under = (f"rgb({n},{n},{n})" for n in (round(255 * float(a)), round(255 * float(b))))
                picture.append("▀", f"{over} on {under}")
            else:
                picture.append(INK[min(int((a + b) / 2 * len(INK)), len(INK) - 1)])
        picture.append("\n")
    picture.rstrip()
    return picture
