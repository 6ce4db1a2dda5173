"""Whether an expression is 0 for all values of its symbols, and which exact number a float stands for."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import Any

import sympy as sp

Expr = Any

#: What floats are looked for as rational multiples of.
ROOTS = {
    1.0: sp.Integer(1),
    math.sqrt(2): sp.sqrt(2),
    math.sqrt(3): sp.sqrt(3),
    math.pi: sp.pi,
    math.sqrt(math.pi): sp.sqrt(sp.pi),
    math.sqrt(2 * math.pi): sp.sqrt(2 * sp.pi),
    1 / math.sqrt(math.pi): 1 / sp.sqrt(sp.pi),
    1 / math.sqrt(2 * math.pi): 1 / sp.sqrt(2 * sp.pi),
    math.log(2): sp.log(2),
    math.log(3): sp.log(3),
    math.log(10): sp.log(10),
}
#: The largest denominator and numerator of such a multiple, but of decimal fractions.
PLAIN = 200


@lru_cache(4096)
def exact(x: float) -> Expr:
    """The number that a float is written for: 0.1 is 1/10, and 0.7071… is √2/2; else the float's own binary fraction.

    >>> exact(0.1), exact(2 / math.pi**0.5), exact(1e-05)
    (1/10, 2/sqrt(pi), 1/100000)
    """
    if math.isinf(x) or math.isnan(x):
        return sp.oo if x > 0 else -sp.oo if x < 0 else sp.nan
    decimal = Fraction(repr(float(x)))
    if decimal.denominator <= 10**8:
        return sp.Rational(decimal.numerator, decimal.denominator)
    for number, symbol in ROOTS.items():
        share = Fraction(x / number).limit_denominator(PLAIN)
        if 0 < abs(share.numerator) <= PLAIN and abs(float(share) * number - x) <= 4 * math.ulp(x):
            return sp.Rational(share.numerator, share.denominator) * symbol
    return sp.Rational(*float(x).as_integer_ratio())


def is_zero(e: Expr) -> bool:
    """Whether an expression without branches was shown to be 0; False says only that it was not.

    It is expanded; then written as a fraction of polynomials in its symbols and functions: powers of e split along the
    sums in their exponents, square roots s with s² = a, hyperbolic functions as powers of e, sin² as 1 − cos².
    """
    if e == 0:
        return True
    if e.has(*HYPERBOLIC):
        e = e.rewrite(HYPERBOLIC, sp.exp)
    if e.has(sp.tan):
        e = e.replace(sp.tan, lambda a: sp.sin(a) / sp.cos(a))
    return _as_fraction(e)


HYPERBOLIC = [sp.sinh, sp.cosh, sp.tanh]


class _Names:
    """Plain symbols for the functions in an expression, and what their powers are."""

    def __init__(self) -> None:
        self.names: dict[Expr, Any] = {}
        self.squares: dict[Any, Expr] = {}

    def name(self, e: Expr) -> Any:
        return self.names.setdefault(e, sp.Dummy(positive=True))

    def plain(self, e: Expr) -> Expr:
        """The expression in plain symbols."""
        if e.is_Rational or e.is_Symbol:
            return e
        if not e.args:  # π
            return self.name(e)
        if isinstance(e, sp.exp):
            return sp.Mul(*(self._power(term) for term in sp.Add.make_args(sp.expand(e.args[0]))))
        if e.is_Pow:
            return self._pow(e)
        if e.is_Add or e.is_Mul:
            return e.func(*map(self.plain, e.args))
        if isinstance(e, sp.sin):
            name = self.name(e.func(sp.expand(e.args[0])))
            self.squares[name] = 1 - sp.cos(sp.expand(e.args[0])) ** 2
            return name
        return self.name(e.func(*map(sp.expand, e.args)))

    def _power(self, term: Expr) -> Expr:
        """What e to one term of a sum is: a power of e to the term without its number."""
        number, rest = term.as_coeff_Mul()
        if not number.is_Rational:
            number, rest = sp.Integer(1), term
        root = self.name(sp.exp(rest / number.q))
        return root**number.p

    def _pow(self, e: Expr) -> Expr:
        base, exponent = e.base, e.exp
        if exponent.is_Integer:
            return self.plain(base) ** exponent
        if exponent.is_Rational and exponent.q == 2:
            inside = sp.expand(base)
            root = self.name(sp.sqrt(inside))
            self.squares[root] = inside
            return root**exponent.p
        # x to the power of a sum is a product, as for e.
        parts = sp.Add.make_args(sp.expand(exponent))
        whole = [part for part in parts if part.is_Integer]
        rest = sp.Add(*(part for part in parts if not part.is_Integer))
        return self.name(sp.Pow(sp.expand(base), rest)) * self.plain(base) ** sp.Add(*whole)


def _as_fraction(e: Expr) -> bool:
    names = _Names()
    plain = names.plain(e)
    squares = {root: names.plain(square) for root, square in names.squares.items()}
    symbols = plain.free_symbols.union(*(square.free_symbols for square in squares.values()), squares)
    if not symbols:
        return bool(plain == 0)
    polynomials = sp.ring(sorted(symbols, key=str), sp.QQ)[0]
    numerator = _fraction(plain, polynomials)[0]
    for root, square in reversed(list(squares.items())):
        numerator = _reduced(numerator, polynomials.symbols.index(root), *_fraction(square, polynomials), polynomials)
    return bool(numerator == 0)


def _fraction(e: Expr, polynomials: Any) -> tuple[Any, Any]:
    """Numerator and denominator, as polynomials with all products multiplied out; nothing is cancelled."""
    if e.is_Rational:
        return polynomials(polynomials.domain(e.p, e.q)), polynomials(1)
    if e.is_Symbol:
        return polynomials(e), polynomials(1)
    if e.is_Pow:
        top, bottom = _fraction(e.base, polynomials)
        n = int(e.exp)
        return (top**n, bottom**n) if n >= 0 else (bottom**-n, top**-n)
    parts = [_fraction(part, polynomials) for part in e.args]
    if e.is_Mul:
        return math.prod(top for top, _ in parts), math.prod(bottom for _, bottom in parts)
    sums: dict[Any, Any] = {}
    for top, bottom in parts:
        sums[bottom] = sums.get(bottom, 0) + top
    (bottom, top), *others = sums.items()
    for other, more in others:
        if other % bottom == 0:
            top, bottom = top * (other // bottom) + more, other
        elif bottom % other == 0:
            top = top + more * (bottom // other)
        else:
            top, bottom = top * other + more * bottom, bottom * other
    return top, bottom


def _reduced(e: Any, at: int, top: Any, bottom: Any, polynomials: Any) -> Any:
    """A polynomial, times what makes it one again, with the square of one generator replaced by a fraction."""
    by_power: dict[int, Any] = {}
    for monomial, c in e.terms():
        rest = (*monomial[:at], 0, *monomial[at + 1 :])
        by_power.setdefault(monomial[at], polynomials.zero.copy())[rest] = c
    most = max(by_power, default=0) // 2
    root = polynomials.gens[at]
    return sum(
        (part * top ** (n // 2) * bottom ** (most - n // 2) * root ** (n % 2) for n, part in by_power.items()),
        polynomials.zero,
    )
