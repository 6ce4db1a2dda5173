"""Formulas by index: their derivatives, a normal form that equal ones share, and their values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from vugrad.check.indices import (
    ARGMAX,
    ARGMIN,
    DELTA,
    GT,
    LOW,
    MAX,
    MIN,
    REDUCTIONS,
    SIGMOID,
    SUM,
    TOP,
    WHERE,
    At,
    Expr,
    NoIndexForm,
)
from vugrad.check.zero import is_zero


@lru_cache(2**15)
def depends(e: Expr, on: Expr) -> bool:
    """Whether a symbol, or an element of an array, occurs in an expression."""
    return bool(e == on) or any(depends(arg, on) for arg in e.args)


@lru_cache(2**15)
def derivative(e: Expr, of: Expr) -> Expr:
    """∂e/∂of, where ``of`` is a symbol, or an input's element at indices that do not occur in ``e``."""
    if not depends(e, getattr(of, "base", of)) or e.func in (DELTA, GT, ARGMAX, ARGMIN, sp.sign):
        return sp.Integer(0)
    if isinstance(e, sp.Indexed):
        return sp.Mul(*map(DELTA, e.indices, of.indices))
    if e == of:
        return sp.Integer(1)
    if e.is_Add:
        return sp.Add(*(derivative(arg, of) for arg in e.args))
    if e.is_Mul:
        slopes = ((n, derivative(arg, of)) for n, arg in enumerate(e.args))
        return sp.Add(*(sp.Mul(slope, *e.args[:n], *e.args[n + 1 :]) for n, slope in slopes if slope != 0))
    u, *others = e.args
    if e.func in (SUM, TOP, LOW):
        if e.func != SUM and len(others) > 1:
            raise NoIndexForm("a maximum over several axes has no derivative by index")
        hit = 1 if e.func == SUM else DELTA(others[0].args[0], (ARGMAX if e.func == TOP else ARGMIN)(*e.args))
        return SUM(hit * derivative(u, of), *others)
    if e.func in (MAX, MIN, WHERE):
        first = {MAX: GT(*e.args), MIN: GT(*e.args[::-1]), WHERE: u}[e.func] if len(e.args) == 2 else u
        return WHERE(first, *(derivative(v, of) for v in e.args[-2:]))
    if e.func in (SIGMOID, sp.Abs):
        return (e * (1 - e) if e.func == SIGMOID else sp.sign(u)) * derivative(u, of)
    if e.is_Pow:
        v = others[0]
        return v * u ** (v - 1) * derivative(u, of) + e * sp.log(u) * derivative(v, of)
    return sp.Add(*(e.fdiff(n) * derivative(arg, of) for n, arg in enumerate(e.args, 1) if not arg.is_Number))


def normal(e: Expr) -> Expr:
    """A sum of products, under no Σ a δ of its index or a factor without it; what has one form is equal."""
    if isinstance(e, sp.Indexed):
        return e.base[tuple(map(normal, e.indices))]
    if e.is_Atom:
        return e
    if e.func in REDUCTIONS.values():
        term, *binds = _apart(e)
        return _summed(normal(term), binds) if e.func == SUM else _named(e.func, normal(term), binds)
    u, *others = args = [normal(arg) for arg in e.args]
    if e.func == WHERE:
        return opened(u * others[0] + (1 - u) * others[1])
    if e.func == DELTA:
        u, v = sorted(args, key=str)
        return sp.Integer(int(u == v)) if u == v or (u.is_Number and v.is_Number) else DELTA(u, v)
    if e.func == GT:
        _, d = opened(u - others[0]).primitive()
        if d.func == MAX and d.args[1] == 0:
            d = d.args[0]
        if d.is_Number:
            return sp.Integer(int(bool(d > 0)))
        # Not where one that branches may be 0 all over: −max(u, 0) is never more than 0, and max(u, 0) not always.
        turned = d.could_extract_minus_sign() and not d.has(MAX, MIN, WHERE, GT, sp.Abs, sp.sign, TOP, LOW)
        return 1 - GT(-d, 0) if turned else GT(d, 0)
    if e.func == sp.log:
        exponents = [f.args[0] for f in sp.Mul.make_args(u) if f.func == sp.exp]
        return sp.Add(sp.log(u / sp.exp(sp.Add(*exponents))) if exponents else sp.log(u), *exponents)
    return opened(e.func(*args))


def opened(e: Expr) -> Expr:
    """Products and powers of sums written out, of those that are so already."""
    if e.is_Add:
        return sp.Add(*map(opened, e.args))
    if e.is_Mul:
        wide = sp.expand_mul(sp.Mul(*map(opened, e.args)), deep=False)
    elif e.is_Pow and e.base.func in (DELTA, GT) and e.exp.is_positive:
        return e.base
    else:
        wide = sp.expand(e, deep=False, log=False) if e.func == sp.exp or (e.is_Pow and e.exp.is_positive) else e
    return wide if wide == e else opened(wide)


