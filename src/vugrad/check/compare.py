"""``vg.gradcheck``: the gradients that the code computes beside slopes of its forward, in numbers."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vugrad.check.arguments import arrays_of, parsed, row_of
from vugrad.check.comparison import CALLS, MOST, Comparison, Place
from vugrad.check.conduct import outputs, upstream, well_behaved
from vugrad.check.report import Report
from vugrad.check.shrink import diagnose
from vugrad.check.subject import Arrays, Fault, Subject, of_graph, of_op, pulled_back, subject
from vugrad.graph import Op, TensorNode
from vugrad.graph.backward import below
from vugrad.ops.table import Row, Shape


def gradcheck(
    f: Any,
    *inputs: Any,
    shapes: Sequence[Shape] | None = None,
    order: int = 1,
    seed: int = 0,
    **constants: Any,
) -> Report:
    """Whether the gradients of ``f`` are its slopes, in float64: element by element, and of many in random directions.

    Args:
        f: an Op, a Module (the gradients of whose parameters are checked too), or a function of nodes.
        inputs: arrays at which to check, or their shapes as tuples, or one list of shapes; as for :func:`prove`. Whole
            numbers and truth values are not differentiated. Without inputs, an op of the library is checked at its
            inputs in the op table.
        shapes: the same as one list of shapes.
        order: 2 to check the gradients' own gradients as well.
        seed: of the directions and of the upstream gradients.
        constants: keyword arguments of ``f``.

    A slope comes from a complex step where the function allows that, else from differences, and has an error bar; what
    is within it is right, and what the bar is too wide for is "not established". At a kink (a tie in a maximum, ReLU at
    0) there is no one slope, which is said and not counted as wrong.

    Returns a report that is true if all is right; printed, it says what was found, and of what is wrong which element,
    and the likely mistake. Raises ``TypeError`` for what is no function of nodes, and what the forward raises for
    inputs that it does not take.

    >>> import numpy as np, vugrad as vg
    >>> bool(vg.gradcheck(vg.Normalize, np.array([[1.0, 2.0], [3.0, 4.0]])))
    True
    >>> bool(vg.gradcheck(lambda x, y: np.exp(x) @ y, (2, 3), (3,), order=2))
    True
    """
    if order not in (1, 2):
        raise ValueError(f"gradcheck: order is 1, or 2 for the gradients' own gradients, and not {order}")
    given = parsed("gradcheck", f, inputs, shapes)
    if isinstance(f, type) and issubclass(f, Op):
        row = row_of(f, given, constants)
        checked = of_op(f, row.inputs(np.random.default_rng(seed)), row.constants)
    else:
        checked = subject(f, arrays_of(f, given, constants), constants)
    report = explained(check(checked, seed))
    if report and order == 2:
        second = explained(check(second_order(checked), seed))
        return replace(second, elements=report.elements + second.elements, kinks=report.kinks + second.kinks)
    return report


def explained(report: Report) -> Report:
    """The report with a diagnosis, if something is wrong: of the op, or of the first op in a graph that is wrong."""
    checked = report.subject
    if report.status != "wrong" or checked is None:
        return report
    if checked.op is not None:
        found = diagnose(checked)
        text = str(found) if found else "No known mistake makes its numbers what they are." if report.wrong else ""
        return replace(report, diagnosis=text)
    parts = _of_ops(checked)
    culprit = next((each for each in parts if each.status == "wrong"), None)
    if culprit is not None:
        return replace(report, diagnosis=f"The first op in it that is wrong is\n{explained(culprit)}")
    why = "does a number leave the graph, by .value, .item() or detach()?"
    if any(each.kinks for each in parts):
        why = "but some are at a kink, and slopes of theirs that are each right need not add up to one that is."
    return replace(report, diagnosis=f"Each op in it is right by itself: {why}")


def _of_ops(checked: Subject) -> list[Report]:
    """What a check finds of each op of a graph by itself, up to the first that is wrong."""
    found = []
    for source in reversed(below(checked.build(checked.inputs)[1])):
        found.append(check(of_op(source.op, [np.copy(node.value) for node in source.inputs], source.constants)))
        if found[-1].status == "wrong":
            break
    return found


def check_row(row: Row, seconds: float = math.inf) -> Report:
    """Whether the gradients of an op are its slopes at the sample inputs of a row of the op table."""
    return explained(check(of_op(row.op, row.inputs(np.random.default_rng(0)), row.constants), seconds=seconds))


def check(checked: Subject, seed: int = 0, seconds: float = math.inf, only: Sequence[Place] | None = None) -> Report:
    """Whether a subject's gradients are its slopes.

    Of fewer elements, if all would take more than so many seconds; of some ``only``, if they are named.
    """
    name = f"{checked.name} of {checked.shapes}" if checked.inputs else checked.name
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        try:
            start = time.perf_counter()
            gos = [upstream(rng, y) for y in outputs(checked)]  # which runs it twice
            most = seconds / (CALLS * (time.perf_counter() - start) / 2)
            gradients = well_behaved(checked, gos)
        except Fault as fault:
            return Report(name, "wrong", str(fault), subject=checked)
        comparison = Comparison(checked, gos, gradients, rng, max(8, round(min(most, MOST))), only)
        return replace(comparison.report(), name=name, subject=checked)


def second_order(checked: Subject) -> Subject:
    """The gradients of a subject as functions of its inputs and upstream gradients, with gradients of their own."""
    n = len(checked.inputs)
    rng = np.random.default_rng(1)
    gos = [upstream(rng, y) for y in checked.forward(checked.inputs)]

    plain = of_graph(checked.name, checked.labels, checked.inputs, checked.build)

    def forward(xs: Arrays) -> Arrays:  # without the graph that the gradients' own gradients need
        return [g for g in plain.gradients(xs[:n], xs[n:]) if g is not None]

    def build(xs: Arrays) -> tuple[list[TensorNode], list[TensorNode]]:
        nodes, ys = checked.build(xs[:n])
        above = [TensorNode(go) for go in xs[n:]]
        found = pulled_back(nodes, ys, above, create_graph=True)
        gradients = [found.get(node, TensorNode(np.zeros_like(node.value))) for node in nodes if node.requires_grad]
        return [*nodes, *above], gradients

    labels = [*checked.labels, *(f"go{i or ''}" for i in range(len(gos)))]
    made = of_graph(f"the gradient of {checked.name}", labels, [*checked.inputs, *gos], build)
    return replace(made, forward=forward)
