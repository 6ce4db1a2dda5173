"""Parameters as optimizers and clipping take them: checked, and with their gradients as arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vugrad.graph import TensorNode

Array = Any


def checked_parameters(params: Any) -> list[TensorNode]:
    """``params`` as a list, if they are different floating-point TensorNodes and at least one."""
    if isinstance(params, TensorNode) or not isinstance(params, Iterable):
        raise _no_parameter("params", params)
    nodes = list(params)
    if not nodes:
        raise ValueError(
            "there are no parameters to train: the list is empty. A model finds the parameters in its attributes, "
            "lists and dicts; a generator that was looped over before is used up"
        )
    places: dict[TensorNode, str] = {}
    for i, node in enumerate(nodes):
        place = f"params[{i}]"
        if not isinstance(node, TensorNode):
            raise _no_parameter(place, node)
        label = f"{place} ({node.name})" if node.name else place
        if node.value.dtype.kind != "f":
            raise TypeError(
                f"{label} holds {node.value.dtype}, and only floating point can be trained: make it from "
                "value.astype(np.float32)"
            )
        if node in places:
            raise ValueError(f"{label} is {places[node]} again: each parameter must be there once")
        places[node] = place
    return nodes


def gradient(p: TensorNode) -> Array:
    """The parameter's gradient as an array; after ``backward(create_graph=True)`` it is a node's value."""
    return p.grad.value if isinstance(p.grad, TensorNode) else p.grad


def _no_parameter(place: str, got: Any) -> TypeError:
    if isinstance(got, TensorNode):
        hint = "put it in a list"
    elif hasattr(got, "parameters"):
        hint = "pass its parameters, model.parameters()"
    else:
        hint = "pass a list of TensorNodes, such as model.parameters()"
    return TypeError(f"{place} is a {type(got).__name__}: {hint}")
