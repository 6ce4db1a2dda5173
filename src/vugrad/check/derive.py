"""``derive``: a backward as it is derived on a board, by index and so for all shapes, beside what its code computes."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from vugrad.check.algebra import derivative, name_of, normal, over, same, tidy, unshifted, value
from vugrad.check.arguments import Given, row_of
from vugrad.check.edges import wrong_at_an_edge
from vugrad.check.formulas import NOTHING, PRIMES, Formulas, read, shortened, with_indices
from vugrad.check.indices import DELTA, GT, LOW, MAX, MIN, SIGMOID, SUM, TOP, At, Expr, NoIndexForm
from vugrad.check.pen import PARTIAL, Pen
from vugrad.check.report import Report
from vugrad.check.subject import Array, Fault, listed, of_op, places
from vugrad.check.symbolic import symbolic
from vugrad.graph import Op
from vugrad.ops.table import Row, Shape

#: What titles and remarks have in them that LaTeX writes otherwise.
SIGNS = {"∎": r"\blacksquare", "≠": r"\neq", "σ": r"\sigma", "δ": r"\delta", "×": r"\times", "−": "-", "Σ": r"\Sigma"}
TEX = str.maketrans({sign: f"${name}$" for sign, name in SIGNS.items()})
IN_TEXT = str.maketrans({sign: rf"}}{name}\text{{" for sign, name in SIGNS.items()})
#: Sums in sums that can still be differentiated in a moment.
NESTED = 3
#: A title and equations.
Step = tuple[str, "list[Equation]"]


@dataclass(frozen=True)
class Equation:
    """Left and right sides, and a remark behind them."""

    sides: tuple[Expr, ...]
    remark: str = ""

    def write(self, pen: Pen) -> list[str]:
        """Each side, without those that are written like the one before."""
        free = {s for s in sp.Tuple(*self.sides).atoms(sp.Symbol) if len(s.name) == 1 and s.name.islower()}
        left, *right = (pen.write(side, {s: s.name for s in free}) for side in self.sides)
        return [left, *dict.fromkeys(right)]


@dataclass(frozen=True, eq=False)
class Derivation:
    """The steps from a forward to the gradients, and whether the code of the backward computes the same."""

    op: type[Op]
    steps: tuple[tuple[str, list[Equation]], ...]
    established: bool
    outputs: Mapping[str, str]

    def __str__(self) -> str:
        pen = Pen(False, self.outputs)
        lines = []
        for title, equations in self.steps:
            lines.append(title)
            for e in equations:
                left, *right = e.write(pen)
                lines += [f"  {' ' * len(left) if n else left} = {side}" for n, side in enumerate(right)]
                lines[-1] += "    " * bool(e.remark) + e.remark
        return "\n".join(lines)

    __repr__ = __str__

    def blocks(self) -> list[tuple[str, str]]:
        """The title of each step, and its equations in an ``align*`` environment."""
        pen = Pen(True, self.outputs)
        blocks = []
        for title, equations in self.steps:
            rows = []
            for e in equations:
                left, *right = e.write(pen)
                remark = rf" && \text{{{e.remark.translate(IN_TEXT)}}}" if e.remark else ""
                rows.append(left + " \\\\\n".join(f" &= {side}" for side in right) + remark)
            blocks.append((title, "\\begin{align*}\n" + " \\\\\n".join(rows) + "\n\\end{align*}"))
        return blocks

    def latex(self) -> str:
        """The steps in LaTeX."""
        return "\n\n".join(f"{title.translate(TEX)}\n{equations}" for title, equations in self.blocks())

    def _repr_latex_(self) -> str:
        return self.latex()


def derive(op: type[Op], shapes: tuple[Shape, ...] | None = None, **constants: Any) -> Derivation:
    """The backward of an op, derived from the code of its forward, and compared with the code of its backward.

    Args:
        op: the op.
        shapes: of its inputs. What counts is how many axes there are, which are equally long, and which have extent 1.
        constants: keyword arguments of its forward.

    Raises :class:`NoIndexForm` for an op whose elements have no one formula in their indices.

    >>> import vugrad as vg
    >>> derivation = derive(vg.Multiply)
    >>> derivation.established
    True
    """
    row = row_of(op, shapes, constants)
    return derive_row(row.sampled() if isinstance(row, Given) else row)


def derive_row(row: Row) -> Derivation:
    """The derivation at a row of the op table, or at a row of the same form."""
    if (indexed := with_indices(row)) is not row:
        with contextlib.suppress(NoIndexForm):
            return _derived(indexed)
    return _derived(row)


def _derived(row: Row) -> Derivation:
    row, op = shortened(row), row.op
    formulas, again = (read(row, primes) for primes in PRIMES)
    if (formulas.outputs, formulas.gradients) != (again.outputs, again.gradients):
        raise NoIndexForm(f"{op.__name__} computes with numbers that depend on the shapes")
    if any(nested(e) > NESTED for _, e, *_ in formulas.outputs):
        raise NoIndexForm(f"{op.__name__} has sums in sums in sums, which no board is large enough for")
    pen = Pen(False, {name_of(go): "".join(map(str, getattr(go, "indices", ()))) for _, _, go, _ in formulas.outputs})
    outputs = [(y, unshifted(e), go, sizes) for y, e, go, sizes in formulas.outputs]
    steps = [(heading(row, formulas), [forward(y, e, sizes) for y, e, _, sizes in formulas.outputs])]
    established, numbers = True, samples(row, formulas)
    amiss = at_an_edge(row)
    for position, x, gx, short, full in formulas.gradients:
        partials = [(y, tidy(normal(derivative(e, x))), go, sizes) for y, e, go, sizes in outputs]
        derived = normal(sp.Add(*(over(go, go * partial, sizes) for _, partial, go, sizes in partials)))
        if full == NOTHING and derived == 0:
            continue
        found = differing(row.shapes[position], numbers, position, x, gx, derived) or not_at(amiss, name_of(x))
        is_same = not found and same(derived, full)
        established = established and is_same
        remark = "the same ∎" + limits(pen, outputs, formulas.unequal) if is_same else found
        code = Equation((gx, short, tidy(normal(full))), remark or "not shown to be the same")
        steps += [*board(pen, x, gx, partials, tidy(derived)), ("The code of backward computes:", [code])]
    return Derivation(op, tuple(steps), established, pen.outputs)


def nested(e: Expr) -> int:
    """How deep sums lie in an expression."""
    return max(map(nested, e.args), default=0) + int(e.func == SUM)


def heading(row: Row, formulas: Formulas) -> str:
    """The op and the shapes of its inputs."""
    shapes = ["×".join(str(formulas.extents.get(n, n)) for n in shape) or "a number" for shape in row.shapes]
    inputs = ", ".join(f"{name} ({shape})" for name, shape in zip(formulas.inputs, shapes, strict=True))
    return f"{row.op.__name__} of {inputs}, by index, from the code of forward:"


def forward(y: Expr, e: Expr, sizes: At) -> Equation:
    """An output's element: as computed, then without a shift by the maximum, which cancels."""
    numbered = zip(getattr(y, "indices", ()), sizes, strict=True)
    remarks = [f"for {i} from 0 to {n - 1}" for i, n in numbered if i.is_Symbol and n.is_Integer]
    remarks += ["the shift by the maximum cancels"] * (unshifted(e) != e)
    remarks += ["σ(u) = 1 / (1 + exp(−u))"] * e.has(SIGMOID)
    return Equation((y, e, unshifted(e)), "; ".join(remarks))


