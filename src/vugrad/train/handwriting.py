"""Pictures that people make of digits, as the images that networks are trained on (extra ``lab``)."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage

Array = np.ndarray[Any, Any]

#: Pictures are looked at with so many pixels along their longer side.
LARGEST = 400
#: A picture may have so many pixels: there are telephones that make nearly as many.
MOST = 2**26
#: Of the range of grey, how much ink and paper differ at least.
CONTRAST = 0.08
#: What has less than this share of the largest stroke's ink is dirt.
DIRT = 0.02


def read_ink(path: str | Path) -> Array:
    """A PNG or JPEG as ink, 0 to 1, dark on light or light on dark, at up to ``LARGEST`` rows and columns.

    The paper is what most of the border shows, lit evenly or from a side; ink is what differs from it to the side
    where more does.

    Raises ``FileNotFoundError``, or ``ValueError`` for what is no picture, or has nothing on it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    grey = _grey(path)
    difference = grey - _paper(grey)
    ink = np.maximum(0, difference if np.sum(np.sign(difference) * difference**2) > 0 else -difference)
    if ink.max() < CONTRAST:
        raise ValueError(f"{path}: nothing is drawn on it, its greys are too much alike")
    between = _threshold(ink)
    ink = np.clip(ink / between - 0.5, 0, 1)
    strokes, n = ndimage.label(ink > 0, np.ones((3, 3)))
    weights = ndimage.sum_labels(ink, strokes, np.arange(n + 1))
    return np.where(weights[strokes] >= DIRT * weights.max(), ink, 0)


def _grey(path: Path) -> Array:
    """Its pixels from 0 to 1, transparent ones as white, or as what no other pixel is if all others are white."""
    content = path.read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # as for a file that would become far larger than it is
            # From memory: what a file says of its parts' lengths then costs nothing before it proves false.
            with Image.open(io.BytesIO(content), formats=["PNG", "JPEG"]) as file:
                if file.width * file.height > MOST:
                    raise ValueError(f"it is {file.width} x {file.height} pixels large, more than {MOST:,}")
                file.draft("L", (LARGEST, LARGEST))
                picture = ImageOps.exif_transpose(file)
                picture.load()
    except UnidentifiedImageError:
        raise ValueError(f"{path} is not a picture that can be read: it is neither PNG nor JPEG") from None
    except (OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is not a picture that can be read: {error}") from error
    if picture.mode.startswith(("I", "F")):  # more than 8 bits
        levels = np.asarray(picture, np.float32)
        picture = Image.fromarray((levels * (255 / max(float(levels.max()), 1))).astype(np.uint8))
    picture = picture.convert("RGBA" if picture.has_transparency_data else "L")
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    level, alpha = (np.asarray(part, np.float32) / 255 for part in picture.convert("LA").split())
    over = level * alpha + (1 - alpha)
    return over if np.ptp(over) > CONTRAST else 1 - alpha


def _paper(grey: Array) -> Array:
    """How light the paper is everywhere: a plane through those pixels of the border that are most alike."""
    rows, columns = np.indices(grey.shape) / max(grey.shape)
    at = np.stack([np.ones(grey.shape), rows, columns], axis=-1)
    edge = np.ones(grey.shape, bool)
    edge[1:-1, 1:-1] = False
    off = np.abs(grey - np.median(grey[edge]))
    for _ in range(3):
        alike = edge & (off <= 3 * np.median(off[edge]))
        plane = at @ np.linalg.lstsq(at[alike], grey[alike], rcond=None)[0]
        off = np.abs(grey - plane)
    return np.asarray(plane)


def _threshold(x: Array) -> float:
    """The number that parts two kinds of pixel best: the variance between them is the greatest. Source: Otsu, 1979."""
    counts, edges = np.histogram(x, 256)
    middles = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1].astype(float)
    above = x.size - below
    mean_below = np.cumsum(counts * middles)[:-1] / np.maximum(below, 1)
    mean_above = (np.sum(counts * middles) - np.cumsum(counts * middles)[:-1]) / np.maximum(above, 1)
    return float(edges[1:-1][np.argmax(below * above * (mean_above - mean_below) ** 2)])


def centred(ink: Array, side: int, box: int) -> Array:
    """A drawing as MNIST has its digits: ``box`` pixels along its longer side, its centre of mass in the middle.

    Source: LeCun's page on MNIST.
    """
    image = np.zeros((side, side))
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return image
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    h, w = (max(1, round(n * box / max(ink.shape))) for n in ink.shape)
    small = np.asarray(Image.fromarray((ink * 255).astype(np.uint8)).resize((w, h), Image.Resampling.BOX)) / 255
    total = small.sum() or 1.0
    top, left = (
        int(np.clip(round(side / 2 - float(np.sum(np.arange(n) * small.sum(axis=a))) / total), 0, side - n))
        for n, a in ((h, 1), (w, 0))
    )
    image[top : top + h, left : left + w] = small
    return image
