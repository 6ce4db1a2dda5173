"""``x[index]`` and its adjoint, recorded as slices, gathers and scatters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vugrad.compiler.trace.standin import CannotCompileError, Traced, place

Shape = tuple[int, ...]


@dataclass
class Picked:
    """What an index picks of an array of some shape.

    First a slice of every axis; then, at the axes ``axes`` of what is left, positions from arrays; their shape
    ``places`` stands before the other axes, and moves to position ``at``. ``rest`` are the other axes' extents, with
    a 1 for each new axis and without those that one number picked from.
    """

    starts: Shape
    steps: Shape
    extents: Shape
    axes: Shape
    indices: list[Any]
    places: Shape
    at: int
    rest: Shape

    @property
    def shape(self) -> Shape:
        """Of the result."""
        return (*self.rest[: self.at], *self.places, *self.rest[self.at :])


def parse(index: Any, shape: Shape) -> Picked:
    """Understand an index as NumPy does."""
    items = _expanded(index, shape)
    arrays = [item for item in items if _is_array(item)]
    starts, steps, extents, axes, indices = [], [], [], [], []
    rest: list[int] = []
    kinds = ""  # of each item: a for an array of positions (or a number among them), s for the others
    axis = 0
    for item in items:
        if item is None:
            rest.append(1)
            kinds += "s"
            continue
        n = shape[axis]
        if isinstance(item, slice):
            start, stop, step = item.indices(n)
            extent = len(range(start, stop, step))
            starts.append(start if extent else 0)
            steps.append(step)
            extents.append(extent)
            rest.append(extent)
            kinds += "s"
        elif arrays:
            axes.append(axis)
            indices.append(_positions(item, n))
            starts, steps, extents = [*starts, 0], [*steps, 1], [*extents, n]
            kinds += "a"
        else:
            if not -n <= item < n:
                raise IndexError(f"index {item} is out of bounds for axis {axis} with size {n}")
            starts, steps, extents = [*starts, int(item) % n], [*steps, 1], [*extents, 1]
        axis += 1
    together = "s" not in kinds.strip("s")
    before = len(kinds) - len(kinds.lstrip("s"))
    places = np.broadcast_shapes(*(i.shape for i in indices)) if indices else ()
    at = before if together and indices else 0
    return Picked(tuple(starts), tuple(steps), tuple(extents), tuple(axes), indices, places, at, tuple(rest))


def getitem(x: Traced, index: Any) -> Traced:
    """``x[index]``."""
    p = parse(index, x.shape)
    y = x.record("slice", view=not p.axes, starts=p.starts, steps=p.steps, extents=p.extents)
    if not p.axes:
        return y.record("reshape", view=True, shape=p.rest)
    y = y.record("gather", *(_lifted(x, i) for i in p.indices), axes=p.axes)
    y = y.record("reshape", shape=(*p.places, *p.rest))
    n = len(p.places)
    order = (*range(n, n + p.at), *range(n), *range(n + p.at, len(y.shape)))
    return y.record("transpose", axes=order)


def scatter(values: Any, index: Any, shape: Shape) -> Any:
    """Zeros of ``shape`` with ``values`` added at ``index``."""
    p = parse(index, shape)
    values = np.broadcast_to(values, p.shape)
    if p.axes:
        n = len(p.places)
        order = (*range(p.at, p.at + n), *range(p.at), *range(p.at + n, len(p.shape)))
        y = values.record("transpose", axes=order)
        others = tuple(extent for i, extent in enumerate(p.extents) if i not in p.axes)
        y = y.record("reshape", shape=(*p.places, *others))
        y = y.record("scatter", *(_lifted(values, i) for i in p.indices), axes=p.axes, shape=p.extents)
    else:
        y = values.record("reshape", shape=p.extents)
    backwards = [step < 0 for step in p.steps]
    if any(backwards):
        starts = tuple(max(n - 1, 0) if back else 0 for n, back in zip(p.extents, backwards, strict=True))
        steps = tuple(-1 if back else 1 for back in backwards)
        y = y.record("slice", starts=starts, steps=steps, extents=p.extents)
    widths = []
    for n, start, step, extent in zip(shape, p.starts, p.steps, p.extents, strict=True):
        first, last = sorted((start, start + (extent - 1) * step)) if extent else (0, -1)
        widths.append((first, n - 1 - last, abs(step) - 1))
    return y.record("pad", widths=tuple(widths), value=0)


def _is_array(item: Any) -> bool:
    return isinstance(item, Traced | np.ndarray)


def _expanded(index: Any, shape: Shape) -> list[Any]:
    """The index as one item for each axis, and ``None`` for each new one."""
    items: list[Any] = []
    for item in index if isinstance(index, tuple) else (index,):
        item = np.asarray(item) if isinstance(item, list) else item
        if isinstance(item, Traced | np.ndarray) and item.dtype.kind == "b":
            if isinstance(item, Traced):
                raise CannotCompileError(
                    f"{place()}: x[mask] has a shape that depends on the numbers: write np.where(mask, x, 0)"
                )
            items.extend(item.nonzero())
        else:
            items.append(item)
    used = sum(item is not None and item is not ... for item in items)
    if used > len(shape):
        raise IndexError(f"{used} indices for an array of shape {shape}")
    filler = [slice(None)] * (len(shape) - used)
    dots = [i for i, item in enumerate(items) if item is ...]
    return [*items[: dots[0]], *filler, *items[dots[0] + 1 :]] if dots else items + filler


def _positions(item: Any, n: int) -> Any:
    if isinstance(item, Traced):
        if item.dtype.kind not in "iu":
            raise IndexError(f"positions are whole numbers, not {item.dtype}")
        return item
    item = np.asarray(item)
    if item.dtype.kind not in "iu" and item.size:
        raise IndexError(f"positions are whole numbers, not {item.dtype}")
    if item.size and not (-n <= item.min() and item.max() < n):
        raise IndexError(f"index {item.min() if item.min() < -n else item.max()} is out of bounds for size {n}")
    return item.astype(np.int64)


def _lifted(like: Traced, index: Any) -> Any:
    if isinstance(index, Traced):
        return index if index.dtype == np.int64 else index.record("cast", dtype=np.dtype(np.int64))
    return Traced(like.program, like.program.add("constant", value=index))
