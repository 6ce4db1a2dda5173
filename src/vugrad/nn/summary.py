"""What a network is made of: its layers with their output shapes and parameter counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from vugrad.graph import TensorNode, no_grad
from vugrad.nn.calls import Forward, in_eval_mode
from vugrad.nn.module import Module


def summary(model: Module, example: Any) -> str:
    """The table that :meth:`Module.summary` gives.

    >>> import vugrad as vg
    >>> print(vg.nn.MLP([4, 3, 2]).summary((4,)))
    layer         output   parameters
    MLP           (N, 2)             23
      0  Linear   (N, 3)             15
      1  ReLU     (N, 3)              0
      2  Linear   (N, 2)              8
    23 parameters, 92 bytes
    """
    lines = [("layer", "output", "parameters")]
    for depth, label, output, count in rows(model, example):
        lines.append(("  " * depth + label, output, f"{count:,}"))
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    texts = [f"{line[0]:<{widths[0]}}   {line[1]:<{widths[1]}}   {line[2]:>{widths[2]}}" for line in lines]
    size = sum(parameter.value.nbytes for parameter in model.parameters())
    return "\n".join([*texts, f"{_count(model):,} parameters, {size:,} bytes"])


def rows(model: Module, example: Any) -> list[tuple[int, str, str, int]]:
    """Of each module its depth, its name and class, its output's shape ("-" without an example), and its parameters."""
    batch = example
    if example is not None and not isinstance(example, np.ndarray | TensorNode):
        batch = np.zeros((1, *(example if isinstance(example, Sequence) else (example,))), np.float32)
    shapes = {} if batch is None else _output_shapes(model, batch)
    found = []
    for depth, name, module in model.outline():
        shape = shapes.get(id(module))
        output = "-" if shape is None else str(("N", *shape[1:])).replace("'", "")
        found.append((depth, (f"{name}  " if name else "") + type(module).__name__, output, _count(module)))
    return found


def multiplications(model: Module, example: Any) -> int:
    """How many numbers linear and convolutional layers multiply by a weight for one instance, on the way forward.

    >>> import vugrad as vg
    >>> multiplications(vg.nn.MLP([4, 3, 2]), (4,))
    18
    """
    batch = example if isinstance(example, np.ndarray | TensorNode) else np.zeros((1, *example), np.float32)
    shapes = _output_shapes(model, batch)
    total = 0
    for _, module in model.named_modules():
        weight = vars(module).get("weight")
        if isinstance(weight, TensorNode) and weight.value.ndim > 1:
            total += weight.value.size * math.prod(shapes[id(module)][2:])
    return total


def _count(module: Module) -> int:
    return sum(parameter.value.size for parameter in module.parameters())


def _output_shapes(model: Module, batch: Any) -> dict[int, tuple[int, ...]]:
    """The shape of what each module last returned when the model ran on the batch, by the module's id."""
    shapes: dict[int, tuple[int, ...]] = {}

    def recorded(path: str, module: Module, forward: Forward) -> Forward:
        def record(*args: Any, **keywords: Any) -> Any:
            result = forward(*args, **keywords)
            shapes[id(module)] = np.shape(result)
            return result

        return record

    with in_eval_mode(model, recorded), no_grad():
        model(batch)
    return shapes
