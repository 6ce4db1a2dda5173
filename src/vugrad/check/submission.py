"""The ops of a person's own file: found, given inputs, and judged one by one."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import inspect
import itertools
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from vugrad.check.compare import check_row
from vugrad.check.proof import prove_row
from vugrad.check.subject import Array, Arrays, Fault, inputs_of, listed, names, of_op, short
from vugrad.graph import Op
from vugrad.ops.table import ANY, POSITIVE, ROWS, UNIT, Domain, Row, Shape

#: Shapes that are tried for the inputs of an op that says nothing of them, those of the first that forward takes.
SHAPES: tuple[Shape, ...] = ((2, 3), (3, 2), (3,), (3, 3), (2, 2, 3), (2,), ())
#: The names of ops that the table has, in any case of letters: what they compute is known.
KNOWN = {row.op.__name__.lower(): row.op for row in ROWS}

#: How a person says what an op takes.
EXAMPLE = "inputs = [np.ones((2, 3)), np.array([0, 2])]"


@dataclass(frozen=True)
class Verdict:
    """What was found of one op.

    Args:
        op: its name.
        forward: "right" or "wrong" for one that the library has by that name, else "unknown".
        backward: "proven", "checked", "wrong", or "not established"; "missing" for an op that is not there.
        text: why, in sentences.
        shapes: where it was looked at.
        seconds: that it took.
    """

    op: str
    forward: str
    backward: str
    text: str
    shapes: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong with it, as far as that can be known."""
        return self.forward != "wrong" and self.backward in ("proven", "checked")