def _apart(e: Expr) -> list[Expr]:
    """The term of a Σ or max and what binds its indices, these such as are nowhere else."""
    own = {bind.args[0]: sp.Dummy(integer=True) for bind in e.args[1:]}
    return [arg.xreplace(own) for arg in e.args]


def _named(head: Expr, term: Expr, binds: list[Expr]) -> Expr:
    """The indices numbered above those further in, in the order that comes first as text."""
    level = max((int(k.name[1:]) for k in term.atoms(sp.Symbol) if k.name[0] == "_"), default=0)
    names = [sp.Symbol(f"_{level + i}", integer=True) for i in range(1, len(binds) + 1)]
    forms = []
    for order in itertools.permutations(binds):
        own = {bind.args[0]: name for bind, name in zip(order, names, strict=True)}
        forms.append(head(*(part.xreplace(own) for part in (term, *order))))
    return min(forms, key=str)


def _summed(term: Expr, binds: list[Expr]) -> Expr:
    return sp.Add(*(_summed_product(list(sp.Mul.make_args(product)), binds) for product in sp.Add.make_args(term)))


def _summed_product(factors: list[Expr], binds: list[Expr]) -> Expr:
    indices = {bind.args[0] for bind in binds}
    for n, f in enumerate(factors):
        others = sp.Mul(*factors[:n], *factors[n + 1 :])
        if f.func == DELTA:
            for k, other in (f.args, f.args[::-1]):
                if k in indices and not other.has(k):
                    return _summed(normal(others.xreplace({k: other})), [b for b in binds if b.args[0] != k])
        if f.func == SUM and f.free_symbols & indices:
            inner, *more = _apart(f)
            return _summed(opened(inner * others), [*binds, *more])
    outside, groups = [f for f in factors if not f.free_symbols & indices], list[tuple[set[Expr], Expr]]()
    for f in factors:
        if ks := f.free_symbols & indices:
            tied = [group for group in groups if group[0] & ks]
            groups = [group for group in groups if group not in tied]
            groups.append((ks.union(*(own for own, _ in tied)), f * sp.Mul(*(product for _, product in tied))))
    repeats = [b.args[1] for b in binds if not any(b.args[0] in ks for ks, _ in groups)]
    sums = [_named(SUM, product, [b for b in binds if b.args[0] in ks]) for ks, product in groups]
    return opened(sp.Mul(*outside, *repeats, *sums))


def unshifted(e: Expr) -> Expr:
    """A formula without the maximum around which it is computed, if it is the same without."""
    return normal(e) if e.has(TOP) and not normal(e).has(TOP) else e


def over(go: Expr, e: Expr, sizes: At) -> Expr:
    """Σ of a term over the indices of an upstream gradient."""
    own = {i: sp.Dummy(integer=True) for i in getattr(go, "indices", ()) if i.is_Symbol}
    binds = [sp.Tuple(own[i], n) for i, n in zip(getattr(go, "indices", ()), sizes, strict=True) if i in own]
    return SUM(e.xreplace(own), *binds) if binds else e


def tidy(e: Expr) -> Expr:
    """A normal form to be read: sums over the same indices as one, terms with the same δ together, factors in front."""
    sums, groups = dict[tuple[Expr, ...], Expr](), dict[Expr, Expr]()
    for term in sp.Add.make_args(e):
        inner = [f for f in sp.Mul.make_args(term) if f.func == SUM]
        number, factor = (term / sp.Mul(*inner)).as_coeff_Mul()
        key, part = ((factor, *inner[0].args[1:]), inner[0].args[0]) if len(inner) == 1 else ((factor,), 1)
        sums[key] = sums.get(key, 0) + number * part
    for (factor, *binds), part in sums.items():
        number, part = sp.factor_terms(part).as_coeff_Mul() if binds else (part, 1)
        term = number * factor * (SUM(part, *binds) if binds else 1)
        deltas = sp.Mul(*(f for f in sp.Mul.make_args(factor) if f.func == DELTA))
        groups[deltas] = groups.get(deltas, 0) + term / deltas
    return sp.Add(*(deltas * _factored(total) for deltas, total in groups.items()))


def _factored(e: Expr) -> Expr:
    """What is common to all terms in front; one number where a condition holds and another elsewhere as such."""
    if e.has(*REDUCTIONS.values()):
        return e
    number, product = sp.factor_terms(e).as_coeff_Mul()
    for f in sp.Mul.make_args(product):
        conditions = list(f.atoms(GT))
        if f.is_Add and len(conditions) == 1:
            holds, fails = (number * normal(f.xreplace({conditions[0]: sp.Integer(n)})) for n in (1, 0))
            if 0 not in (holds, fails):
                return product / f * WHERE(conditions[0], holds, fails)
    return number * product


