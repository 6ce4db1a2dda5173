"""The ops of a person's own file: found, given inputs, and judged one by one."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from vugrad.check.compare import check, explained
from vugrad.check.proof import inputs_of, prove_row
from vugrad.check.subject import Fault, of_op
from vugrad.graph import Op
from vugrad.ops.table import ROWS, Row, Shape

#: Shapes that are tried for the inputs of an op that says nothing of them, those of the first that forward takes.
SHAPES: tuple[Shape, ...] = ((2, 3), (3, 2), (3,), (3, 3), (2, 2, 3), (2,), ())
#: The names of ops that the table has, in any case of letters: what they compute is known.
KNOWN = {row.op.__name__.lower(): row.op for row in ROWS}


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
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Op) and value.__module__ == module.__name__
    }


def judge(op: type[Op], seconds: float = 10) -> Verdict:
    """An op of one's own: its forward beside the library's of the same name, and its backward proven or checked."""
    start = time.perf_counter()
    known = KNOWN.get(op.__name__.lower())
    rows: list[Row] = []
    forward, status, text = "unknown", "wrong", ""
    try:
        rows = [dataclasses.replace(row, op=op) for row in ROWS if row.op is known] or [_row_of(op)]
        if known is not None:
            forward, text = _beside(rows)
        status = "not established"  # what goes wrong from here on need not be the op's fault
        status, why = _backward(rows, start + seconds)
    except Exception as error:  # whatever a person's code raises
        why = f"{type(error).__name__}: {error}"
    text = "\n".join(filter(None, [text, why]))
    shapes = "; ".join(row.name.partition(" ")[2] for row in rows[:1]) + (" and more" if len(rows) > 1 else "")
    return Verdict(op.__name__, forward, status, text, shapes, time.perf_counter() - start)


def _beside(rows: Sequence[Row]) -> tuple[str, str]:
    """Whether the forward gives what the table's references give."""
    for row in rows:
        xs = row.inputs(np.random.default_rng(0))
        expected = row.reference(*xs, **row.constants)
        with np.errstate(all="ignore"):
            found = row.op.forward({}, *xs, **row.constants)
        pairs = list(zip(_tuple(found), _tuple(expected), strict=False))
        if not all(np.shape(a) == np.shape(b) and np.allclose(a, b, 1e-6, 1e-9) for a, b in pairs):
            shapes = " and ".join(str(np.shape(a)) for a in _tuple(found))
            return "wrong", f"its forward is wrong for {row.name.partition(' ')[2]}: it gives {shapes} {found}"
    return "right", ""


def _tuple(values: Any) -> tuple[Any, ...]:
    return values if isinstance(values, tuple) else (values,)


def _backward(rows: Sequence[Row], deadline: float) -> tuple[str, str]:
    """The status of the whole, and of what is not proven the reason."""
    text, status = "", "proven"
    for row in rows:
        report = explained(check(of_op(row.op, row.inputs(np.random.default_rng(0)), row.constants)))
        if report.status != "checked":
            return report.status, str(report)
    for row in rows:
        proof = prove_row(row, max(0.1, deadline - time.perf_counter()))
        if proof.status == "refuted":
            return "wrong", str(proof)
        if proof.status != "proven":
            status, text = "checked", f"not proven: {proof.text}"
    return status, text


def _row_of(op: type[Op]) -> Row:
    """Inputs for an op that is not in the table: those that it names as ``shapes``, or the first that it takes."""
    constants, said = dict(getattr(op, "constants", {})), ""
    for shapes in _guesses(op):
        row = Row(op, lambda *xs: None, shapes, constants)
        xs = row.inputs(np.random.default_rng(0))
        try:
            with np.errstate(all="ignore"):
                ys = of_op(op, xs, constants).forward(xs)
        except Fault:
            return row
        except Exception as error:
            said = said or f" (for {shapes} it says {type(error).__name__}: {error})"
        else:
            if all(np.all(np.isfinite(y)) for y in ys):
                return row
    raise ValueError(
        f"no shapes were found that {op.__name__}.forward takes{said}: name them in the class, as shapes = [(2, 3), "
        "(3,)], and constants = {'axis': 1} where it has such"
    )


def _guesses(op: type[Op]) -> Iterator[tuple[Shape, ...]]:
    named = getattr(op, "shapes", None)
    if named is not None:
        yield tuple(tuple(shape) for shape in named)
        return
    yield from itertools.product(SHAPES, repeat=min(len(inputs_of(op)), 3))
