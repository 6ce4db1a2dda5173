"""``vg.prove``: that each element of what a backward computes is the derivative, by algebra, case by case."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sympy as sp

from vugrad.check.algebra import derivative
from vugrad.check.arguments import Given, parsed, row_of
from vugrad.check.cases import Case, cases, first_case, point
from vugrad.check.compare import check, check_row
from vugrad.check.conduct import upstream, well_behaved
from vugrad.check.derive import Derivation, derive_row
from vugrad.check.edges import wrong_at_an_edge
from vugrad.check.subject import Fault, Subject, of_op, places, short
from vugrad.check.symbolic import Symbolic, symbolic
from vugrad.check.values import Values
from vugrad.check.zero import is_zero
from vugrad.compiler import CannotCompileError
from vugrad.graph import Op
from vugrad.ops.table import Row, Shape

Expr = Any
#: So many sets of whole numbers are tried, in which each position has each of as many values.
WHOLE = 4
#: So many sets of numbers are tried, to see whether an expression is wrong there.
POINTS = 3
#: Parts of an expression, of more than which algebra would not come to an end.
LONG = 5_000
#: Expressions that differ by more than this share of them are not the same but for rounded constants.
WRONG = 1e-9


class Refuted(Exception):  # noqa: N818 (a result)
    """An element that is not the derivative, at numbers that show it."""


class NotShown(Exception):  # noqa: N818 (a result)
    """What was not shown, and why."""


@dataclass(frozen=True)
class Proof:
    """What was found for an op at some shapes.

    Args:
        op: the op.
        name: with its shapes and constants.
        status: "proven", "refuted", or "not established".
        text: what was shown, or why not.
        elements: of the gradients that were shown to be right.
        cases: in which they were, where the op branches.
        seconds: that it took.
        symbolic: the op on symbols.
        derivation: by index, for an op that has one.
    """

    op: type[Op]
    name: str
    status: str
    text: str
    elements: int = 0
    cases: int = 1
    seconds: float = 0.0
    symbolic: Symbolic | None = None
    derivation: Derivation | None = None

    def __bool__(self) -> bool:
        return self.status == "proven"

    def __str__(self) -> str:
        below = [str(self.derivation)] if self.derivation is not None else self._worked_out()
        return "\n".join([f"{self.name}: {self.status}. {self.text}", *below])

    __repr__ = __str__

    def _repr_latex_(self) -> str | None:
        return None if self.derivation is None else self.derivation.latex()

    def _worked_out(self) -> Iterator[str]:
        """The first element of each gradient as a sum over the outputs that it reaches, in one case."""
        s = self.symbolic
        if self.status != "proven" or s is None:
            return
        upstream = itertools.chain(*(go.flat for go in s.upstream.values()))
        outputs = dict(zip(upstream, itertools.chain(*(y.flat for y in s.outputs)), strict=True))
        for label, xs in s.inputs.items():
            if not xs.size or s.gradients[label] is None:
                continue
            pairs = list(zip(xs.flat, s.gradients[label].flat, strict=True))
            used = set[Any]().union(*(y.free_symbols for y in outputs.values()))
            x, gx = next((pair for pair in pairs if pair[0] in used), pairs[0])
            reached = {go: y for go, y in outputs.items() if x in y.free_symbols}
            case = first_case([gx, *reached.values()])
            if case.facts:
                yield f"where {case}:"
            parts = {go: case.settled(y) for go, y in reached.items()}
            yield f"g{x} = Σ {' + '.join(f'{go} · ∂/∂{x} ({y})' for go, y in parts.items()) or '0'}"
            yield f"  = {' + '.join(f'{go} · ({sp.diff(y, x)})' for go, y in parts.items()) or '0'}"
            yield f"  = {case.settled(gx)}, what the code computes"


def prove(
    op: type[Op], *inputs: Any, shapes: Sequence[Shape] | None = None, seconds: float = 10.0, **constants: Any
) -> Proof:
    """Show on symbols that an op's backward is the derivative of its forward.

    Forward and backward are run on symbols, and each element of each gradient is shown to be the sum of the outputs'
    derivatives, each times its upstream gradient, by algebra: for all values at once. Where an op branches (a maximum,
    ReLU) that is done for each order that its numbers can have. Single points that algebra does not see (zeros, ties,
    where the code divides by 0) are looked at in numbers; kinks are left out.

    Args:
        op: the op.
        inputs: shapes as tuples, or one list of shapes, or arrays (of real arrays only the shapes matter); as for
            :func:`vugrad.gradcheck`. Default: the inputs of its first row in the op table, or (2, 3) for each input.
        shapes: the same as one list of shapes.
        seconds: the limit of this thread's processor time; after it the proof is "not established".
        constants: keyword arguments of its forward.

    The proof is true if everything was shown; printed, it is the derivation by index, where the op has one formula for
    all elements, and else one element worked out. What is refuted is wrong in numbers, at those that it names;
    :func:`vugrad.gradcheck` says why. Raises ``TypeError`` for an argument that is no Op or no input. An error that the
    forward raises for the shapes is raised again with the shapes.

    >>> import numpy as np, vugrad as vg
    >>> bool(vg.prove(vg.Softmax, (2, 3), axis=0)), bool(vg.prove(vg.Divide, [(2, 3), (3,)]))
    (True, True)
    >>> bool(vg.prove(vg.ops.Take, (3, 2), np.array([0, 2, 2])))
    True
    """
    if not (isinstance(op, type) and issubclass(op, Op)):
        raise TypeError(f"prove takes an Op, the class itself, and not {op!r}: for functions there is vg.gradcheck")
    row = row_of(op, parsed("prove", op, inputs, shapes), constants)
    proof = prove_row(row, seconds)
    with contextlib.suppress(Exception):  # the derivation is only for reading, and not all ops have one
        derivation = derive_row(row.sampled() if isinstance(row, Given) else row)
        if derivation.established or not proof:
            return replace(proof, derivation=derivation)
    return proof


def prove_row(row: Row, seconds: float = 10.0) -> Proof:
    """Prove a row of the op table, or say what could not be shown in ``seconds`` of this thread's processor time.

    Whole numbers among the inputs, such as positions, stay numbers; several sets of them are tried.
    """
    start = time.thread_time()
    xs = row.inputs(np.random.default_rng(0))
    positive = {i: row.domains[min(i, len(row.domains) - 1)].low > 0 for i in range(len(xs))}
    found: Symbolic | None = None
    shown, most = 0, 1
    try:
        for shift in range(min(WHOLE, max([1, *(below for _, below in row.whole.values())]))):
            for i, (kind, below) in row.whole.items() if not isinstance(row, Given) else ():
                xs[i] = ((xs[i].astype(np.int64) + (shift > 0)) % below).astype(kind)
            checked = of_op(row.op, xs, row.constants)
            with np.errstate(all="ignore"):
                well_behaved(checked, [upstream(np.random.default_rng(0), y) for y in checked.forward(xs)])
                found = symbolic(row.op, xs, row.constants, positive)
            counts = list(_Prover(found, checked, start + seconds).shown())
            _as_computed(found, checked)
            amiss = wrong_at_an_edge(checked, found, start + seconds)
            if amiss is not None:
                raise Refuted(f"algebra alone does not show it, but {amiss.name} it is wrong: {amiss.text}")
            shown, most = len(counts), max([most, *counts])
        status, text = "proven", f"{shown} elements" + (f", in up to {most} cases each" if most > 1 else "")
    except (Refuted, Fault) as error:
        status, text = "refuted", str(error)
    except (NotShown, NotImplementedError, CannotCompileError) as error:
        status, text = "not established", str(error)
    except Exception as error:  # what SymPy makes of 1/0 or log 0, say
        status, text = "not established", f"{type(error).__name__}: {error}"
    return Proof(row.op, row.name, status, text, shown, most, time.thread_time() - start, found)


def established(row: Row, seconds: float) -> tuple[str, str]:
    """Check a row in numbers and prove it: the status, and an explanation.

    The status is "proven", "checked" if it is right in numbers but not proven, "wrong", or "not established".
    """
    report = check_row(row)
    if not report:
        return report.status, str(report)
    proof = prove_row(row, seconds)
    return {"proven": "proven", "refuted": "wrong", "not established": "checked"}[proof.status], str(proof)


def _as_computed(s: Symbolic, checked: Subject) -> None:
    """See that the symbols stand for what the op computes: in its domain, and wherever else its forward is finite."""
    for inputs in places(checked.inputs):
        rng = np.random.default_rng(0)
        with np.errstate(all="ignore"):
            ys = checked.forward(inputs)
            gos = [upstream(rng, y) for y in ys]
            gradients = checked.gradients(inputs, gos)
        if not all(np.all(np.isfinite(y)) for y in ys):
            continue
        symbols = [symbol for array in (*s.inputs.values(), *s.upstream.values()) for symbol in array.flat]
        numbers = [float(v) for array in (*(inputs[i] for i in checked.real), *gos) for v in array.flat]
        values = Values(dict(zip(symbols, numbers, strict=True)))
        computed = [
            *ys,
            *(gradients[i] for i, g in zip(checked.real, s.gradients.values(), strict=True) if g is not None),
        ]
        expected = [*s.outputs, *(g for g in s.gradients.values() if g is not None)]
        for e, c in zip([e for a in expected for e in a.flat], [v for a in computed for v in a.flat], strict=True):
            if not math.isclose(values(e), c, rel_tol=1e-6, abs_tol=1e-9):
                where = ", ".join(f"{checked.labels[i]} = {short(inputs[i])}" for i in checked.real)
                raise NotShown(f"at {where} the code computes {c:.6g}, and its symbols stand for {values(e):.6g}")


class _Prover:
    """Shows the elements of an op's gradients one by one."""

    def __init__(self, s: Symbolic, checked: Subject, deadline: float) -> None:
        self.s, self.checked, self.deadline = s, checked, deadline
        self.upstream = [go for array in s.upstream.values() for go in array.flat]
        self.outputs = [y for array in s.outputs for y in array.flat]
        inputs = [x for array in s.inputs.values() for x in array.flat]
        self.order = {symbol: n for n, symbol in enumerate([*self.upstream, *inputs])}
        self.seen: set[Expr] = set()

    def shown(self) -> Iterator[int]:
        """For each element of each gradient that it was shown, in how many cases."""
        self.short_enough(*(e for a in (*self.s.outputs, *self.s.gradients.values()) if a is not None for e in a.flat))
        reached: dict[Any, list[int]] = {}
        for k, y in enumerate(self.outputs):
            for symbol in y.free_symbols:
                reached.setdefault(symbol, []).append(k)
        where = {go: k for k, go in enumerate(self.upstream)}
        for label, xs in self.s.inputs.items():
            gradient = self.s.gradients[label]
            if gradient is None or gradient.shape != xs.shape:
                raise Refuted(f"there is no gradient of {label} of its shape {xs.shape}")
            for x, gx in zip(xs.flat, gradient.flat, strict=True):
                self.in_time(x)
                involved = sorted({*reached.get(x, []), *(where[g] for g in gx.free_symbols if g in where)})
                yield self.element(x, gx, [(self.upstream[k], self.outputs[k]) for k in involved])

    @staticmethod
    def short_enough(*expressions: Expr) -> None:
        """Raises :class:`NotShown` for expressions with which algebra would not come to an end."""
        known: dict[Any, float] = {}
        longest = max((_size(e, known) for e in expressions), default=0)
        if longest > LONG:
            raise NotShown(f"an expression of {longest:.0e} parts is too long for algebra")

    def in_time(self, x: Any) -> None:
        """Raises :class:`NotShown` if the time is up."""
        if time.thread_time() > self.deadline:
            raise NotShown(f"the time ran out at {x}")

    def element(self, x: Any, gx: Expr, terms: Sequence[tuple[Any, Expr]]) -> int:
        """Show that one element is the sum of its outputs' derivatives, each times its upstream gradient."""
        pattern = self.pattern(x, gx, terms)
        if pattern in self.seen:  # another element is this one under other names
            return 1

        def look(case: Case) -> None:
            code = case.settled(gx)
            zero = {go: sp.Integer(0) for go, _ in terms}
            self.difference(x, code.xreplace(zero), sp.Integer(0), case)
            for go, y in terms:
                y = case.settled(y)
                if not _is_real(y, case):  # it is outside of the forward's domain
                    continue
                if (y + code).has(sp.oo, -sp.oo, sp.zoo, sp.nan):
                    raise NotShown(f"a number that is not finite is in the outputs or in the gradient of {x}")
                self.difference(x, derivative(code, go), derivative(y, x), case, go)

        try:
            count = cases(look)
        except RuntimeError as error:
            raise NotShown(f"{error} for {x}") from error
        self.seen.add(pattern)
        return count

    def pattern(self, x: Any, gx: Expr, terms: Sequence[tuple[Any, Expr]]) -> Expr:
        """An element's gradient and outputs with symbols renamed in order: the element, upstream gradients, inputs.

        Elements with equal patterns need one proof.
        """
        parts = sp.Tuple(gx, *(y for _, y in terms))
        gos = [go for go, _ in terms]
        others = sorted(parts.free_symbols - {x, *gos}, key=self.order.__getitem__)
        names = {e: sp.Symbol(f"s{n}", **e.assumptions0) for n, e in enumerate([x, *gos, *others])}
        return parts.xreplace(names)

    def difference(self, x: Any, code: Expr, true: Expr, case: Case, go: Any = None) -> None:
        """Show that two expressions are the same in a case, or by numbers that they are not."""
        if code == true:
            return
        self.short_enough(code, true)
        if is_zero(code - true):
            return
        facts = {symbol for pair in case.facts for e in pair for symbol in e.free_symbols}
        symbols = sorted((code - true).free_symbols | facts, key=str)
        for seed in range(POINTS):
            values = point(case, symbols, seed)
            if values is None:
                break
            a, b = (e.subs(values).evalf(25) for e in (true, code))
            different = a.is_real and b.is_real and abs(a - b) > WRONG * (abs(a) + abs(b))
            if different and self.is_wrong_at(values):
                of = f" in the part that {go} has in it" if go is not None else ", where nothing comes from above"
                at = ", ".join(f"{name} = {float(value):.4g}" for name, value in values.items())
                raise Refuted(
                    f"the gradient of {x} is wrong{of}: it should be {_text(true)}, and the code has {_text(code)}; "
                    f"{f'with {at} ' if at else ''}that is {a.evalf(6)}, not {b.evalf(6)}"
                )
        self.in_time(x)
        raise NotShown(f"{code - true}, by which the gradient of {x} is off, was not shown to be 0 (case: {case})")

    def is_wrong_at(self, values: Mapping[Any, Any]) -> bool:
        """Whether it is wrong in numbers: not where the symbols have a value and the forward has none."""
        inputs = [np.copy(x) for x in self.checked.inputs]
        for i, symbols in zip(self.checked.real, self.s.inputs.values(), strict=True):
            for at, symbol in np.ndenumerate(symbols):
                inputs[i][at] = float(values.get(symbol, inputs[i][at]))
        return check(replace(self.checked, inputs=inputs)).status == "wrong"


def _text(e: Expr) -> str:
    """An expression that can be read."""
    text = str(e)
    return text if len(text) <= 120 else f"{text[:100]}…"


def _size(e: Expr, known: dict[Any, float]) -> float:
    """How many parts an expression has if it is written out: what it shares with itself is one object here."""
    pending = [e]
    while pending:
        part = pending[-1]
        missing = [arg for arg in part.args if arg not in known]
        if missing:
            pending += missing
        else:
            known[pending.pop()] = 1 + sum(known[arg] for arg in part.args)
    return known[e]


def _is_real(e: Expr, case: Case) -> bool:
    """Whether an expression may be a real number in a case: the logarithm of what is less than 0 is none."""
    negative = {a: sp.Dummy(negative=True) for a, b in case.facts if a.is_Symbol and b.is_number and b <= 0}
    return not negative or e.xreplace(negative).is_extended_real is not False
