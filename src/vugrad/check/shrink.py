"""The smallest case and the simplest numbers that still show a mistake, and one element of it worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vugrad.check.diagnose import explain
from vugrad.check.maps import Maps
from vugrad.check.subject import Array, Arrays, Fault, Subject, element, names
from vugrad.check.suspect import Mistake

#: Outputs and elements for which a map is made; of more, a part is looked at.
MANY = 400


@dataclass(frozen=True)
class Diagnosis:
    """A mistake, the smallest case of it, and whether it was found at other inputs: those given are too many, say."""

    mistake: Mistake
    case: str
    elsewhere: bool = False

    def __str__(self) -> str:
        seen = ", seen at other inputs than those given" if self.elsewhere else ""
        return f"The likely mistake{seen}: {self.mistake.text}.\nWrite: {self.mistake.cure}\n{self.case}"


def diagnose(checked: Subject) -> Diagnosis | None:
    """The known mistake that explains an op's wrong gradients; ``None`` if none does.

    Where the op cannot be looked at as it is, since its backward fails or returns other shapes, other inputs are tried:
    a transposed square fits its place.
    """
    rng = np.random.default_rng(0)
    for xs in _cases(checked):
        found = _explained(checked, xs)
        # What explains one set of numbers by chance does not explain others.
        others = [x * rng.uniform(0.9, 1.1, x.shape) if x.dtype.kind == "f" else x for x in xs]
        if found is not None and _alike(_explained(checked, others), found):
            smallest = _smallest(checked, xs, found)
            return Diagnosis(found, _worked_out(Maps(checked, smallest), found), xs is not checked.inputs)
        if _fits(checked, xs):
            return None
    return None


def _alike(one: Mistake | None, other: Mistake) -> bool:
    if one is None or (one.kind, one.label) != (other.kind, other.label):
        return False
    return one.kind not in ("factor", "power") or one.cure == other.cure  # the cure names the factor


def _explained(checked: Subject, xs: Arrays) -> Mistake | None:
    """The mistake that shows at these inputs, if forward takes them and one does."""
    try:
        with np.errstate(all="ignore"):
            maps = Maps(checked, xs)
            if maps.count * sum(x.size for x in xs) > MANY**2 or not all(np.all(np.isfinite(y)) for y in maps.outputs):
                return None
            return explain(maps)
    except Exception:  # whatever a forward raises for inputs that it does not take
        return None


def _fits(checked: Subject, xs: Arrays) -> bool:
    """Whether there are not too many outputs, and the code has a gradient of each input's shape."""
    try:
        with np.errstate(all="ignore"):
            maps = Maps(checked, xs)
            answers = maps.answers(np.ones(maps.count))
    except Exception:
        return False
    few = maps.count * sum(x.size for x in xs) <= MANY**2
    return few and all(a is None or a.shape == x.shape for a, x in zip(answers, xs, strict=True))


def _cases(checked: Subject) -> Iterator[Arrays]:
    """The inputs themselves, corners of them, and squares."""
    xs = checked.inputs
    yield xs
    extents = {n for x in xs for n in x.shape}
    for most in (3, 2):
        if max(extents, default=0) > most:
            yield [x[tuple(slice(most) for _ in x.shape)] for x in xs]
    rng = np.random.default_rng(0)
    try:
        extents |= {n for y in checked.forward(xs) for n in y.shape}
    except Fault:
        return
    for n in sorted({2, 3, *extents} - {0, 1}):
        square = [x if x.dtype.kind != "f" else rng.uniform(*_range(x), (n,) * x.ndim) for x in xs]
        if math.prod(y.size for y in square) <= MANY**2:
            yield square


def _range(x: Array) -> tuple[float, float]:
    """The least and the largest number of an input."""
    return (float(np.min(x)), float(np.max(x))) if x.size else (0.5, 2.0)


def _smallest(checked: Subject, xs: Arrays, mistake: Mistake) -> Arrays:
    """The inputs with as few elements and as simple numbers as show the same mistake."""

    def shows(candidate: Arrays) -> bool:
        return _alike(_explained(checked, candidate), mistake) and not _at_a_kink(checked, candidate)

    again = True
    while again:
        again = False
        for smaller in _smaller(xs):
            if shows(smaller):
                xs, again = smaller, True
                break
    for simpler in _simpler(xs):
        if shows(simpler):
            return simpler
    return xs


