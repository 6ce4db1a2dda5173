"""Inputs for an op: those of the library's op of its name, those that it names, or the first that its forward takes."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vugrad.check.subject import Array, Arrays, Fault, inputs_of, listed, names, of_op
from vugrad.graph import Op
from vugrad.ops.table import ANY, POSITIVE, ROWS, UNIT, Domain, Row, Shape

#: Shapes that are tried for the inputs of an op that says nothing of them, those of the first that forward takes.
SHAPES: tuple[Shape, ...] = ((2, 3), (3, 2), (3,), (3, 3), (2, 2, 3), (2,), ())
#: The names of ops that the table has, in any case of letters: what they compute is known.
KNOWN = {row.op.__name__.lower(): row.op for row in ROWS}
#: What a forward raises that does not refuse its inputs, but is wrong.
BUGS = (NameError, ImportError, NotImplementedError, RecursionError)

#: How a person says what an op takes.
EXAMPLE = "inputs = [np.ones((2, 3)), np.array([0, 2])]"


class NoInputs(ValueError):  # noqa: N818 (it is what is missing)
    """None were found that an op's forward takes, or of which its gradients are known."""


def rows_of(name: str, op: type[Op]) -> tuple[list[Row], bool]:
    """The rows at which an op is judged, and whether they are the library's, which say what its forward computes.

    Raises :class:`NoInputs` where there are none.
    """
    if hasattr(op, "inputs"):
        return [named(op)], False
    rows = library_rows(name, op)
    return rows or [guessed(name, op)], bool(rows)


def library_rows(name: str, op: type[Op]) -> list[Row]:
    """The rows of the library's op of that name that an op takes too; none if it is called in another way.

    What its forward refuses is left out. Raises :class:`NoInputs` if it refuses the first row, which has the ordinary
    case: what is right elsewhere alone is not what the name says.
    """
    rows = []
    for row in ROWS:
        if row.op is KNOWN.get(name.lower()):
            try:
                inspect.signature(op.forward).bind({}, *row.shapes, **row.constants)
            except TypeError:
                continue
            rows.append(dataclasses.replace(row, op=op))
    # One for matrices need not be one for stacks of them.
    alike = [row for row in rows if list(map(len, row.shapes)) == list(map(len, rows[0].shapes))]
    trials = [_accepted(row) for row in alike]
    if trials and isinstance(trials[0], Exception):
        raise _no_inputs(name, alike[0], trials[0], f"it was called as vugrad's {name} is")
    return [row for row in trials if isinstance(row, Row)]


def _accepted(row: Row) -> Row | Exception:
    """A row that a forward takes, its lists of whole numbers made arrays if it wants that; else what it raises."""
    arrays = {key: np.array(value) if isinstance(value, list) else value for key, value in row.constants.items()}
    error = _refusal(row)
    if error is not None and any(isinstance(value, list) for value in row.constants.values()):
        row = dataclasses.replace(row, constants=arrays)
        error = _refusal(row)
    return row if error is None else error


def _refusal(row: Row) -> Exception | None:
    """What a forward raises for the inputs of a row; ``None`` if it takes them, rightly or not."""
    xs = row.inputs(np.random.default_rng(0))
    try:
        with np.errstate(all="ignore"):
            of_op(row.op, xs, row.constants).forward(xs)
    except Fault:
        return None
    except Exception as error:
        return error
    return None


def _no_inputs(name: str, row: Row, error: Exception, why: str) -> Exception:
    """That a forward takes none of what was tried; or what it does wrong, whatever it is given."""
    said = f"{type(error).__name__}: {error}".removesuffix(": ")
    if isinstance(error, BUGS):
        return Fault(f"its forward raises {said}")
    return NoInputs(
        f"its forward refuses all inputs that were tried ({row.name.partition(' ')[2]}: {said}). {why}. Name some that "
        f"it takes in class {name}, as {EXAMPLE}, and constants = {{'axis': 1}} where it has such"
    )


@dataclass(frozen=True, eq=False)
class Named(Row):
    """A row whose inputs are those that an op names."""

    arrays: tuple[Array, ...] = ()

    def inputs(self, rng: np.random.Generator, dtype: Any = np.float64) -> list[Array]:
        """Copies of them."""
        return [x.astype(dtype if x.dtype.kind == "f" else x.dtype) for x in self.arrays]


