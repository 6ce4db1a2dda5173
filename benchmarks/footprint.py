"""How much memory a training step takes at its peak, beside what it cannot do without."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import vugrad as vg

Array = Any


def footprint(model: vg.Module, x: Array, labels: Array) -> float:
    """Peak memory of an eager step divided by that of parameters, activations and gradients; the data is neither's."""
    optimizer = vg.optim.SGD(model.parameters(), lr=0.01)

    def step() -> vg.TensorNode:
        optimizer.zero_grad()
        loss: vg.TensorNode = vg.losses.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    parameters = sum(p.value.nbytes for p in model.parameters())
    needed = parameters + held_by_graph(step(), model.parameters(), x)
    optimizer.zero_grad()
    gc.collect()
    tracemalloc.start()  # NumPy reports its arrays to it
    step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return (parameters + peak) / needed


def held_by_graph(loss: vg.TensorNode, parameters: list[vg.TensorNode], x: Array) -> int:
    """Bytes of the graph's values and gradients after a step, each array once, without parameters and data."""
    nodes, pending = set(), [loss]
    while pending:
        node = pending.pop()
        if node not in nodes:
            nodes.add(node)
            pending.extend(node.source.inputs if node.source else ())
    given = {id(owner(array)) for array in [x, *(p.value for p in parameters)]}
    values = [owner(node.value) for node in nodes if node.requires_grad]
    # Not node.grad: reading it makes a copy of a gradient that two nodes share.
    gradients = [owner(node._grad) for node in nodes if node._grad is not None]
    return sum({id(array): array.nbytes for array in values + gradients if id(array) not in given}.values())


def owner(array: Array) -> Array:
    """The array whose memory another one shows a part or another shape of."""
    while array.base is not None:
        array = array.base
    return array