def board(pen: Pen, x: Expr, gx: Expr, partials: list[tuple[Expr, Expr, Expr, At]], derived: Expr) -> list[Step]:
    """The chain rule for one input, its parts, and what is left of its sums."""
    chain = sp.Add(*(over(go, go * PARTIAL(y, x), sizes) for y, _, go, sizes in partials))
    return [
        (f"The chain rule, for every element of {name_of(x)}:", [Equation((gx, chain))]),
        (
            "The derivative of one output by one input:",
            [Equation((PARTIAL(y, x), partial)) for y, partial, *_ in partials],
        ),
        (collapse(pen, partials), [Equation((gx, derived))]),
    ]


def collapse(pen: Pen, partials: list[tuple[Expr, Expr, Expr, At]]) -> str:
    """What the δ in a derivative leave of the sums."""
    always, partly = dict[str, None](), dict[str, None]()
    for _, partial, go, _ in partials:
        terms = [[f for f in sp.Mul.make_args(t) if f.func == DELTA] for t in sp.Add.make_args(partial)]
        for i in getattr(go, "indices", ()):
            hits = [delta for deltas in terms for delta in deltas if i in delta.args]
            if hits:
                text = " = ".join(pen.write(k, {}) for k in sorted(hits[0].args, key=lambda k: k != i))
                if len(hits) == len(terms):
                    always[text] = None
                else:
                    partly[f"{text} in the terms with {pen.write(hits[0], {})}"] = None
    if not always and not partly:
        return "Put into the chain rule:"
    only = f"only {' and '.join(always)} remain{'s' * (len(always) == 1)}" if always else ""
    return f"The sums collapse: {', and '.join(filter(None, [only, ' and '.join(partly)]))}:"


def limits(pen: Pen, outputs: list[tuple[Expr, Expr, Expr, At]], unequal: list[Expr]) -> str:
    """Where a derivation says nothing, in parentheses: at ties and kinks."""
    kinks = any(e.has(MAX, MIN, sp.Abs, sp.sign, GT, TOP, LOW) for _, e, *_ in outputs)
    texts = ["away from kinks"] * kinks
    differ = dict.fromkeys(f"{pen.write(u, {})} ≠ {pen.write(v, {})}" for u, v in (ne.args for ne in unequal))
    texts += [f"where {' and '.join(differ)}"] * bool(differ)
    return f" ({', '.join(texts)})" if texts else ""