def _at_a_kink(checked: Subject, xs: Arrays) -> bool:
    """Whether the slopes are others a little way off, so that what is worked out here would be between two."""
    maps = Maps(checked, xs)
    rng = np.random.default_rng(0)
    for sign in (1, -1):
        near = [x + sign * 0.01 * rng.uniform(0.5, 1, x.shape) if x.dtype.kind == "f" else x for x in xs]
        for a, b in zip(maps.jacobians(), maps.jacobians(near), strict=True):
            if a is not None and not np.max(np.abs(a - b), initial=0) <= 0.2 * np.max(np.abs(a), initial=1e-300):
                return True
    return False


def _smaller(xs: Arrays) -> Iterator[Arrays]:
    """The inputs with all axes of one extent made shorter, then with one axis."""
    for n in sorted({n for x in xs for n in x.shape}, reverse=True):
        for m in range(1, n):
            yield [x[tuple(slice(m if extent == n else extent) for extent in x.shape)] for x in xs]
    for i, x in enumerate(xs):
        for axis, n in enumerate(x.shape):
            for m in range(1, n):
                yield [*xs[:i], x[(slice(None),) * axis + (slice(m),)], *xs[i + 1 :]]


def _simpler(xs: Arrays) -> Iterator[Arrays]:
    """Whole numbers, tenths, and as they are to one digit."""
    sizes = np.cumsum([0, *(x.size for x in xs)])
    for unit in (1.0, 0.1):
        yield [
            x if x.dtype.kind != "f" else unit * np.arange(a + 1.0, a + 1 + x.size).reshape(x.shape)
            for x, a in zip(xs, sizes, strict=False)
        ]
    yield [np.round(x, 1) if x.dtype.kind == "f" else x for x in xs]


def _worked_out(maps: Maps, mistake: Mistake) -> str:
    """The element that is most wrong, as a sum that can be done by hand."""
    i = maps.labels.index(mistake.label)
    numbers = np.arange(2.0, 2 + maps.count)
    go, out = names(maps.op.backward, 1, 1)[0], "y" if "y" not in maps.labels else "z"
    lines = [f"The smallest case, {maps.op.__name__} of {', '.join(str(x.shape) for x in maps.inputs)}:"]
    lines += [f"  {label} = {_short(x)}" for label, x in zip(maps.labels, maps.inputs, strict=True)]
    gos = maps.upstream(numbers)
    lines += [f"  {go}{k if len(gos) > 1 else ''} = {_short(g)}" for k, g in enumerate(gos)]
    jacobian = maps.jacobians()[i]
    true, code = np.tensordot(numbers, jacobian, 1), maps.answers(numbers)[i]
    if code.shape != true.shape:
        return "\n".join(
            [
                *lines,
                f"  the code's gradient of {mistake.label} has shape {code.shape}: {_short(code)}",
                f"  and it is {_short(true)}",
            ]
        )
    at = tuple(int(n) for n in np.unravel_index(np.argmax(np.abs(true - code)), true.shape))
    column = jacobian[(slice(None), *at)]
    places = [
        element(f"{out}{k if len(gos) > 1 else ''}", place) for k, g in enumerate(gos) for place in np.ndindex(g.shape)
    ]
    reached = [k for k in range(maps.count) if abs(column[k]) > 1e-9 * np.max(np.abs(column), initial=1e-300)]
    at_worst = element(mistake.label, at)
    terms = " + ".join(f"{numbers[k]:g} · ({column[k]:.4g})" for k in reached[:6]) + (
        " + …" if len(reached) > 6 else ""
    )
    of = ", ".join(places[k] for k in reached[:6]) + (", …" if len(reached) > 6 else "")
    lines += [
        f"  {at_worst} reaches {of or 'no output'}: g{at_worst} = {terms or '0'} = {true[at]:.4g}",
        f"  the code gives {code[at]:.4g}",
    ]
    return "\n".join(lines)


def _short(x: Array) -> str:
    with np.printoptions(precision=4, threshold=20, edgeitems=2, suppress=True):
        return str(x).replace("\n", "\n      ")
