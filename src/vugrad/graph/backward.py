"""The walk: gradients flow from the roots down the graph, one op at a time, newest first.

An op can only use nodes that exist, so the order in which ops were made is a topological order, and its
reverse visits every op after all of its consumers. The walk needs no recursion and no counters on nodes;
gradients live in a dict of its own until the caller writes them anywhere.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from vugrad.graph.nodes import OpNode, TensorNode

Array = Any
Gradients = dict["TensorNode", Array]


def below(nodes: Iterable[TensorNode], follow: Callable[[TensorNode], bool] | None = None) -> list[OpNode]:
    """Every op under ``nodes``, newest first, reached through the nodes that ``follow`` accepts (all of them)."""
    found: set[OpNode] = set()
    pending = list(nodes)
    while pending:
        node = pending.pop()
        source = node.source
        if source is None or source in found or (follow is not None and not follow(node)):
            continue
        found.add(source)
        pending.extend(source.inputs)
    return sorted(found, key=operator.attrgetter("age"), reverse=True)


def leading_to(targets: Iterable[TensorNode], ops: Iterable[OpNode]) -> set[TensorNode]:
    """The nodes from which some target can be reached: ``targets`` and all that was computed from them."""
    leading = set(targets)
    for source in reversed(list(ops)):
        if any(node in leading for node in source.inputs):
            leading.update(source.outputs)
    return leading


def walk(roots: Gradients, wanted: Iterable[TensorNode] | None = None, *, create_graph: bool = False) -> Gradients:
    """The gradient of every node under ``roots``, given the roots' own gradients.

    With ``wanted``, the walk follows only the paths to these nodes, and ends at them; if none of them has
    ``requires_grad`` (integers), it also passes through nodes without ``requires_grad``. With ``create_graph``, forward
    and backward of each op run on nodes, so that the gradients are themselves differentiable: the forward runs again to
    give the backward a context that is part of the graph.
    """
    if wanted is None:
        ops = below(roots, follow=lambda node: node.requires_grad)
        needed = [[node.requires_grad for node in source.inputs] for source in ops]
    else:
        targets = set(wanted)
        passes = _requires_grad if any(node.requires_grad for node in targets) else _passes_integers
        ops = below(roots, follow=lambda node: node not in targets and passes(node))
        leading = leading_to(targets, ops)
        needed = [[node in leading for node in source.inputs] for source in ops]
    if create_graph and thread.kind is None:
        raise RuntimeError("inside vg.no_grad() the backward pass cannot build a graph: call it outside")
    gradients = dict(roots)
    masked, thread.masked = thread.masked, False
    # An op's derivative may be infinite where nothing flows (a log under np.where); that is no news to report.
    try:
        with np.errstate(all="ignore"):
            for source, needs in zip(ops, needed, strict=True):
                if source.cleared:
                    raise RuntimeError(
                        f"the graph below this node was cleared: {source.op.__name__} no longer has its inputs. "
                        "Run the forward again before backward(), or call clear() only after it."
                    )
                upstream = source.upstream(gradients)
                if upstream is None or True not in needs:
                    continue
                results = source.apply_backward(upstream, needs, create_graph)
                if source.op.masks:
                    thread.masked = True
                for i, node in enumerate(source.inputs):
                    gradient = results[i]
                    if needs[i] and gradient is not None:
                        value = node.value
                        if getattr(gradient, "dtype", None) is not value.dtype or gradient.shape != value.shape:
                            gradient = conform(gradient, node, source)
                        held = gradients.get(node)
                        if held is not None:
                            # Never added in place: the op may have handed out an array that something else holds.
                            gradient = held + gradient
                        elif node.source is None and not create_graph and is_kept(gradient, source, results):
                            gradient = gradient.copy()
                        gradients[node] = gradient
    finally:
        thread.masked = masked
    return gradients


class Thread(threading.local):
    """What each thread has of its own."""

    #: What an op that is applied is recorded as; ``None`` where no graph is built. ``nodes.py`` says OpNode.
    kind: type[OpNode] | None = None
    #: Whether the walk that it is on has passed an ``np.where``.
    masked = False

    def __init__(self) -> None:
        self.kinds_before: list[type[OpNode] | None] = []


thread = Thread()


def below_where() -> bool:
    """Whether the walk has passed an ``np.where``, so that a zero may mean "nothing flows here"."""
    return thread.masked


def is_kept(gradient: Array, source: OpNode, results: tuple[Array, ...]) -> bool:
    """Whether a backward handed out an array that its op keeps too, or has handed out twice, whole or as a view."""
    kept = [*source.context.values(), *(node.value for node in source.inputs)]
    twice = [result for result in results if result is gradient or getattr(result, "base", None) is gradient]
    return len(twice) > 1 or any(array is gradient for array in kept)


def conform(gradient: Array, node: TensorNode, source: OpNode) -> Array:
    """``gradient`` as an array of the node's shape and dtype; a wrong shape is an error that names the op."""
    if not hasattr(gradient, "dtype"):
        gradient = np.asarray(gradient)
    value = node.value
    position = next(i for i, other in enumerate(source.inputs) if other is node)
    if gradient.shape != value.shape:
        raise ValueError(
            f"{source.op.__name__}.backward returned a gradient of shape {gradient.shape} for input {position} of "
            f"shape {value.shape}. A gradient has its input's shape: sum over the axes along which the input was "
            "repeated (vg.ops.sum_to does it)"
        )
    if gradient.dtype.kind == "c":
        raise TypeError(
            f"{source.op.__name__}.backward returned complex numbers for input {position} of {value.dtype}: return "
            "real numbers"
        )
    if node.requires_grad and value.dtype.kind != "f":
        raise TypeError(
            f"{node.name or f'input {position}'} of {source.op.__name__} holds {value.dtype}, which cannot hold a "
            "gradient: give it floating-point numbers (node.value = values.astype(float)) or requires_grad=False"
        )
    return gradient.astype(gradient_dtype(value), copy=False)


def gradient_dtype(value: Array) -> Any:
    """The dtype of a value's gradient: the value's own, or float64 for integers."""
    return value.dtype if value.dtype.kind in "fc" else np.dtype(np.float64)


def integer_leaves(roots: Iterable[TensorNode]) -> list[TensorNode]:
    """The integer leaves of a graph whose leaves are integers and scalars alone, such as ``x * 0.5``; else none.

    Gradients flow to these leaves, since no other node of such a graph can have one.
    """
    roots = list(roots)
    leaves = [x for x in roots if x.source is None]
    for source in below(roots, follow=_passes_integers):
        leaves += [x for x in source.inputs if x.source is None]
    found = [x for x in dict.fromkeys(leaves) if x.value.dtype.kind in "iu"]
    return found if all(x.value.dtype.kind in "iu" or x.value.ndim == 0 for x in leaves) else []


def _requires_grad(node: TensorNode) -> bool:
    return node.requires_grad


def _passes_integers(node: TensorNode) -> bool:
    """Whether gradients flow below a node of an integer graph: not through a cast from floats to integers."""
    made = node.value.dtype.kind
    return made == "f" or node.source is None or all(x.value.dtype.kind in "iu" for x in node.source.inputs)
