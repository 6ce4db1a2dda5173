"""The arguments of ``prove`` and ``gradcheck``: arrays, or shapes for which sample numbers are drawn."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vugrad.check.subject import Array, Arrays, as_input, inputs_of, names, subject
from vugrad.graph import Op
from vugrad.nn import Module
from vugrad.ops.table import ANY, POSITIVE, ROWS, UNIT, Domain, Row, Shape

#: Domains of sample numbers for a function that is not in the op table; the first where its forward is finite is used.
DOMAINS = (ANY, POSITIVE, UNIT)
#: Errors that mean that a forward does not accept its inputs.
REFUSALS = (np.exceptions.AxisError, IndexError, ValueError, TypeError)


@dataclass(frozen=True, eq=False)
class Given(Row):
    """A row whose inputs are given arrays."""

    arrays: tuple[Array, ...] = ()

    def inputs(self, rng: np.random.Generator, dtype: Any = np.float64) -> list[Array]:
        """Copies of the arrays."""
        return [x.astype(dtype if x.dtype.kind == "f" else x.dtype) for x in self.arrays]

    def sampled(self) -> Row:
        """A row of the same shapes that draws its inputs; its whole numbers are at most the largest given ones."""
        whole = {i: (kind, max(1, int(np.max(self.arrays[i], initial=0)) + 1)) for i, (kind, _) in self.whole.items()}
        return Row(self.op, self.reference, self.shapes, self.constants, self.domains, whole, self.smooth)


def parsed(caller: str, f: Any, inputs: Sequence[Any], shapes: Sequence[Sequence[int]] | None) -> list[Array | Shape]:
    """The arrays and shapes among the arguments that follow ``f`` in a call.

    A tuple of whole numbers is a shape, and a single list of such tuples is the list of all shapes. If another argument
    is an array of real numbers, a tuple is an array too. A list of numbers is always an array. Raises ``TypeError`` for
    anything else, and ``ValueError`` for a negative extent.
    """
    given = list(inputs)
    if shapes is not None and given:
        raise TypeError(f"{caller} takes inputs, or shapes=[...], and not both")
    if shapes is not None:
        given = [tuple(shape) for shape in shapes]
    elif len(given) == 1 and isinstance(given[0], list | tuple) and given[0] and all(map(_is_shape, given[0])):
        given = list(given[0])
    found = [x if _is_shape(x) else as_input(caller, x) for x in given]
    if any(isinstance(x, np.ndarray) and x.dtype.kind == "f" for x in found):
        return [as_input(caller, x) for x in found]
    negative = next((x for x in found if isinstance(x, tuple) and min(x, default=0) < 0), None)
    if negative is not None:
        raise ValueError(f"{caller}: {negative} is no shape: extents are 0 or more")
    if found and not isinstance(f, Module) and not any(isinstance(x, tuple) for x in found):
        raise TypeError(
            f"{caller}: all inputs are whole numbers, which have no derivative: write 3.0 for 3, and a tuple for a "
            "shape, as (2, 3)"
        )
    return found


def _is_shape(x: Any) -> bool:
    return isinstance(x, tuple) and all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in x)


def arrays_of(f: Any, given: Sequence[Array | Shape], constants: Mapping[str, Any]) -> Arrays:
    """The inputs of a function of nodes or a module; a shape becomes sample numbers at which the function is finite."""
    if all(isinstance(x, np.ndarray) for x in given):
        return list(given)
    found = [_filled(given, domain) for domain in DOMAINS]
    with np.errstate(all="ignore"):
        subjects = ((xs, subject(f, xs, constants)) for xs in found)
        return next((xs for xs, checked in subjects if _finite(checked.forward(checked.inputs))), found[0])


def _finite(ys: Sequence[Any]) -> bool:
    """Whether all numbers are finite; results that are not numeric arrays are ignored here and reported later."""
    arrays = map(np.asarray, ys)
    return all(bool(np.all(np.isfinite(y))) for y in arrays if y.dtype.kind in "fiub")


def _filled(given: Sequence[Array | Shape], domain: Domain) -> Arrays:
    """The given arrays, with sample numbers in place of shapes."""
    shapes = tuple(x if isinstance(x, tuple) else () for x in given)
    drawn = Row(Op, Op.forward, shapes, domains=(domain,)).inputs(np.random.default_rng(0))
    return [y if isinstance(x, tuple) else x for x, y in zip(given, drawn, strict=True)]


def row_of(op: type[Op], given: Sequence[Array | Shape] | None, constants: Mapping[str, Any]) -> Row:
    """A row with an op's inputs: the given arrays, and for shapes sample numbers as the op table draws them.

    Without inputs it is the op's first row in the table with these constants; an op without one gets (2, 3) for each
    input. Raises ``TypeError`` for inputs and constants that do not fit the forward's signature. An error that the
    forward raises for its inputs is raised again with their shapes.
    """
    known = [row for row in ROWS if row.op is op and 0 not in itertools.chain(*row.shapes)]
    if not given:
        fitting = [row for row in known if repr({**row.constants, **constants}) == repr({**row.constants})]
        if fitting:
            return fitting[0]
        constants = {**known[0].constants, **constants} if known else constants
        given = known[0].shapes if known else ((2, 3),) * len(inputs_of(op, constants))
    _bind(op, given, constants)
    shapes = tuple(x if isinstance(x, tuple) else x.shape for x in given)
    like = next(
        (row for row in known if len(row.shapes) == len(shapes)), known[0] if known else Row(op, op.forward, ())
    )
    whole = {i: _positions(like, i, shapes) for i, x in enumerate(given) if isinstance(x, tuple) and i in like.whole}
    whole |= {i: (x.dtype.name, 0) for i, x in enumerate(given) if not isinstance(x, tuple) and x.dtype.kind != "f"}
    row = _bounded(replace(like, shapes=shapes, constants=constants, whole=whole), given)
    if known and all(isinstance(x, tuple) for x in given):
        return row
    rows = [_with(given, replace(row, domains=row.domains if known else (domain,))) for domain in DOMAINS]
    return replace(next((each for each in rows if _finite(_run(each))), rows[0]), domains=row.domains)


def _positions(like: Row, i: int, shapes: Sequence[Shape]) -> tuple[str, int]:
    """The dtype and bound of whole-number input ``i``; the bound of positions on an axis is the extent of that axis."""
    kind, below = like.whole[i]
    axes = [(j, axis) for j in like.real for axis, n in enumerate(like.shapes[j]) if kind == "int64" and n == below]
    extents = [shapes[j][axis] for j, axis in axes if axis < len(shapes[j])]
    return kind, max(1, extents[0]) if extents else below


def _with(given: Sequence[Array | Shape], row: Row) -> Given:
    """The row with the given arrays, and with sample numbers in place of shapes."""
    bounds = {i: (kind, below or 1) for i, (kind, below) in row.whole.items()}
    drawn = replace(row, whole=bounds).inputs(np.random.default_rng(0))
    arrays = tuple(y if isinstance(x, tuple) else x for x, y in zip(given, drawn, strict=True))
    return Given(row.op, row.reference, row.shapes, row.constants, row.domains, row.whole, row.smooth, arrays)


def _run(row: Row) -> list[Any]:
    """The outputs at a row's inputs; an error of the forward is raised again with the shapes."""
    xs = row.inputs(np.random.default_rng(0))
    labels = names(row.op.forward, len(xs), 1)
    try:
        with np.errstate(all="ignore"):
            ys = row.op.forward({}, *xs, **row.constants)
    except REFUSALS as error:
        said = ", ".join(f"{label} {x.shape}" for label, x in zip(labels, xs, strict=True))
        kind = next(kind for kind in REFUSALS if isinstance(error, kind))
        raise kind(f"{row.op.__name__} of {said}: {error}. {row.op.hint}".rstrip()) from error
    return list(ys) if isinstance(ys, tuple) else [ys]


