"""An expression's value at given numbers: what floating point makes of it, comparisons included."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp

from vugrad.check.cases import Branch, Equal, First, Largest, Less, LessEqual

Expr = Any

FUNCTIONS: dict[Any, Any] = {
    **{getattr(sp, name): getattr(np, name) for name in ("exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh")},
    sp.asin: np.arcsin,
    sp.acos: np.arccos,
    sp.atan: np.arctan,
    sp.erf: math.erf,
    sp.Abs: abs,
    sp.sign: np.sign,
}


class Values:
    """Values at one place; an expression that has none there is NaN.

    >>> x = sp.Symbol("x", real=True)
    >>> float(Values({x: -2.0})(Branch(Less(x, sp.Integer(0)), x**2, x)))
    4.0
    """

    def __init__(self, symbols: Mapping[Any, float]) -> None:
        self.known: dict[Expr, float] = dict(symbols)

    def __call__(self, e: Expr) -> float:
        """The value of an expression."""
        if e not in self.known:
            with np.errstate(all="ignore"):
                self.known[e] = self._value(e)
        return self.known[e]

    def _value(self, e: Expr) -> float:
        if e.is_number and not e.args:
            return float(e) if e is not sp.zoo and e is not sp.nan else math.nan
        if isinstance(e, Branch):
            return self(e.args[1] if self(e.args[0]) else e.args[2])
        values = [self(arg) for arg in e.args]
        match e:
            case sp.Add():
                return sum(values)
            case sp.Mul():
                return math.prod(values)
            case sp.Pow():
                power = np.float64(values[0]) ** np.float64(values[1])
                return float(power)
            case Less():
                return float(values[0] < values[1])
            case LessEqual():
                return float(values[0] <= values[1])
            case Equal():
                return float(values[0] == values[1])
            case Largest():
                return float(np.max(values))
            case First():
                return float(np.argmax(values))
        if e.func in FUNCTIONS:
            return float(FUNCTIONS[e.func](np.float64(values[0])))
        return float(e.func(*(sp.Float(v) for v in values)))
