"""Mistakes within a formula: a wrong power, a wrong sign of one term, a term without the upstream gradient."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from vugrad.check.maps import same
from vugrad.check.subject import Array
from vugrad.check.suspect import Mistake, Suspect

#: By how much a power may be off, the likely ones first.
OFF = (1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 0.5, -0.5, 1.5, -1.5)
#: The powers of an array in a term.
POWERS = (1, 2, 3, -1, -2)


def upstream_lost_in_a_term(s: Suspect) -> Iterator[Mistake]:
    """A term of the gradient is not multiplied by the upstream gradient."""
    alone = s.maps.answers(np.zeros(s.maps.count))[s.i]
    try:
        code = np.broadcast_to(s.code - alone, s.jacobian.shape)
        alone = np.broadcast_to(alone, s.jacobian.shape[1:])
    except ValueError:  # it is of another shape
        return
    if np.any(alone) and same(alone, np.sum(s.jacobian - code, axis=0)):
        yield s.mistake(
            "upstream",
            f"in the gradient of {s.label} the upstream gradient {s.go} is lost in one term: the others are right",
            f"multiply every term by {s.go}, under a sum too, as in np.sum({s.go} * …)",
        )


def power(s: Suspect) -> Iterator[Mistake]:
    """The gradient has a wrong power of one array."""
    if s.code.shape != s.jacobian.shape or not np.any(s.jacobian):
        return
    there = np.abs(s.jacobian) > 1e-9 * np.max(np.abs(s.jacobian))
    for off, (label, v) in itertools.product(OFF, _arrays(s)):
        if off % 1 and not np.all(v > 0):
            continue
        with np.errstate(all="ignore"):
            code = np.where(there, s.jacobian * v**off, 0.0)
        if np.all(np.isfinite(code)) and same(s.code, code) and not same(s.jacobian, code):
            right = _power_of(s, label)
            if right is None:
                text = f"{label} stands in the gradient of {s.label} to a power that is {abs(off):g} too "
                text += "high" if off > 0 else "low"
                cure = f"{s.g} = {s.g} {'/' if off > 0 else '*'} {_to(label, abs(off))}"
            else:
                text = f"{label} stands in the gradient of {s.label} to the power {right + off:g} in place of {right:g}"
                cure = f"{_written(label, right)} in place of {_written(label, right + off)}"
            yield s.mistake("power", text + _is_output(s, label), cure)


def _is_output(s: Suspect, label: str) -> str:
    """A remark that ``y`` is the output, if it is; else empty."""
    return " (y is the output)" if label == "y" and "y" not in s.maps.labels else ""


def _power_of(s: Suspect, label: str) -> float | None:
    """The power of an input in the true gradient; ``None`` if the gradient is no power of it, or it is no input."""
    if label not in s.maps.labels:
        return None
    j = s.maps.labels.index(label)
    xs = [2 * x if i == j else x for i, x in enumerate(s.maps.inputs)]
    scaled = s.maps.jacobians(xs)[s.i]
    where = np.unravel_index(np.argmax(np.abs(s.jacobian)), s.jacobian.shape)
    ratio = float(scaled[where] / s.jacobian[where])
    return round(2 * math.log2(ratio)) / 2 if ratio > 0 and same(scaled, ratio * s.jacobian) else None


def sign_of_a_term(s: Suspect) -> Iterator[Mistake]:
    """One of two terms has the wrong sign; both are powers of arrays, or one is a sum over other outputs."""
    if s.code.shape != s.jacobian.shape:
        return
    kept, turned = (s.code + s.jacobian) / 2, (s.jacobian - s.code) / 2
    if not np.any(kept) or not np.any(turned):
        return
    there = (np.abs(kept) + np.abs(turned)) > 1e-9 * np.max(np.abs(kept) + np.abs(turned))
    first, second = (_monomial(s, there, term) for term in (kept, turned))
    if first and second:
        (a, c), (b, d) = first, second
        right, wrong = (_sum(a, c, b, sign * d) for sign in (1, -1))
        yield s.mistake(
            "sign",
            f"in the gradient of {s.label} one term has the wrong sign: {wrong} stands where {right} belongs"
            + _is_output(s, "y" * ("y" in right)),
            f"{s.go} * ({right})",
        )
    elif _is_own(s, kept) and not _is_own(s, turned):
        yield s.mistake(
            "sign",
            f"in the gradient of {s.label} the term that sums over other outputs has the wrong sign",
            "change its sign: … - np.sum(…) in place of … + np.sum(…), or the other way round",
        )


def _is_own(s: Suspect, term: Array) -> bool:
    """Whether the term is diagonal: each input element has it only for the output element at the same place."""
    square = term.reshape(s.maps.count, -1)
    return s.shape == s.jacobian.shape[1:] and same(square, np.diag(np.diag(square)))


def _arrays(s: Suspect) -> Iterator[tuple[str, Array]]:
    """Inputs and output, each broadcast against the map: along its output axes, or along its input axes."""
    outputs = len(s.maps.outputs)
    taken = {*s.maps.labels, s.go}
    named = [*zip(s.maps.labels, s.maps.inputs, strict=True)]
    named += [("y" if "y" not in taken else "the output", s.maps.outputs[0])] * (outputs == 1)
    shape = s.jacobian.shape[1:]
    for label, v in named:
        if v.dtype.kind != "f":
            continue
        if outputs == 1:
            try:
                by_output = np.broadcast_to(v, s.shape).reshape(s.maps.count, *[1] * len(shape))
            except ValueError:  # it is of another shape
                pass
            else:
                yield label, by_output
        if v.shape == shape:
            yield label, v[None]


def _monomial(s: Suspect, there: Array, term: Array) -> tuple[str, float] | None:
    """The power of an array, or the product of two, that equals a term, and its coefficient; else ``None``."""
    ones = np.ones((1,) * s.jacobian.ndim)
    with np.errstate(all="ignore"):
        powers = [(_to(label, n), v**n) for label, v in _arrays(s) for n in POWERS if np.all(v != 0) or n > 0]
    pairs = [(f"{a} * {b}", v * w) for (a, v), (b, w) in itertools.combinations(powers, 2)]
    where = np.unravel_index(np.argmax(np.abs(term)), term.shape)
    for name, v in [("", ones), *powers, *pairs]:
        product = np.where(there, v, 0.0)
        if product[where]:
            c = float(term[where] / product[where])
            nice = round(12 * c) / 12
            if nice and abs(c - nice) < 1e-4 and same(term, nice * product):
                return name, nice
    return None


def _sum(a: str, c: float, b: str, d: float) -> str:
    """The sum of two terms with coefficients, as Python code."""

    def term(name: str, number: float) -> str:
        size = f"{number:g}" if not name or abs(number - 1) > 1e-9 else ""
        return " * ".join(filter(None, [size, name]))

    if b == f"{a}**2" and c == abs(d) == 1:
        return f"{a} * (1 {'-' if d < 0 else '+'} {a})"
    first = ("-" if c < 0 else "") + term(a, abs(c))
    return f"{first} {'-' if d < 0 else '+'} {term(b, abs(d))}"


def _to(label: str, n: float) -> str:
    """A power, as Python code."""
    return label if n == 1 else f"np.sqrt({label})" if n == 0.5 else f"{label}**{n:g}" if n > 0 else f"{label}**({n:g})"


def _written(label: str, n: float) -> str:
    """A power as a factor in a product, as Python code."""
    return f"1 / {_to(label, -n)}" if n < 0 else "1" if n == 0 else _to(label, n)
