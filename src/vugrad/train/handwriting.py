"""Pictures that people make of digits, as the images that networks are trained on (extra ``lab``)."""

from __future__ import annotations

import io
import itertools
import math
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
#: What has less than this share of the largest stroke's ink is dirt; what has more than that, another digit.
DIRT, PART = 0.02, 0.3
#: How thick strokes are at least, for the longer side of the digit.
THICK = 0.1


def read_ink(path: str | Path) -> Array:
    """A PNG or JPEG as ink, 0 to 1, dark on light or light on dark, at up to ``LARGEST`` rows and columns.

    The paper is what most of the border shows, lit evenly or from a side; ink is what differs from it to the side
    where more does.

    Raises ``FileNotFoundError``, or ``ValueError`` for what is no picture, or has nothing on it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is {'a folder' if path.is_dir() else 'no file'}: give a PNG or JPEG")
    grey = _unframed(_grey(path))
    difference = grey - _paper(grey)
    ink = np.maximum(0, difference if np.sum(np.sign(difference) * difference**2) > 0 else -difference)
    if ink.max() < CONTRAST:
        raise ValueError(f"{path}: nothing is drawn on it, its greys are too much alike")
    between = _threshold(ink)
    return _thickened(_cleaned(path, np.clip(ink / between - 0.5, 0, 1)))


def _cleaned(path: Path, ink: Array) -> Array:
    """Without dirt, and without frames, edges and rules, which go from one side of the picture to the other.

    Raises ``ValueError`` where two digits seem to stand side by side.
    """
    strokes, n = ndimage.label(ink > 0, np.ones((3, 3)))
    weights = ndimage.sum_labels(ink, strokes, np.arange(n + 1))
    boxes = [(slice(0), slice(0)), *ndimage.find_objects(strokes)]
    through = np.array([any(s == slice(0, e) for s, e in zip(box, ink.shape, strict=True)) for box in boxes])
    if weights[~through].max() >= DIRT * weights.max():
        weights[through] = 0
    large = sorted(
        (box[1].start, box[1].stop) for box, weight in zip(boxes, weights, strict=True) if weight > PART * weights.max()
    )
    if any(stop < start for (_, stop), (start, _) in itertools.pairwise(large)):
        raise ValueError(f"{path} shows more than one digit, side by side: cut it into pictures of one each")
    return np.where(weights[strokes] >= max(DIRT * weights.max(), 1e-9), ink, 0)


def _thickened(ink: Array) -> Array:
    """With strokes at least as thick as they are in MNIST, for the size of the digit."""
    drawn = ink > 0.5
    inside = ndimage.distance_transform_edt(drawn)
    middle = (inside == ndimage.maximum_filter(inside, 3)) & drawn
    if not middle.any():
        return ink
    extent = max(np.ptp(places) + 1 for places in np.nonzero(drawn))
    missing = THICK * extent / 2 - float(np.median(inside[middle]))
    if missing <= 0:
        return ink
    around = math.ceil(missing)
    ink, drawn = np.pad(ink, around), np.pad(drawn, around)
    thick: Array = np.maximum(ink, np.clip(missing + 1 - ndimage.distance_transform_edt(~drawn), 0, 1))
    return thick


def _grey(path: Path) -> Array:
    """Its pixels from 0 to 1, transparent ones as white, or as what no other pixel is if all others are white."""
    content = path.read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as of damage to what the picture does not need
            # From memory: what a file says of its parts' lengths then costs nothing before it proves false.
            with Image.open(io.BytesIO(content), formats=["PNG", "JPEG"]) as file:
                if file.width * file.height > MOST:
                    raise ValueError(f"it is {file.width} x {file.height} pixels large, more than {MOST:,}")
                file.draft("L", (LARGEST, LARGEST))
                picture = ImageOps.exif_transpose(file)
                picture.load()
    except UnidentifiedImageError:
        raise ValueError(f"{path} is not a picture that can be read: it is neither PNG nor JPEG") from None
    except Exception as error:  # for a damaged file Pillow raises OSError, struct.error and others
        raise ValueError(f"{path} is not a picture that can be read: {error}") from error
    if picture.mode.startswith(("I", "F")):  # more than 8 bits
        levels = np.asarray(picture, np.float32)
        picture = Image.fromarray((levels * (255 / max(float(levels.max()), 1))).astype(np.uint8))
    picture = picture.convert("RGBA" if picture.has_transparency_data else "L")
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    level, alpha = (np.asarray(part, np.float32) / 255 for part in picture.convert("LA").split())
    over = level * alpha + (1 - alpha)
    return over if np.ptp(over) > CONTRAST else 1 - alpha


def _unframed(grey: Array) -> Array:
    """What is left when a frame, or the table on which the paper lies, is cut off: an edge unlike most of it."""
    cut = math.ceil(max(grey.shape) / 32)
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    differs = abs(float(np.median(grey) - np.median(edge))) > 0.3 > np.ptp(edge)
    return _unframed(grey[cut:-cut, cut:-cut]) if differs and min(grey.shape) > 8 * cut else grey


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