@dataclass(frozen=True)
class Sample:
    """Numbers at which an op was run.

    Args:
        arrays: inputs, upstream gradients and extents, by name.
        codes: the gradients that the code gives.
        as_read: whether the formulas of the outputs give what forward does.
    """

    arrays: Mapping[str, Array]
    codes: list[Array]
    as_read: bool


def samples(row: Row, formulas: Formulas) -> list[Sample]:
    """The op at sample numbers, in the domain of its forward."""
    found = []
    for xs in places(row.inputs(np.random.default_rng(0))):
        rng, context = np.random.default_rng(0), dict[str, Any]()
        with np.errstate(all="ignore"):
            ys = listed(row.op.forward(context, *xs, **row.constants))
            gos = [rng.uniform(0.5, 1.5, np.shape(y)) for y in ys]
            codes = listed(row.op.backward(context, *gos))
        if all(np.all(np.isfinite(y)) for y in ys):
            gradients = (name_of(go) for _, _, go, _ in formulas.outputs)
            arrays = dict(zip([*formulas.inputs, *gradients], [*xs, *gos], strict=True))
            arrays |= {letter.name: n for n, letter in formulas.extents.items()}
            pairs = zip(formulas.outputs, ys, strict=True)
            found.append(Sample(arrays, codes, all(computes(y, e, arrays, computed) for (y, e, *_), computed in pairs)))
    return found


def differing(shape: Shape, numbers: list[Sample], position: int, x: Expr, gx: Expr, derived: Expr) -> str:
    """Where the gradient that the code computes is not the derived one, at sample numbers; empty if nowhere."""
    for run in numbers:
        code = run.codes[position]
        if len(shape) == 2 and is_transposed(code, run, x, derived, shape):
            return "not the same: it is transposed"
        if code is None or np.shape(code) != shape:
            return "not the same"
        if not run.as_read:
            return "not shown to be the same"
        for at in np.ndindex(*shape):
            try:
                right = value(derived, {**run.arrays, **indices(x, at)})
            except (ArithmeticError, ValueError, TypeError):
                return "not shown to be the same"  # the derived gradient has no number here
            if not abs(right - code[at]) <= 1e-8 * (1 + abs(right)):  # NaN is not near either
                place = f"{name_of(gx)}[{','.join(map(str, at))}]" if at else name_of(gx)
                return f"not the same: at sample numbers {place} is {right:.4g}, and the code gives {code[at]:.4g}"
    return ""


def is_transposed(code: Array, run: Sample, x: Expr, derived: Expr, shape: Shape) -> bool:
    """Whether the code's gradient is the transpose of the derived one, and not equal to it."""
    if code is None or np.shape(code) != shape[::-1]:
        return False
    with contextlib.suppress(ArithmeticError, ValueError, TypeError):
        right = np.array([value(derived, {**run.arrays, **indices(x, at)}) for at in np.ndindex(*shape)]).reshape(shape)
        is_right = np.shape(code) == shape and np.allclose(code, right, 1e-8, 1e-8)
        return not is_right and bool(np.allclose(np.transpose(code), right, 1e-8, 1e-8))
    return False


def at_an_edge(row: Row) -> Report | None:
    """What is wrong at a single point, where algebra does not see it."""
    xs = row.inputs(np.random.default_rng(0))
    s = None
    with contextlib.suppress(Exception):  # not all ops have symbols
        s = symbolic(row.op, xs, row.constants, {})
    with contextlib.suppress(Fault):  # it shows in what the code computes
        return wrong_at_an_edge(of_op(row.op, xs, row.constants), s)
    return None


def not_at(amiss: Report | None, label: str) -> str:
    """That a gradient is wrong at a single point; empty if it is not known to be."""
    if amiss is None or (amiss.wrong and not any(e.label == label or e.direction for e in amiss.wrong)):
        return ""
    return f"not the same {amiss.name}"


def computes(element: Expr, e: Expr, arrays: Mapping[str, Array], computed: Array) -> bool:
    """Whether a formula of an array's element gives the array that was computed."""
    try:
        found = [value(e, {**arrays, **indices(element, at)}) for at in np.ndindex(*np.shape(computed))]
    except (ArithmeticError, ValueError, TypeError):
        return False
    return bool(np.allclose(found, np.ravel(computed), 1e-8, 1e-8))


def indices(element: Expr, at: tuple[int, ...]) -> dict[str, int]:
    """What the indices of an element are at a place."""
    return {k.name: i for k, i in zip(getattr(element, "indices", ()), at, strict=True) if k.is_Symbol}
