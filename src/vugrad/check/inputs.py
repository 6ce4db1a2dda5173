"""Inputs for an op: those that it names, those of the library's op of its name, or the first that forward accepts."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from vugrad.check.arguments import Given
from vugrad.check.subject import Array, Arrays, Fault, inputs_of, listed, names, of_op
from vugrad.graph import Op
from vugrad.ops.table import ANY, POSITIVE, ROWS, UNIT, Domain, Row, Shape

#: Shapes that are tried for the inputs of an op that names none.
SHAPES: tuple[Shape, ...] = ((2, 3), (3, 2), (3,), (3, 3), (2, 2, 3), (2,), ())
#: The ops of the table by their name in lower case; their forward has a reference.
KNOWN = {row.op.__name__.lower(): row.op for row in ROWS}
#: Errors of a forward that are bugs, not refusals of its inputs.
BUGS = (NameError, ImportError, NotImplementedError, RecursionError)

#: How a user names the inputs of an op.
EXAMPLE = "inputs = [np.ones((2, 3)), np.array([0, 2])]"


class NoInputs(ValueError):  # noqa: N818 (the name says what is missing)
    """No inputs were found that an op's forward accepts, or it is unclear which of them have gradients."""


def rows_of(name: str, op: type[Op]) -> tuple[list[Row], bool]:
    """The rows at which an op is judged, and whether they are the library's rows, which have a reference forward.

    Raises :class:`NoInputs` if there are none.
    """
    if hasattr(op, "inputs"):
        return [named(op)], False
    rows = library_rows(name, op)
    return rows or [guessed(name, op)], bool(rows)


def library_rows(name: str, op: type[Op]) -> list[Row]:
    """The rows of the library's op of this name that an op accepts too; none if their signatures differ.

    Rows that its forward refuses are left out. Raises :class:`NoInputs` if it refuses the first row, the ordinary case:
    an op that fails there is not the op that its name promises.
    """
    rows = []
    for row in ROWS:
        if row.op is KNOWN.get(name.lower()):
            signature = inspect.signature(op.forward)
            try:
                signature.bind({}, *row.shapes, **row.constants)
            except TypeError:
                continue
            taken = list(signature.parameters.values())[1 : 1 + len(row.shapes)]
            if not any(isinstance(parameter.default, int | float) for parameter in taken):  # which takes no array
                rows.append(dataclasses.replace(row, op=op))
    # An op for matrices need not accept stacks of matrices.
    alike = [row for row in rows if list(map(len, row.shapes)) == list(map(len, rows[0].shapes))]
    trials = [_accepted(row) for row in alike]
    if trials and isinstance(trials[0], Exception):
        raise _no_inputs(name, alike[0], trials[0], f"it was called as vugrad's {name} is")
    return [row for row in trials if isinstance(row, Row)]


def _accepted(row: Row) -> Row | Exception:
    """The row if its forward accepts it, with lists among the constants made arrays if needed; else the error."""
    arrays = {key: np.array(value) if isinstance(value, list) else value for key, value in row.constants.items()}
    error = _refusal(row)
    if error is not None and any(isinstance(value, list) for value in row.constants.values()):
        row = dataclasses.replace(row, constants=arrays)
        error = _refusal(row)
    return row if error is None else error


def _refusal(row: Row) -> Exception | None:
    """The error that a forward raises for the inputs of a row; ``None`` if it returns, rightly or not."""
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
    """The error for a forward that accepts no inputs that were tried; a :class:`Fault` if its code is wrong."""
    said = f"{type(error).__name__}: {error}".removesuffix(": ")
    if isinstance(error, BUGS):
        return Fault(f"its forward raises {said}")
    return NoInputs(
        f"its forward refuses all inputs that were tried ({row.name.partition(' ')[2]}: {said}). {why}. Name inputs "
        f"that it accepts in class {name}, as {EXAMPLE}, and constants = {{'axis': 1}} if it has keyword arguments"
    )