def _bounded(row: Row, given: Sequence[Array | Shape]) -> Row:
    """The row with bounds of its whole numbers that its forward accepts: its own, or an extent of the real inputs."""
    drawn = [i for i in row.whole if isinstance(given[i], tuple)]
    extents = sorted({n for i in row.real for n in row.shapes[i] if n}, reverse=True)
    first: Exception | None = None
    for bound in (None, *(extents if drawn else ())):
        whole = {i: (kind, below if bound is None else min(bound, below)) for i, (kind, below) in row.whole.items()}
        largest = _with(given, replace(row, whole=whole))
        arrays = [np.full_like(x, whole[i][1] - 1) if i in drawn else x for i, x in enumerate(largest.arrays)]
        try:
            _run(replace(largest, arrays=tuple(arrays)))
        except REFUSALS as error:
            first = first or error
        else:
            return replace(row, whole=whole)
    assert first is not None
    raise first


def _bind(op: type[Op], given: Sequence[Any], constants: Mapping[str, Any]) -> None:
    """Raise ``TypeError`` for inputs and constants that do not fit the forward's signature."""
    signature = inspect.signature(op.forward)
    try:
        signature.bind({}, *given, **constants)
    except TypeError as error:
        takes = ", ".join(str(p.replace(annotation=p.empty)) for p in list(signature.parameters.values())[1:])
        has = f"{len(given)} input{'s' * (len(given) != 1)} and " + (", ".join(constants) or "no constants")
        raise TypeError(f"{op.__name__} takes {takes}, and is given {has}: {error}") from None
