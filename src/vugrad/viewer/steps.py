"""The backward pass op by op: what arrives at each, what it hands on to which input, and how that adds up."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vugrad.check.subject import element
from vugrad.graph import OpNode, TensorNode
from vugrad.graph.backward import Array, Gradients, thread
from vugrad.viewer.figures import WHOLE, rounded
from vugrad.viewer.scene import Scene

#: Of so many ops at most every sum is worked out, element by element, for inputs and outputs of so many elements.
FEW, SMALL = 200, 24


@dataclass(frozen=True)
class Handed:
    """What an op's backward hands on to one of its inputs.

    Args:
        node: the input.
        part: this op's share of its gradient.
        before: what had arrived there already; ``None`` if it is the first.
        sums: for each element, of a small op, the outputs' elements that it reaches: their names, their upstream
            gradients, and their derivatives by it.
    """

    node: TensorNode
    part: Array
    before: Array | None
    sums: list[list[tuple[str, float, float]]] = field(default_factory=list)


@dataclass(frozen=True)
class Step:
    """One op's turn in the backward pass."""

    op: OpNode
    upstream: list[Array]
    handed: list[Handed]


def backward_steps(scene: Scene) -> list[Step]:
    """The backward pass from the scene's first result, without a trace in the graph: no ``.grad`` is written.

    Empty where there is none: the result is not one number, or nothing below it has a gradient.
    """
    result = scene.results[0] if scene.results else None
    if result is None or result.value.size != 1 or not result.requires_grad or result.dtype.kind == "c":
        return []
    gradients: Gradients = {result: np.ones_like(result.value)}
    steps = []
    masked, thread.masked = thread.masked, False
    try:
        with np.errstate(all="ignore"):
            for op in reversed(scene.ops):
                upstream = op.upstream(gradients)
                if upstream is not None and any(node.requires_grad for node in op.inputs):
                    steps.append(_step(op, upstream, gradients, len(scene.ops) <= FEW))
    finally:
        thread.masked = masked
    return steps


def _step(op: OpNode, upstream: list[Array], gradients: Gradients, with_sums: bool) -> Step:
    """One op's turn; what it hands on is added to the gradients."""
    needs = [node.requires_grad for node in op.inputs]
    results = OpNode.apply_backward(op, upstream, needs, False)
    thread.masked = thread.masked or op.op.masks
    handed = []
    for i, (node, part) in enumerate(zip(op.inputs, results, strict=True)):
        if needs[i] and part is not None:
            part = np.asarray(part, node.value.dtype).reshape(node.shape)
            before = gradients.get(node)
            handed.append(Handed(node, part, before, _sums(op, i, upstream) if with_sums else []))
            gradients[node] = part if before is None else before + part
    return Step(op, upstream, handed)


def _sums(op: OpNode, i: int, upstream: list[Array]) -> list[list[tuple[str, float, float]]]:
    """For each element of an input the terms of its gradient: it is Σ go · ∂y/∂x over all outputs' elements."""
    sizes = [go.size for go in upstream]
    if not 0 < op.inputs[i].value.size <= SMALL or not 0 < sum(sizes) <= SMALL or np.iscomplexobj(op.inputs[i].value):
        return []
    names = [
        element("go" if len(upstream) == 1 else f"go{k}", at)
        for k, go in enumerate(upstream)
        for at in np.ndindex(go.shape)
    ]
    flat = np.concatenate([np.ravel(go) for go in upstream])
    columns = []
    for unit in np.eye(len(flat)):
        parts = np.split(unit, np.cumsum(sizes)[:-1])
        gos = [part.reshape(go.shape).astype(go.dtype) for part, go in zip(parts, upstream, strict=True)]
        answer = OpNode.apply_backward(op, gos, [j == i for j in range(len(op.inputs))], False)[i]
        columns.append(np.zeros(op.inputs[i].value.size) if answer is None else np.ravel(answer))
    slopes = np.array(columns)
    return [
        [(names[k], float(flat[k]), float(slopes[k, e])) for k in range(len(flat)) if slopes[k, e]]
        for e in range(slopes.shape[1])
    ]


def as_json(steps: list[Step], numbers: dict[TensorNode | OpNode, int]) -> list[dict[str, Any]]:
    """The steps for the page, nodes by their numbers."""

    def shown(x: Array | None) -> Any:
        if x is None:
            return None
        flat = np.ravel(x)
        if flat.size <= WHOLE:
            return {"shape": list(np.shape(x)), "numbers": [rounded(float(v)) for v in flat]}
        size = float(np.sqrt(np.mean(np.square(flat, dtype=float))))
        return {"shape": list(np.shape(x)), "size": rounded(size) if math.isfinite(size) else str(size)}

    return [
        {
            "op": numbers[step.op],
            "upstream": [shown(go) for go in step.upstream],
            "handed": [
                {
                    "node": numbers[h.node],
                    "part": shown(h.part),
                    "before": shown(h.before),
                    "total": shown(h.part if h.before is None else h.before + h.part),
                    "sums": [[[name, rounded(go), rounded(slope)] for name, go, slope in terms] for terms in h.sums],
                }
                for h in step.handed
            ],
        }
        for step in steps
    ]