def parts(product: Expr) -> tuple[list[Expr], list[Expr]]:
    """The factors above and below a fraction's bar, √2 / 2 as 1 / √2."""
    above, below = list[Expr](), list[Expr]()
    for f in sp.Mul.make_args(product):
        if f.is_Rational and f.q >= 100 and sp.Integer(10) ** (len(str(f.q)) - 1) == f.q:
            above.append(sp.Float(f))
        elif f.is_Rational:
            above += [sp.Integer(f.p)] * (f.p != 1)
            below += [sp.Integer(f.q)] * (f.q != 1)
        elif f.is_Pow and f.exp.is_number and f.exp.could_extract_minus_sign():
            below.append(1 / f)
        else:
            above.append(f)
    for root in [f for f in above if f.is_Pow and f.base.is_Integer]:
        if below and below[0].is_Integer and below[0] % root.base == 0:
            above.remove(root)
            below[:1] = [n for n in (below[0] / root.base, root) if n != 1]
    return above, below


def neg(e: Expr) -> bool:
    """Whether a term is written with a minus before it."""
    return bool(e.as_coeff_Mul()[0] < 0)


def same(e: Expr, f: Expr) -> bool:
    """Whether two formulas were shown to be equal, away from kinks: in the normal form, then in each case of them."""
    if normal(e - f) == 0:
        return True
    branches = {
        MAX: lambda u, v: WHERE(GT(u, v), u, v),
        MIN: lambda u, v: WHERE(GT(v, u), u, v),
        sp.Abs: lambda u: WHERE(GT(u, 0), u, -u),
        sp.sign: lambda u: WHERE(GT(u, 0), 1, -1),
        SIGMOID: lambda u: 1 / (1 + sp.exp(-u)),
    }
    d = e - f
    for head, branch in branches.items():
        d = d.replace(head, branch)
    return _zero_in_all_cases(d, {})


def _is_reduction(e: Expr) -> bool:
    return e.func in REDUCTIONS.values()


def _zero_in_all_cases(d: Expr, known: dict[Expr, Expr]) -> bool:
    d = normal(d).xreplace(known)
    while (simpler := normal(d).xreplace(known)) != d:
        d = simpler
    bound = {k for k in d.atoms(sp.Symbol) if k.name[0] == "_"}
    conditions = [c for c in d.atoms(GT) if not c.args[0].has(GT, *bound)]
    if not conditions:
        names: dict[Expr, Expr] = {}
        return bool(is_zero(d.replace(_is_reduction, lambda e: names.setdefault(e, sp.Dummy(real=True)))))
    cases = ({**known, min(conditions, key=str): sp.Integer(holds)} for holds in (0, 1))
    return len(known) < 4 and all(_zero_in_all_cases(d, case) for case in cases)


OVER_ALL: Mapping[Expr, Callable[[list[float]], Any]] = {
    SUM: math.fsum,
    TOP: max,
    LOW: min,
    ARGMAX: np.argmax,
    ARGMIN: np.argmin,
}
FUNCTIONS: Mapping[Expr, Callable[..., float]] = {
    sp.Add: lambda *us: sum(us),
    sp.Mul: lambda *us: math.prod(us),
    sp.Pow: lambda u, v: u**v,
    MAX: max,
    MIN: min,
    WHERE: lambda c, u, v: u if c else v,
    GT: lambda u, v: u > v,
    DELTA: lambda u, v: u == v,
    SIGMOID: lambda u: 1 / (1 + math.exp(-u)),
    sp.Abs: abs,
    sp.sign: np.sign,
}


def value(e: Expr, names: Mapping[str, Any]) -> float:
    """A formula in numbers."""
    if e.is_number:
        return float(e)
    if e.is_Symbol:
        return float(names[e.name])
    if isinstance(e, sp.Indexed):
        return float(names[name_of(e)][tuple(int(value(i, names)) for i in e.indices)])
    if e.func in REDUCTIONS.values():
        term, *binds = e.args
        ranges = [range(int(value(bind.args[1], names))) for bind in binds]
        keys = [bind.args[0].name for bind in binds]
        terms = [value(term, {**names, **dict(zip(keys, at, strict=True))}) for at in itertools.product(*ranges)]
        return float(OVER_ALL[e.func](terms))
    us = [value(u, names) for u in e.args]
    return float((FUNCTIONS.get(e.func) or getattr(math, e.func.__name__))(*us))


def name_of(e: Expr) -> str:
    """Of the array that an element is in."""
    return str(e.base) if isinstance(e, sp.Indexed) else str(e)