def named(op: type[Op]) -> Given:
    """The inputs that an op names, with its constants."""
    xs = [np.asarray(x) for x in op.inputs]  # type: ignore[attr-defined]
    constants = dict(getattr(op, "constants", {}))
    domains = tuple(_domain(x) for x in xs)
    return Given(op, lambda *xs: None, tuple(x.shape for x in xs), constants, domains, arrays=tuple(xs))


def drawn(given: Given) -> Row:
    """A row that draws other numbers, with the shapes and kinds of the arrays that an op names."""
    whole = {
        i: (x.dtype.name, int(np.max(x, initial=0)) + 1) for i, x in enumerate(given.arrays) if x.dtype.kind != "f"
    }
    return Row(given.op, given.reference, given.shapes, given.constants, given.domains, whole)


def guessed(name: str, op: type[Op]) -> Row:
    """The first of the inputs tried that an op's forward accepts and for which it is finite.

    Raises :class:`NoInputs` if there are none.
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
                _check_all_have_gradients(name, op, row, xs, ys)
                return row
    if first is None:
        raise NoInputs(f"its forward returns no finite numbers for inputs that were tried: name inputs, as {EXAMPLE}")
    raise _no_inputs(name, *first, "Matrices, vectors and numbers were tried, of both signs and positive")


def _check_all_have_gradients(name: str, op: type[Op], row: Row, xs: Arrays, ys: Arrays) -> None:
    """Raise :class:`NoInputs` if backward returns gradients for some of the inputs, and ``None`` for others."""
    context: dict[str, Any] = {}
    try:
        with np.errstate(all="ignore"):
            op.forward(context, *xs, **row.constants)
            gradients = listed(op.backward(context, *(np.ones(np.shape(y)) for y in ys)))
    except Exception:  # the check reports it
        return
    without = [
        label
        for label, x, g in zip(names(op.forward, len(xs), 1), xs, gradients, strict=False)
        if g is None and x.dtype.kind == "f"
    ]
    if without and any(g is not None for g in gradients):
        raise NoInputs(
            f"{name}.backward returns None for {', '.join(without)}: if that input takes whole numbers, such as "
            f"labels, name inputs in the class, as {EXAMPLE}; if not, a gradient is missing"
        )


def _domain(x: Array) -> Domain:
    """The domain of an input's numbers."""
    if x.dtype.kind != "f" or not x.size:
        return ANY
    low, high = float(np.min(x)), float(np.max(x))
    return Domain(low, high) if low < high else Domain(low - 0.1 * abs(low), low + 0.1 * abs(low)) if low else ANY


def guesses(op: type[Op]) -> Iterator[Row]:
    """Rows with all combinations of shapes for an op's inputs, fewer for many inputs; then with one input of labels.

    There are more labels than classes, so that one comes twice: a gradient that is written where it should be added
    is wrong there.
    """
    constants = dict(getattr(op, "constants", {}))
    count = len(inputs_of(op, constants))
    shapes = SHAPES[: 2 if count > 4 else 3 if count == 4 else None]
    for domain, some in itertools.product((ANY, POSITIVE, UNIT), itertools.product(shapes, repeat=count)):
        for more in _constants(op, constants, some):
            yield Row(op, lambda *xs: None, some, more, (domain,))
    for i, labels in itertools.product(range(count if count > 1 else 0), ((3,), (3, 1), (3, 2))):
        each: tuple[Shape, ...] = tuple(labels if j == i else (3, 2) for j in range(count))
        for more in _constants(op, constants, each):
            yield Row(op, lambda *xs: None, each, more, (ANY,), {i: ("int64", 2)})


def _constants(op: type[Op], constants: Mapping[str, Any], shapes: tuple[Shape, ...]) -> Iterator[dict[str, Any]]:
    """The constants that an op names, with values for its other required ones: positions, an axis, a number."""
    parameters = inspect.signature(op.forward).parameters.values()
    missing = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    missing = [name for name in missing if name not in constants]
    rows, columns = (*(shapes[0] if shapes else ()), 2, 2)[:2]
    values = (np.arange(rows)[::-1] % columns, 1, 0, 2, 0.5)
    for some in itertools.product(values, repeat=len(missing)):
        yield {**constants, **dict(zip(missing, some, strict=True))}
