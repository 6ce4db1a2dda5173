"""What a notebook shows of nodes, ops and modules."""

from __future__ import annotations

import contextlib
from html import escape

import numpy as np

from vugrad.graph import OpNode, TensorNode
from vugrad.nn import Module
from vugrad.nn.summary import rows
from vugrad.viewer import drawings
from vugrad.viewer.scene import scene

#: Sides of images that are tried for a network that begins with a convolution.
SIDES = (28, 32, 8, 64, 224)


def of_node(node: TensorNode) -> str:
    """What a node is, and the ops that it came from, as far as two steps back."""
    lines = repr(node).partition("\n")
    known = getattr(node._grad, "shape", None) is not None
    held = f"<p>gradient</p><pre>{escape(_short(node._grad))}</pre>" if known else ""
    return f"<p><b>{escape(lines[0])}</b></p><pre>{escape(_short(node.value))}</pre>{held}{_near([node])}"


def of_op(op: OpNode) -> str:
    """What an op is, with its inputs and outputs."""
    if op.cleared:
        return f"<p><b>{escape(repr(op))}</b>, cleared</p>"
    says = (op.op.__doc__ or "").strip().partition("\n")[0]
    return f"<p><b>{escape(repr(op))}</b></p><p>{escape(says)}</p>{_near(op.outputs)}"


def of_module(module: Module) -> str:
    """A table of its layers with their output shapes and parameters."""
    shape, found = None, None
    for shape in _shapes(module):
        with contextlib.suppress(Exception):  # it takes other inputs
            found = rows(module, shape)
            break
    if found is None:
        shape, found = None, rows(module, None)
    heading = "".join(f"<th style='text-align:left'>{text}</th>" for text in ("layer", "output", "parameters"))
    lines = "".join(
        f"<tr><td style='text-align:left;padding-left:{depth + 0.5}em'>{escape(label)}</td>"
        f"<td style='text-align:left'>{escape(output)}</td><td style='text-align:right'>{count:,}</td></tr>"
        for depth, label, output, count in found
    )
    given = "" if shape is None else f"<caption style='white-space:nowrap'>for inputs of shape {shape}</caption>"
    return f"<table>{given}<tr>{heading}</tr>{lines}</table>"


def _shapes(module: Module) -> list[tuple[int, ...]]:
    """Shapes of instances that a network may take, from the first of its weights."""
    for _, part in module.named_modules():
        weight = vars(part).get("weight")
        if isinstance(weight, TensorNode) and weight.value.ndim == 2:
            features = weight.shape[1]
            return [(features,), *((1, side, side) for side in SIDES if side * side == features)]
        if isinstance(weight, TensorNode) and weight.value.ndim == 4:
            channels = weight.shape[1] * getattr(part, "groups", 1)
            return [(channels, side, side) for side in SIDES]
    return []


def _near(nodes: list[TensorNode]) -> str:
    """The ops that some nodes came from, and those before them."""
    ops = {node.source for node in nodes if node.source is not None}
    ops |= {node.source for op in ops for node in op.inputs if node.source is not None}
    if not ops or any(op.cleared for op in ops):
        return ""
    drawn = drawings.svg(scene(nodes, ops=sorted(ops, key=lambda op: op.age)))
    return f'<div style="overflow-x:auto">{drawn}</div>'


def _short(value: object) -> str:
    with np.printoptions(precision=4, threshold=40, edgeitems=3):
        return str(getattr(value, "value", value))
