"""The slope of a number along a line, with an error bar that knows about rounding and curvature."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

#: A function of distances along a line, which returns its value at each; distances may be complex if it allows that.
Line = Callable[..., list[complex]]

#: So many steps are tried, each a quarter of the one before.
LEVELS, RATIO = 12, 4.0
EPS = float(np.finfo(float).eps)
#: What changes in steps of less than this share of it does so because its numbers are of lower precision.
GRAIN = 1e-5
#: The steps, as shares of the largest, over which it is seen how rough a function is.
STEPS = [1e-9, 3e-6, 1e-4, 1e-3, 1e-2, 1e-1]
#: Differences must know a slope to this share of it before a complex step is believed.
ROUGHLY = 0.2


@dataclass(frozen=True)
class Slope:
    """A derivative.

    Args:
        value: of the derivative; of no meaning where there is none.
        error: how far off it may be.
        method: "complex step", "differences", "kink" (where ``left`` and ``right`` differ), or "none".
        left: the slope on one side.
        right: and on the other.
        steps: whether the function is flat close by, and moves in steps: what is computed in lower precision does.
    """

    value: float
    error: float
    method: str
    left: float = 0.0
    right: float = 0.0
    steps: bool = False


def slope(f: Line, size: float, magnitude: float, rough: float | None = None, careful: bool = True) -> Slope:
    """The slope of ``f`` at 0.

    Central differences over ever smaller steps, whose error is how much they still change, and the rounding of ``f``;
    where ``f`` takes complex numbers and agrees, its imaginary part at a tiny imaginary step instead, which loses no
    digits (Squire & Trapp, 1998). A kink is known by slopes on its two sides that do not approach each other.

    Args:
        f: the number along the line.
        size: the largest step.
        magnitude: of the terms that ``f`` is the sum of, each of which is rounded.
        rough: how far off ``f`` is by rounding, if that is known.
        careful: whether to see rounding in all that may be it; a kink close by may be.
    """
    middle = f(0)[0].real
    if not np.isfinite(middle):
        return Slope(np.nan, np.inf, "none")
    least, most, steps = roughness(f, size) if rough is None else (rough, rough, False)
    rounding = max(most if careful else least, 8 * EPS * magnitude)
    found = _differences(f, size, middle, rounding, magnitude if careful else 0.0, magnitude)
    if careful and steps and found.method == "differences":
        return replace(found, steps=True)
    if found.method == "differences":
        exact = _complex_step(f, size)
        if exact is not None and abs(exact - found.value) <= 4 * found.error <= ROUGHLY * abs(exact):
            # Not all code is analytic, as erf by the size of x is not.
            error = max(abs(exact - found.value), 64 * EPS * (abs(exact) + magnitude / size))
            return Slope(exact, error, "complex step")
    return found


def _differences(f: Line, size: float, middle: float, rounding: float, grains: float, magnitude: float) -> Slope:
    central: list[float] = []
    gaps: list[float] = []  # between the slopes ahead and behind: about h f″, unless there is a kink
    best, least = Slope(np.nan, np.inf, "none"), np.inf
    for k in range(LEVELS):
        h = size / RATIO**k
        ahead, behind = (y.real for y in f(h, -h))
        if grains and ahead == behind == middle and rounding < least <= GRAIN * (abs(middle) + grains):
            return _differences(f, size, middle, 2 * least, grains, magnitude)  # it moves in steps as large as that
        least = min(least, abs(ahead - middle) or np.inf, abs(behind - middle) or np.inf)
        central.append((ahead - behind) / (2 * h))
        gaps.append((ahead - 2 * middle + behind) / h)
        noise = 2 * rounding / h
        if k > 1 and np.all(np.isfinite(gaps[-3:])) and _closing(gaps[-3:], noise):
            error = abs(central[-1] - central[-2]) + noise
            if error < best.error:
                best = Slope(central[-1], error, "differences")
            if best.error <= 1e-7 * abs(best.value) + 1e-10 * magnitude / size:
                break
    last = gaps[-3:]
    if best.method == "none" and np.all(np.isfinite(last)) and max(last) - min(last) <= 0.1 * abs(last[-1]):
        return Slope(central[-1], np.inf, "kink", central[-1] - last[-1] / 2, central[-1] + last[-1] / 2)
    return best


def _closing(gaps: list[float], noise: float) -> bool:
    """Whether the slopes on both sides approach each other as the step shrinks."""
    return all(abs(b) <= 0.5 * abs(a) + 2 * noise for a, b in itertools.pairwise(gaps))


def roughness(f: Line, size: float) -> tuple[float, float, bool]:
    """How far off a value is by rounding, at least and at most, and whether it is flat close by: by fifth differences.

    What rounding makes of them is about the same for all step sizes that are large enough to see it (float32 stays the
    same over small ones). What a kink or curvature makes grows with the steps, which is not seen of every kink: so that
    the least is what the smallest steps show.
    """
    values = np.real(f(*(i * step * size for step in STEPS for i in range(6)))).reshape(len(STEPS), 6)
    if not np.all(np.isfinite(values)):
        values = values[:2] if np.all(np.isfinite(values[:2])) else np.zeros((1, 6))
    rough = np.abs(np.diff(values, 5)).ravel() / 8
    most = max([a for a, b in itertools.pairwise(rough) if b < 5 * a], default=0.0)
    flat = bool(np.all(values[: STEPS.index(3e-6) + 1] == values[0, 0]))
    return float(np.max(rough[:2])), max(float(rough[0]), most), flat and most > 0


def is_flat(f: Line, size: float) -> bool:
    """Whether a function is constant close by, and where it begins to move does so without a jump: not in steps."""
    middle = f(0)[0].real
    for sign in (1, -1):
        steps = [sign * size / RATIO**k for k in range(LEVELS)]
        values = [y.real for y in f(*steps)]
        moved = [h for h, y in zip(steps, values, strict=True) if y != middle]
        if not moved:
            continue
        if len(moved) == LEVELS or not np.all(np.isfinite(values)):
            return False
        far, near = moved[-1], steps[len(moved)]
        for _ in range(30):
            half = (far + near) / 2
            far, near = (half, near) if f(half)[0].real != middle else (far, half)
        if abs(f(far)[0].real - middle) > 1e-4 * max(abs(y - middle) for y in values):
            return False
    return True


def _complex_step(f: Line, size: float) -> float | None:
    h = 1e-100 * size
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            y = f(1j * h)[0]
    except Exception:  # it takes real numbers only
        return None
    # A 0 may be the imaginary part that something has dropped.
    return (
        float(y.imag / h)
        if isinstance(y, complex | np.complexfloating) and np.isfinite(y.imag / h) and y.imag
        else None
    )