def named(op: type[Op]) -> Named:
    """The inputs that an op names, with its constants."""
    xs = [np.asarray(x) for x in op.inputs]  # type: ignore[attr-defined]
    constants = dict(getattr(op, "constants", {}))
    domains = tuple(_domain(x) for x in xs)
    return Named(op, lambda *xs: None, tuple(x.shape for x in xs), constants, domains, arrays=tuple(xs))


def drawn(named: Named) -> Row:
    """A row with other numbers of the shapes and kinds that an op names."""
    whole = {
        i: (x.dtype.name, int(np.max(x, initial=0)) + 1) for i, x in enumerate(named.arrays) if x.dtype.kind != "f"
    }
    return Row(named.op, named.reference, named.shapes, named.constants, named.domains, whole)


def guessed(name: str, op: type[Op]) -> Row:
    """The first inputs that the forward of an op takes, of those that are tried.

    Raises :class:`NoInputs` if it takes none.
    """
    first: tuple[Row, Exception] | None = None
    for row in guesses(op):
        xs = row.inputs(np.random.default_rng(0))
        try:
            with np.errstate(all="ignore"):
                ys = of_op(op, xs, row.constants).forward(xs)
        except Fault:
            return row
        except Exception as error:
            first = first or (row, error)
        else:
            if all(np.all(np.isfinite(y)) for y in ys):
                _see_that_all_are_real(name, op, row, xs, ys)
                return row
    if first is None:
        raise NoInputs(f"its forward gives no finite numbers for inputs that were tried: name some, as {EXAMPLE}")
    raise _no_inputs(name, *first, "Matrices, vectors and numbers were tried, of both signs and positive")


def _see_that_all_are_real(name: str, op: type[Op], row: Row, xs: Arrays, ys: Arrays) -> None:
    """Raise :class:`NoInputs` if backward gives some of the inputs a gradient and others, as labels, none."""
    context: dict[str, Any] = {}
    try:
        with np.errstate(all="ignore"):
            op.forward(context, *xs, **row.constants)
            gradients = listed(op.backward(context, *(np.ones(np.shape(y)) for y in ys)))
    except Exception:  # it has a verdict of its own
        return
    without = [
        label
        for label, x, g in zip(names(op.forward, len(xs), 1), xs, gradients, strict=False)
        if g is None and x.dtype.kind == "f"
    ]
    if without and any(g is not None for g in gradients):
        raise NoInputs(
            f"{name}.backward returns None for {', '.join(without)}: if that takes whole numbers, as labels, name some "
            f"in it, as {EXAMPLE}; if not, a gradient is missing"
        )


def _domain(x: Array) -> Domain:
    """Where the numbers of an input lie."""
    if x.dtype.kind != "f" or not x.size:
        return ANY
    low, high = float(np.min(x)), float(np.max(x))
    return Domain(low, high) if low < high else Domain(low - 0.1 * abs(low), low + 0.1 * abs(low)) if low else ANY


def guesses(op: type[Op]) -> Iterator[Row]:
    """Rows with shapes for the inputs of an op, fewer kinds of shapes for many; then with whole numbers for one."""
    constants = dict(getattr(op, "constants", {}))
    count = len(inputs_of(op, constants))
    shapes = SHAPES[: 2 if count > 4 else 3 if count == 4 else None]
    for domain, some in itertools.product((ANY, POSITIVE, UNIT), itertools.product(shapes, repeat=count)):
        for more in _constants(op, constants, some):
            yield Row(op, lambda *xs: None, some, more, (domain,))
    for i, labels in itertools.product(range(count if count > 1 else 0), ((2,), (2, 1), (2, 3))):
        each: tuple[Shape, ...] = tuple(labels if j == i else (2, 3) for j in range(count))
        for more in _constants(op, constants, each):
            yield Row(op, lambda *xs: None, each, more, (ANY,), {i: ("int64", 2)})


def _constants(op: type[Op], constants: Mapping[str, Any], shapes: tuple[Shape, ...]) -> Iterator[dict[str, Any]]:
    """The constants that an op names, with values for those that it must be given: positions, an axis, a number."""
    parameters = inspect.signature(op.forward).parameters.values()
    missing = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    missing = [name for name in missing if name not in constants]
    rows, columns = (*(shapes[0] if shapes else ()), 2, 2)[:2]
    values = (np.arange(rows)[::-1] % columns, 1, 0, 2, 0.5)
    for some in itertools.product(values, repeat=len(missing)):
        yield {**constants, **dict(zip(missing, some, strict=True))}