def load(path: Path) -> ModuleType:
    """A Python file as a module; what it raises is raised."""
    spec = importlib.util.spec_from_file_location("submission", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # as an import does, for what looks itself up by name
    sys.path.append(str(path.absolute().parent))  # for what lies beside it
    spec.loader.exec_module(module)
    return module


def ops_of(module: ModuleType) -> dict[str, type[Op]]:
    """The ops that a module itself defines, in its order."""
    own: dict[str, type[Op]] = {}
    for name, op in vars(module).items():
        if not isinstance(op, type) or not issubclass(op, Op) or op in own.values():
            continue
        imported = op.__module__ != module.__name__ and vars(sys.modules[op.__module__]).get(op.__name__) is op
        # A base class of others need not be an op itself.
        if not imported and op.forward is not Op.forward:
            own[name] = op
    return own


def judge(name: str, op: type[Op], seconds: float = 10) -> Iterator[Verdict]:
    """An op of one's own: its forward beside the library's of the same name, and its backward checked, then proven.

    The last verdict counts; those before are there if what comes next takes too long.
    """
    start = time.perf_counter()
    rows: list[Row] = []
    forward, text = "unknown", ""
    names_inputs = hasattr(op, "inputs")

    def verdict(status: str, *texts: str) -> Verdict:
        shapes = "; ".join(row.name.partition(" ")[2] for row in rows[:1]) + (" and more" if len(rows) > 1 else "")
        return Verdict(name, forward, status, "\n".join(filter(None, texts)), shapes, time.perf_counter() - start)

    known = [] if names_inputs else _library_rows(name, op)
    try:
        rows = known or [_named(op) if names_inputs else _guessed(name, op)]
        if known:
            forward, text = _beside(rows)
        _run_once(rows[0])
        yield verdict("not established", text, f"it is too slow to be checked at {rows[0].name}: name smaller inputs")
        for row in rows:
            report = check_row(row, seconds / 2)
            if not report:
                elsewhere = "" if known or names_inputs else _right_elsewhere(name, op, row)
                yield verdict("not established" if elsewhere else report.status, text, elsewhere, str(report))
                return
        yield verdict("checked", text, "not proven: the time was up")
        proofs = [prove_row(row, max(0.1, start + seconds - time.perf_counter())) for row in rows]
    except NoInputs as error:
        yield verdict("not established", str(error))
    except Exception as error:  # whatever a person's code raises
        as_ours = f"it was called as vugrad's {name} is: inputs = [...] in the class says what it takes instead"
        unsure = known or (rows and not isinstance(error, Fault))  # what goes wrong later need not be the op's fault
        yield verdict(
            "not established" if unsure else "wrong", text, f"{type(error).__name__}: {error}", as_ours * bool(known)
        )
    else:
        refuted = next((str(proof) for proof in proofs if proof.status == "refuted"), "")
        if names_inputs and not refuted:
            refuted = _wrong_elsewhere(op)
        unproven = next((proof for proof in proofs if not proof), None)
        if refuted and names_inputs:
            here = "it is right at the inputs that it names, and wrong at others; if it is for such alone, it is right:"
            yield verdict("not established", text, here, refuted)
        elif refuted:
            yield verdict("wrong", text, refuted)
        elif unproven is not None:
            yield verdict("checked", text, f"not proven: {unproven.text}")
        else:
            yield verdict("proven", text)


def _library_rows(name: str, op: type[Op]) -> list[Row]:
    """The rows of the library's op of that name that an op takes too; none if it is called in another way."""
    rows = []
    for row in ROWS:
        if row.op is KNOWN.get(name.lower()):
            try:
                inspect.signature(op.forward).bind({}, *row.shapes, **row.constants)
            except TypeError:
                continue
            rows.append(dataclasses.replace(row, op=op))
    # One for matrices need not be one for stacks of them.
    return [row for row in rows if list(map(len, row.shapes)) == list(map(len, rows[0].shapes))]


def _run_once(row: Row) -> None:
    """Run both directions, to see that they come to an end."""
    checked = of_op(row.op, row.inputs(np.random.default_rng(0)), row.constants)
    with np.errstate(all="ignore"), contextlib.suppress(Fault):  # which has a verdict of its own
        checked.gradients(checked.inputs, [np.ones(y.shape) for y in checked.forward(checked.inputs)])


def _beside(rows: Sequence[Row]) -> tuple[str, str]:
    """Whether the forward gives what the table's references give."""
    for row in rows:
        xs = row.inputs(np.random.default_rng(0))
        expected = listed(row.reference(*xs, **row.constants))
        with np.errstate(all="ignore"):
            found = listed(row.op.forward({}, *xs, **row.constants))
        pairs = zip(found, expected, strict=False)
        alike = (np.shape(a) == np.shape(b) and np.allclose(a, b, 1e-6, 1e-9) for a, b in pairs)
        if len(found) != len(expected) or not all(alike):
            given = short(found[0]) if found else "nothing"
            return "wrong", f"its forward is wrong for {row.name.partition(' ')[2]}: it gives {given}"
    return "right", ""


class NoInputs(ValueError):  # noqa: N818 (it is what is missing)
    """None were found that an op's forward takes."""


@dataclass(frozen=True, eq=False)
class Named(Row):
    """A row whose inputs are those that an op names."""

    arrays: tuple[Array, ...] = ()

    def inputs(self, rng: np.random.Generator, dtype: Any = np.float64) -> list[Array]:
        """Copies of them."""
        return [x.astype(dtype if x.dtype.kind == "f" else x.dtype) for x in self.arrays]


def _named(op: type[Op]) -> Named:
    """The inputs that an op names, with its constants."""
    xs = [np.asarray(x) for x in op.inputs]  # type: ignore[attr-defined]
    constants = dict(getattr(op, "constants", {}))
    domains = tuple(_domain(x) for x in xs)
    return Named(op, lambda *xs: None, tuple(x.shape for x in xs), constants, domains, arrays=tuple(xs))


def _wrong_elsewhere(op: type[Op]) -> str:
    """What is wrong at other numbers of the shapes and kinds that an op names, if something is."""
    named = _named(op)
    whole = {
        i: (x.dtype.name, int(np.max(x, initial=0)) + 1) for i, x in enumerate(named.arrays) if x.dtype.kind != "f"
    }
    row = Row(op, named.reference, named.shapes, named.constants, named.domains, whole)
    with contextlib.suppress(Exception):  # they may be none that it takes
        report = check_row(row, 2)
        return str(report) if report.status == "wrong" else ""
    return ""


def _guessed(name: str, op: type[Op]) -> Row:
    """The first inputs that the forward of an op takes, of those that are tried."""
    said = ""
    for row in _guesses(op):
        xs = row.inputs(np.random.default_rng(0))
        try:
            with np.errstate(all="ignore"):
                ys = of_op(op, xs, row.constants).forward(xs)
        except Fault:
            return row
        except Exception as error:
            said = said or f" (for {row.shapes} it says {type(error).__name__}: {error})"
        else:
            if all(np.all(np.isfinite(y)) for y in ys):
                _see_that_all_are_real(name, op, xs, ys, row.constants)
                return row
    raise NoInputs(
        f"no inputs were found that {name}.forward takes{said}: name some in it, as {EXAMPLE}, "
        "and constants = {'axis': 1} where it has such"
    )


def _right_elsewhere(name: str, op: type[Op], wrong: Row) -> str:
    """Where an op is right that is wrong where it was guessed what it takes: at vectors in place of matrices, say."""
    start = time.perf_counter()
    for row in _guesses(op):
        axes = [(len(a), len(b)) for a, b in zip(row.shapes, wrong.shapes, strict=True)]
        fewer = all(a <= b for a, b in axes) and any(a < b for a, b in axes)
        if row.domains != wrong.domains or not fewer or any(a == 0 < b for a, b in axes):
            continue
        with contextlib.suppress(Exception):  # forward need not take it
            if check_row(row, 1):
                where = [row_.name.partition(" ")[2] for row_ in (row, wrong)]
                return (
                    f"it is right for inputs of shapes {where[0]}, and wrong for {where[1]}: if it is for the first "
                    f"alone, name such in it, as {EXAMPLE}"
                )
        if time.perf_counter() > start + 3:
            break
    return ""


def _see_that_all_are_real(name: str, op: type[Op], xs: Arrays, ys: Arrays, constants: Mapping[str, Any]) -> None:
    """Raise :class:`NoInputs` if backward gives some of the inputs a gradient and others, as labels, none."""
    context: dict[str, Any] = {}
    try:
        with np.errstate(all="ignore"):
            op.forward(context, *xs, **constants)
            gradients = listed(op.backward(context, *(np.ones(np.shape(y)) for y in ys)))
    except Exception:  # it has a verdict of its own
        return
    without = [label for label, g in zip(names(op.forward, len(xs), 1), gradients, strict=False) if g is None]
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


def _guesses(op: type[Op]) -> Iterator[Row]:
    """Rows with shapes for the inputs of an op, fewer kinds of shapes for many."""
    constants = dict(getattr(op, "constants", {}))
    count = len(inputs_of(op, constants))
    shapes = SHAPES[: 2 if count > 4 else 3 if count == 4 else None]
    for domain, some in itertools.product((ANY, POSITIVE, UNIT), itertools.product(shapes, repeat=count)):
        yield Row(op, lambda *xs: None, some, constants, (domain,))
