"""Windows over images that are a convolution or a pooling: what ONNX calls ``Conv``, ``MaxPool``, ``AveragePool``.

The functions give the steps that the result is made of and how it is made of them, or ``None``.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vugrad.interchange.onnx.graph import Graph
from vugrad.interchange.onnx.movement import sliced
from vugrad.interchange.onnx.steps import Dim, Dims, Step, Steps, fixed

Made = tuple[tuple[int, ...], Callable[[Graph, list[str]], str]]

#: Of an axis, what it runs over: letters with their extents, the slowest first, none of extent 1.
Axis = tuple[tuple[str, Dim], ...]


# --- pooling


def max_pool(s: Steps, number: int) -> Made | None:
    """The largest of each window, as one reduction or place by place."""
    y = s[number]
    if y.dtype not in (np.float32, np.float64):
        return None
    window = _whole(s, number, "maximum") or _place_by_place(s, number, "max", None)
    if window is None:
        return None
    x, pads = _framed(s, window, -math.inf, below=window.parameters["kernel"])
    return _pool("MaxPool", window, x, pads)


def mean_pool(s: Steps, number: int) -> Made | None:
    """The sum of each window, divided by how many numbers that are."""
    above, divisor = s[number].operands
    window = _summed(s, above)
    if window is None or s.number(divisor) != math.prod(window.parameters["kernel"]):
        return None
    return _average(s, window)


def sum_pool(s: Steps, number: int) -> Made | None:
    """The sum of each window, as their mean times how many numbers that are."""
    window = _summed(s, number)
    if window is None:
        return None
    operands, emit = _average(s, window)
    count = np.array(math.prod(window.parameters["kernel"]), np.float32)
    return operands, lambda g, xs: g.node("Mul", emit(g, xs), g.constant(count))


def _summed(s: Steps, number: int) -> Step | None:
    if s[number].dtype != np.float32:  # onnxruntime has no AveragePool for others
        return None
    return _whole(s, number, "sum") or _place_by_place(s, number, "add", 0.0)


def _average(s: Steps, window: Step) -> Made:
    x, pads = _framed(s, window, 0.0, below=window.parameters["kernel"])
    return _pool("AveragePool", window, x, pads, **({"count_include_pad": 1} if any(pads) else {}))


def _pool(op: str, window: Step, x: int, pads: list[int], **more: Any) -> Made:
    attributes = {**_geometry(window, pads), **more}
    return (x,), lambda g, xs: g.node(op, *xs, **attributes)


def _geometry(window: Step, pads: list[int]) -> dict[str, Any]:
    p = window.parameters
    geometry = {"kernel_shape": list(p["kernel"]), "strides": list(p["stride"])}
    return {**geometry, "pads": pads} if any(pads) else geometry


def _whole(s: Steps, number: int, primitive: str) -> Step | None:
    """The windows that a reduction reduces each to one number."""
    y = s[number]
    if y.primitive != primitive or y.parameters["axes"] != (4, 5):
        return None
    return _windows(s, y.operands[0])


def _windows(s: Steps, number: int) -> Step | None:
    """Windows of whole images, whose number does not depend on the batch."""
    y = s[number]
    return y if y.primitive == "window" and len(y.shape) == 6 and fixed(y.shape[1:]) and 0 not in y.shape else None


def _place_by_place(s: Steps, number: int, primitive: str, start: float | None) -> Step | None:
    """The windows of which every place is picked by itself and all are combined; ``start`` may come first."""
    waiting, windows, places = [number], set(), []
    while waiting:
        i = waiting.pop()
        if s[i].primitive == primitive:
            waiting += s[i].operands
            continue
        if start is not None and s.number(i) == start and len(waiting) == 0:
            continue
        if s[i].primitive != "reshape" or s[s[i].operands[0]].primitive != "slice":
            return None
        piece = s[s[i].operands[0]]
        window = _windows(s, piece.operands[0])
        p = piece.parameters
        if window is None or p["starts"][:4] != (0, 0, 0, 0) or set(p["steps"]) != {1}:
            return None
        if p["extents"] != (*window.shape[:4], 1, 1) or s[i].shape != window.shape[:4]:
            return None
        windows.add(piece.operands[0])
        places.append(p["starts"][4:])
    if len(windows) != 1:
        return None
    window = s[windows.pop()]
    return window if sorted(places) == list(itertools.product(*map(range, window.parameters["kernel"]))) else None


def _framed(s: Steps, window: Step, value: float, below: Sequence[int] | None = None) -> tuple[int, list[int]]:
    """The images that windows are of, and the rows and columns of ``value`` around them: top, left, bottom, right.

    With ``below``, a frame is left to an operator of its own unless it is narrower than that.
    """
    (x,) = window.operands
    frame = s[x]
    if frame.primitive == "pad" and frame.parameters["value"] == value:
        widths = frame.parameters["widths"]
        (top, bottom, _), (left, right, _) = widths[2:]
        plain = set(widths[:2]) == {(0, 0, 0)} and not any(between for _, _, between in widths)
        narrow = below is None or (max(top, bottom) < below[0] and max(left, right) < below[1])
        if plain and narrow:
            return frame.operands[0], [top, left, bottom, right]
    return x, [0, 0, 0, 0]


def part_of_windows(s: Steps, number: int) -> Made | None:
    """One place of every window: a slice of the images by the windows' stride."""
    (above,) = s[number].operands
    window, p = s[above], s[number].parameters
    if window.primitive != "window":
        return None
    image, n = s[window.operands[0]], len(window.shape) - 4
    whole = all(
        (p["starts"][a], p["steps"][a], p["extents"][a]) == (0, 1, window.shape[a])
        for a in range(len(window.shape) - 2)
    )
    if not whole or p["extents"][-2:] != (1, 1):
        return None
    starts = (*[0] * n, *p["starts"][-2:])
    steps = (*[1] * n, *window.parameters["stride"])
    extents = window.shape[:-2]

    def emit(g: Graph, xs: list[str]) -> str:
        y = sliced(g, xs[0], image.shape, starts, steps, extents)
        return g.reshape(y, extents, (*extents, 1, 1))

    return window.operands, emit


