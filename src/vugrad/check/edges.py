"""Where algebra does not see what code does: it cancels x/x, leaves ties out, and so says nothing at single points."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import sympy as sp

from vugrad.check.cases import Branch, Largest
from vugrad.check.compare import check
from vugrad.check.comparison import Place
from vugrad.check.report import Report
from vugrad.check.subject import Arrays, Subject, short
from vugrad.check.symbolic import Symbolic

#: What all numbers of an input are made, and each by itself.
VALUES = (0.0, 1.0, -1.0)
#: So many single numbers, and roots, are tried; longer expressions have no root that is looked for.
MOST, LONG = 24, 40
#: Of so many elements whose gradient jumps the slope is measured.
FEW = 12
#: How far away a gradient is nearly the same, unless it jumps or is far off at a point alone.
NEARBY, NEARLY = 1e-7, 1e-4


def wrong_at_an_edge(checked: Subject, s: Symbolic | None, deadline: float = math.inf) -> Report | None:
    """The report of a check that fails at a zero, a tie, a kink, or where the code divides by 0; else ``None``.

    Analytic code has no such points. Where the forward is smooth at one, it has one gradient, and the code must return
    that one. At a kink, every gradient between the two one-sided ones is right. Where the forward jumps or is not
    finite, nothing is checked.
    """
    for xs in _edges(checked, s) if s is None or not s.analytic else ():
        if time.thread_time() > deadline:
            raise NotImplementedError("the time ran out during the checks of single points")
        jumps = _jumps(checked, xs)
        if jumps:
            report = check(replace(checked, inputs=xs), only=jumps[:: 1 + len(jumps) // FEW])
            if report.status == "wrong":
                where = ", ".join(f"{checked.labels[i]} = {short(xs[i])}" for i in checked.real)
                return replace(report, name=f"at {where}")
    return None


def _edges(checked: Subject, s: Symbolic | None) -> Iterator[Arrays]:
    # Multiples of a power of 2, so that what is computed from a few of them is exact.
    base = [np.round(x * 1024) / 1024 if x.dtype.kind == "f" else x for x in checked.inputs]

    def changed(i: int, at: Any, value: float) -> Arrays:
        x = np.copy(base[i])
        x[at] = value
        return [*base[:i], x, *base[i + 1 :]]

    places = [(i, at) for i in checked.real for at in np.ndindex(base[i].shape)]
    for value in VALUES:
        yield [np.full_like(x, value) if x.dtype.kind == "f" else x for x in base]
        yield from (changed(i, ..., value) for i in checked.real)
        yield from (changed(i, at, value) for i, at in places[:: 1 + len(places) // MOST])
    if s is not None:
        numbers = {
            symbol: (i, at)
            for i, symbols in zip(checked.real, s.inputs.values(), strict=True)
            for at, symbol in np.ndenumerate(symbols)
        }
        values = {symbol: sp.Rational(float(base[i][at])) for symbol, (i, at) in numbers.items()}
        for symbol, root in _roots(s):
            value = root.xreplace(values)
            if value.is_Rational:
                yield changed(*numbers[symbol], float(value))


def _roots(s: Symbolic) -> Iterator[tuple[sp.Symbol, sp.Expr]]:
    """What one number has to be, given the others, for an edge to be there: of polynomials, factor by factor."""
    known = {symbol for symbols in s.inputs.values() for symbol in symbols.flat}
    found = 0
    for e in itertools.chain(*map(_plain, s.edges)):
        names = sorted(e.free_symbols, key=str)
        if not names or not known.issuperset(names) or e.count_ops() > LONG or not e.is_polynomial(*names):
            continue
        for factor, _ in sp.factor_list(e)[1]:
            for symbol in sorted(factor.free_symbols, key=str)[:2]:
                if sp.degree(factor, symbol) == 1 and found < MOST:
                    found += 1
                    yield symbol, -factor.coeff(symbol, 0) / factor.coeff(symbol, 1)


def _plain(e: sp.Expr) -> list[sp.Expr]:
    """An expression with each branch, and each argument of a maximum, in its place; not more than a few."""
    found = [e]
    for _ in range(3):
        inner = next((part for x in found for part in x.atoms(Branch, Largest)), None)
        if inner is None:
            break
        ways = inner.args[1:] if isinstance(inner, Branch) else inner.args
        found = [x.xreplace({inner: way}) for x in found for way in ways][:MOST]
    return found


def _jumps(checked: Subject, xs: Arrays) -> list[Place]:
    """The elements whose gradients are others beside a place; none if the forward is not finite at it."""
    rng = np.random.default_rng(0)
    near = [x + NEARBY * rng.standard_normal(x.shape) if x.dtype.kind == "f" else x for x in xs]
    with np.errstate(all="ignore"):
        ys = checked.forward(xs)
        if not all(np.all(np.isfinite(y)) for y in ys):
            return []
        gos = [np.asarray(rng.uniform(0.5, 1.5, y.shape)) for y in ys]
        here, there = checked.gradients(xs, gos), checked.gradients(near, gos)
        return [
            (i, tuple(at))
            for i in checked.real
            for at in np.argwhere(~(np.abs(here[i] - there[i]) <= NEARLY * np.abs(there[i]))).tolist()
        ]
