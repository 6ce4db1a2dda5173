"""Formulas as a person writes them: as text, or as LaTeX."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import sympy as sp

from vugrad.check.algebra import neg, parts
from vugrad.check.formulas import EXTENTS, OUTPUT
from vugrad.check.indices import DELTA, GT, LOW, REDUCTIONS, SIGMOID, SUM, TOP, WHERE, Expr

#: The letters of summed indices; those that are taken are passed over.
SUMMED = "kmnpqrstuvh"
#: ∂y/∂x, to be written down.
PARTIAL = sp.Function("∂", real=True)


class Pen:
    """Writes expressions as text or as LaTeX; ``outputs`` says which letters an upstream gradient's indices have."""

    def __init__(self, latex: bool, outputs: Mapping[str, str]) -> None:
        self.latex, self.outputs, self.minus = latex, outputs, "-" if latex else "−"

    def write(self, e: Expr, scope: Mapping[Expr, str], level: int = 0) -> str:
        """In parentheses if it binds less than the ``level``: 0 for a sum, 1 a product, 2 a single thing."""
        text, own = self._written(e, scope)
        return self._wrapped("(", text, ")") if own < level else text

    def _wrapped(self, left: str, text: str, right: str) -> str:
        return rf"\left{left}{text}\right{right}" if self.latex else f"{left}{text}{right}"

    def _written(self, e: Expr, scope: Mapping[Expr, str]) -> tuple[str, int]:
        if e.is_Add:
            return self._sum(e, scope), 0
        is_below = e.is_Pow and e.exp.is_number and e.exp.could_extract_minus_sign()
        if e.is_Mul or is_below or (e.is_Rational and not e.is_Integer):
            return self._product(e, scope)
        if e.func in REDUCTIONS.values():
            return self._bound(e, scope), 1
        if e.is_Pow and e.exp == sp.Rational(1, 2):
            return (rf"\sqrt{{{self.write(e.base, scope)}}}" if self.latex else f"√{self.write(e.base, scope, 2)}"), 2
        if e.is_Pow or (self.latex and e.func == sp.exp):
            base = self.write(e.base, scope, 3) if e.is_Pow else "e"
            return self._power(base, e.exp, scope), 2
        if isinstance(e, sp.Indexed):
            return self._element(str(e.base), [self.write(i, scope) for i in e.indices]), 3
        if e.func == DELTA:  # the output's index first
            return self._element("δ", sorted((self.write(i, scope) for i in e.args), key=lambda i: i not in OUTPUT)), 3
        if e.is_Symbol:
            return scope.get(e) or self._element(e.name, []), 3
        if e.is_Atom:
            text = np.format_float_positional(e, trim="-") if e.is_Float else str(e)
            return (text if e != sp.pi else r"\pi" if self.latex else "π"), 3 if e >= 0 else 0
        return self._call(e, scope), 3

    def _element(self, name: str, at: list[str]) -> str:
        if not self.latex:
            return f"{name}[{','.join(at)}]" if at else name
        name = r"\delta" if name == "δ" else rf"\mathit{{{name}}}" if len(name) > 1 else name
        return f"{name}_{{{','.join(at)}}}" if at else name

    def _call(self, e: Expr, scope: Mapping[Expr, str]) -> str:
        us = [self.write(u, scope) for u in e.args]
        if e.func == GT:
            return self._wrapped("[", self._greater(e, scope), "]")
        if e.func == PARTIAL:
            return rf"\frac{{\partial {us[0]}}}{{\partial {us[1]}}}" if self.latex else f"∂{us[0]}/∂{us[1]}"
        if e.func == WHERE:
            words = (r"\ \mathrm{where}\ ", r",\ \mathrm{else}\ ") if self.latex else (" where ", ", else ")
            condition = self._greater(e.args[0], scope) if e.args[0].func == GT else us[0]
            return self._wrapped("(", f"{us[1]}{words[0]}{condition}{words[1]}{us[2]}", ")")
        if e.func == sp.Abs:
            return self._wrapped("|", us[0], "|")
        name = str(e.func.__name__)
        if self.latex:
            name = r"\sigma" if e.func == SIGMOID else rf"\mathrm{{{name}}}"
        return name + self._wrapped("(", ", ".join(us), ")")

    def _greater(self, e: Expr, scope: Mapping[Expr, str]) -> str:
        terms = sp.Add.make_args(e.args[0] - e.args[1])
        more, less = sp.Add(*(t for t in terms if not neg(t))), sp.Add(*(-t for t in terms if neg(t)))
        return f"{self.write(more, scope)} > {self.write(less, scope)}"

    def _power(self, base: str, exponent: Expr, scope: Mapping[Expr, str]) -> str:
        if self.latex:
            return f"{base}^{{{self.write(exponent, scope)}}}"
        if exponent.is_Integer:
            return base + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"{base}^{self.write(exponent, scope, 3)}"

    def _sum(self, e: Expr, scope: Mapping[Expr, str]) -> str:
        """What is added comes first, then what is subtracted; in each numbers, elements, functions, sums."""
        terms = []
        for t in e.args:
            text = self.write(-t if neg(t) else t, scope, 1)
            size = 0 if t.is_number else 1 if isinstance(t, sp.Indexed) else 2 + len(text)
            terms.append(((neg(t), t.has(SUM), size, text), text))
        text = "".join(f" {self.minus if key[0] else '+'} {text}" for key, text in sorted(terms))
        return text[3:] if text[1] == "+" else self.minus + text[3:]

    def _product(self, e: Expr, scope: Mapping[Expr, str]) -> tuple[str, int]:
        minus = self.minus if neg(e) else ""
        above, below = parts(-e if minus else e)
        if below and all(f.is_Integer for f in (*above, *below)) and not self.latex:
            return minus + "/".join(str(sp.Mul(*fs)) for fs in (above, below)), 0 if minus else 2
        over, under = self._factors(above, scope), self._factors(below, scope)
        if not below:
            return minus + over, 0 if minus else 1
        if self.latex:
            return rf"{minus}\frac{{{over}}}{{{under}}}", 0 if minus else 1
        return f"{minus}{over} / {f'({under})' if len(below) > 1 else under}", 0 if minus else 1

    def _factors(self, factors: list[Expr], scope: Mapping[Expr, str]) -> str:
        """Numbers, extents, upstream gradients, elements, functions, sums in parentheses, δ, Σ."""

        def rank(f: Expr) -> tuple[int, str]:
            if f.is_number or f.is_Symbol:
                return (0, str(not f.is_Integer)) if f.is_number else (1, str(EXTENTS.find(f.name)))
            if isinstance(f, sp.Indexed):
                return 2 if str(f.base) in self.outputs else 3, str([scope.get(i, str(i)) for i in f.indices])
            return 7 if f.func in (SUM, TOP, LOW) else 6 if f.func == DELTA else 5 if f.is_Add else 4, str(f)

        *others, last = sorted(factors, key=rank) or [sp.Integer(1)]
        level = 1 if not others or last.func == SUM else 2
        return " ".join([*(self.write(f, scope, 2) for f in others), self.write(last, scope, level)])

    def _bound(self, e: Expr, scope: Mapping[Expr, str]) -> str:
        term, *binds = e.args
        scope, letters = dict(scope), []
        for bind in binds:
            k = bind.args[0]
            letters.append(self._letter(k, term, scope))
            scope[k] = letters[-1]
        sign = "Σ" if e.func == SUM else e.func.__name__.split()[0]
        if self.latex:
            sign = r"\sum" if e.func == SUM else rf"\mathrm{{{sign}}}"
        return " ".join(
            [*(f"{sign}_{{{k}}}" if self.latex else f"{sign}_{k}" for k in letters), self.write(term, scope, 1)]
        )

    def _letter(self, k: Expr, term: Expr, scope: Mapping[Expr, str]) -> str:
        taken = {*scope.values()}
        for x in term.atoms(sp.Indexed):
            for i, letter in zip(x.indices, self.outputs.get(str(x.base), ""), strict=False):
                if i == k and letter not in taken:
                    return letter
        return next(c for c in SUMMED if c not in taken)