# --- convolution


def convolution(s: Steps, number: int) -> Made | None:
    """A contraction of windows with kernels, whatever the order of their axes, and in however many groups."""
    chain = _back(s, number)
    y = s[chain[-1]]
    terms, _, output = y.parameters.get("subscripts", "").partition("->")
    if y.primitive != "contract" or y.dtype != np.float32 or terms.count(",") != 1:
        return None  # onnxruntime has no Conv for other dtypes
    a, b = terms.split(",")
    for images, kernels, (x, k) in ((a, b, y.operands), (b, a, y.operands[::-1])):
        made = _convolved(s, [*reversed(chain[:-1])], images, kernels, output, x, k)
        if made is not None:
            return made
    return None


def _back(s: Steps, number: int) -> list[int]:
    """A step and those above it, as long as they only move what is in them."""
    found = [number]
    while s[number].primitive in ("reshape", "transpose"):
        (number,) = s[number].operands
        found.append(number)
    return found


def _convolved(s: Steps, after: list[int], a: str, b: str, output: str, x: int, k: int) -> Made | None:
    *moves, above = _back(s, x)
    window = _windows(s, above)
    if window is None or not fixed(s[k].shape):
        return None
    start: list[Axis] = [() if n == 1 else ((letter, n),) for letter, n in zip("NCHWIJ", window.shape, strict=True)]
    axes = _moved(s, start, moves[::-1])
    if axes is None or len(set(a)) < len(a) or len(set(b)) < len(b):
        return None
    of = dict(zip(a, axes, strict=True))
    own = [c for c in b if c not in a]
    groups = [atom for c in output if c in a and c in b for atom in of[c]]
    kept = {letter for c in a if c not in b for letter, _ in of[c]}
    summed = [letter for c in a if c in b and c not in output for letter, _ in of[c]]
    # Which axes may be where: images, rows and columns stay; the channels of a group and the places are summed.
    if len(own) > 1 or not kept <= set("NHW") or any(c in a and c not in b + output for c in a):
        return None
    letters = [letter for letter, _ in groups]
    if letters not in ([], ["C'"], ["C"]) or not set(summed) <= {*"CIJ", "C'"} or (letters == ["C"] and "C'" in summed):
        return None
    if not all(c in output for c in own) or not all(c in output for c in a if c not in b):
        return None
    for c in own:
        of[c] = () if s[k].shape[b.index(c)] == 1 else (("O", s[k].shape[b.index(c)]),)
    result = _moved(s, [of[c] for c in output], after)
    channels = tuple(groups) + tuple(atom for c in own for atom in of[c])
    expected = [start[0], channels, start[2], start[3]]
    if result != expected:
        return None
    count = math.prod(n for _, n in groups)  # type: ignore[misc]
    kernel = window.parameters["kernel"]
    return _conv(s, window, k, [of[c] for c in b], letters, count, kernel)


def _conv(
    s: Steps, window: Step, k: int, axes: list[Axis], groups: list[str], count: int, kernel: tuple[int, int]
) -> Made:
    x, pads = _framed(s, window, 0.0)
    attributes = {**_geometry(window, pads), **({"group": count} if count > 1 else {})}
    atoms = [atom for axis in axes for atom in axis]
    letters = [letter for letter, _ in atoms]
    order = sorted(range(len(atoms)), key=lambda i: [*groups, "O", "C'", "C", "I", "J"].index(letters[i]))
    outer = math.prod(n for letter, n in atoms if letter in [*groups, "O"])  # type: ignore[misc]
    per_group = s[x].shape[1] // count  # type: ignore[operator]
    before, apart = s[k].shape, tuple(n for _, n in atoms)

    def emit(g: Graph, xs: list[str]) -> str:
        weight = g.transpose(g.reshape(xs[1], before, apart), order)
        weight = g.reshape(weight, tuple(apart[i] for i in order), (outer, per_group, *kernel))
        return g.node("Conv", xs[0], weight, *xs[2:], **attributes)  # a bias may follow

    return (x, k), emit


def _moved(s: Steps, axes: list[Axis], moves: Sequence[int]) -> list[Axis] | None:
    """Where what axes run over is after reshapes and transpositions; ``None`` if an axis is taken apart otherwise."""
    found: list[Axis] | None = axes
    for i in moves:
        if found is None:
            return None
        found = (
            [found[a] for a in s[i].parameters["axes"]] if s[i].primitive == "transpose" else _split(found, s[i].shape)
        )
    return found


def _split(axes: list[Axis], shape: Dims) -> list[Axis] | None:
    """What the axes of a reshape run over; an axis that becomes two is called C' in its slower part."""
    atoms = deque(atom for axis in axes for atom in axis)
    found: list[Axis] = []
    for n in shape:
        axis: list[tuple[str, Dim]] = []
        while n != 1:
            if not atoms:
                return None
            letter, extent = atoms.popleft()
            if extent == n:
                axis.append((letter, extent))
                n = 1
            elif not isinstance(extent, int) or not isinstance(n, int) or not n:
                return None
            elif n % extent == 0:
                axis.append((letter, extent))
                n //= extent
            elif extent % n == 0 and "'" not in letter:
                axis.append((f"{letter}'", n))
                atoms.appendleft((letter, extent // n))
                n = 1
            else:
                return None
        found.append(tuple(axis))
    return None if atoms else found
