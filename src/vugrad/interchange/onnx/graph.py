"""The ONNX graph in the making: nodes and initializers by name, each of them once, and only what is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vugrad.compiler.arrays.program import DTYPES, SHORT
from vugrad.interchange.onnx.steps import Affine, Dim, Dims, fixed

Array = Any
DType = np.dtype[Any]

#: The dtypes for which onnxruntime has a kernel, of operators where ONNX allows more of ours than it has.
KERNELS: dict[str, str] = {
    "Pow": "i32 i64 f32 f64",
    **dict.fromkeys(("Max", "Min"), "i8 i32 i64 u8 u32 u64 f32 f64"),
    **dict.fromkeys(("ReduceSum", "Einsum"), "i32 i64 f32 f64"),
    # It has none for u64 here, and no other dtype holds all of its numbers.
    **dict.fromkeys(("ReduceMax", "ReduceMin"), "bool i8 i32 i64 u8 u64 f32 f64"),
    **dict.fromkeys(("ArgMax", "ArgMin"), "i8 i32 i64 u8 u64 f32 f64"),
    "MatMul": "i32 i64 u32 u64 f32 f64",
    "Where": "i8 i32 i64 u8 u32 f32 f64",
    **dict.fromkeys(("Less", "LessOrEqual", "Greater", "GreaterOrEqual"), "i8 i16 i32 i64 u8 u16 u32 u64 f32 f64"),
}
#: In which dtypes numbers of another are computed, if need be: in those that hold them all, or the same bits.
WIDER = {
    **dict.fromkeys(("bool", "i8", "i16", "u8", "u16"), ("i32", "i64")),
    **dict.fromkeys(("i32", "u32", "u64"), ("i64",)),
}


@dataclass
class Node:
    """An application of an operator; the attributes are numbers, texts and lists of numbers."""

    op: str
    inputs: list[str]
    output: str
    attributes: dict[str, Any]
    name: str


class Graph:
    """Nodes and initializers.

    Args:
        batched: the name of an input, whose first extent is the batch.
        taken: names that stand for something already.
    """

    def __init__(self, batched: str, taken: Sequence[str]) -> None:
        self.nodes: dict[str, Node] = {}
        self.values: dict[str, Array] = {}
        self.path = ""
        self.batched = batched
        self._taken = set(taken)
        self._alike: dict[Any, str] = {}
        self._reshaped: dict[str, tuple[str, Dims]] = {}

    def unique(self, name: str) -> str:
        """The name, with a count behind it if it is taken."""
        found, n = name, 0
        while found in self._taken:
            n += 1
            found = f"{name}_{n}"
        self._taken.add(found)
        return found

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """The output of a node: of one that is there already, or of a new one in the module at hand."""
        key = (op, inputs, repr(attributes))
        if key not in self._alike:
            name = self._alike[key] = self.unique(f"{self.path}/{op}" if self.path else op)
            self.nodes[name] = Node(op, list(inputs), name, attributes, name)
        return self._alike[key]

    def initializer(self, name: str, value: Array) -> str:
        """An array under a name that is its own."""
        name = self.unique(name)
        self.values[name] = value
        return name

    def constant(self, value: Array, hint: str = "constant") -> str:
        """An array under a name made for it; equal ones are one."""
        value = np.asarray(value)
        key = (value.shape, value.dtype, value.tobytes())
        if key not in self._alike:
            self._alike[key] = self.initializer(str(value) if value.ndim == 0 else hint, value)
        return self._alike[key]

    def computed(self, op: str, xs: Sequence[str], dtype: DType, *others: str, same: bool = True, **more: Any) -> str:
        """An operator on operands of a dtype, by way of another where onnxruntime lacks it.

        ``others`` are operands of their own dtypes; ``same`` is whether the result has the operands' dtype.
        """
        kernels, short = KERNELS.get(op), SHORT[dtype]
        way = short
        if kernels is not None and short not in kernels.split():
            way = next((wide for wide in WIDER.get(short, ()) if wide in kernels.split()), short)
        before = others if op == "Where" else ()
        after = () if op == "Where" else others
        y = self.node(op, *before, *(self.cast(x, dtype, DTYPES[way]) for x in xs), *after, **more)
        return self.cast(y, DTYPES[way], dtype) if same else y

    def cast(self, x: str, before: DType, dtype: DType) -> str:
        """The same numbers in another dtype."""
        return x if before == dtype else self.node("Cast", x, to=dtype)

    # --- extents

    def vector(self, dims: Sequence[Dim], hint: str = "shape") -> str:
        """Whole numbers as an array, computed in the graph if they depend on the batch."""
        if fixed(tuple(dims)):
            return self.constant(np.array(dims, np.int64), hint)
        parts: list[str] = []
        run: list[Dim] = []
        for dim in (*dims, None):
            if isinstance(dim, int):
                run.append(dim)
                continue
            if run:
                parts.append(self.constant(np.array(run, np.int64), hint))
                run = []
            if dim is not None:
                parts.append(self._extent(dim))
        return parts[0] if len(parts) == 1 else self.node("Concat", *parts, axis=0)

    def _extent(self, dim: Affine) -> str:
        x = self.node("Shape", self.batched, start=0, end=1)
        if dim.per != 1:
            x = self.node("Mul", x, self.constant(np.array([dim.per]), "factor"))
        return self.node("Add", x, self.constant(np.array([dim.plus]), "term")) if dim.plus else x

    def scalar(self, dim: Dim) -> str:
        """A whole number as an array without axes."""
        if isinstance(dim, int):
            return self.constant(np.array(dim, np.int64))
        return self.node("Squeeze", self._extent(dim))

    # --- movement, as little of it as can be

    def reshape(self, x: str, before: Dims, shape: Dims) -> str:
        """The same numbers in another shape; of a reshape, that of its source."""
        x, before = self._reshaped.get(x, (x, before))
        if before == shape:
            return x
        if x in self.values and fixed(shape):
            y = self._folded(x, self.values[x].reshape(shape), "Reshape")
            self._reshaped[y] = x, before
            return y
        open_ = [i for i, n in enumerate(shape) if isinstance(n, Affine)]
        if before and len(shape) == 2 and before[0] == shape[0] and len(before) > 1 and 0 not in shape:
            y = self.node("Flatten", x, axis=1)
        elif len(open_) == 1 and 0 not in shape:
            y = self.node("Reshape", x, self.vector([-1 if i == open_[0] else n for i, n in enumerate(shape)]))
        else:
            y = self.node("Reshape", x, self.vector(shape), allowzero=1)
        self._reshaped[y] = x, before
        return y

    def transpose(self, x: str, axes: Sequence[int]) -> str:
        """The same numbers with their axes in another order; of a transposition, that of its source."""
        above = self.nodes.get(x)
        if above is not None and above.op == "Transpose":
            x, axes = above.inputs[0], [above.attributes["perm"][a] for a in axes]
        if list(axes) == list(range(len(axes))):
            return x
        if x in self.values:
            return self._folded(x, self.values[x].transpose(axes), "Transpose")
        return self.node("Transpose", x, perm=list(axes))

    def _folded(self, x: str, value: Array, op: str) -> str:
        key = (x, op, value.shape, value.strides)
        if key not in self._alike:
            self._alike[key] = self.initializer(f"{x}/{op}", value)
        return self._alike[key]

    # --- the whole

    def finish(self, outputs: dict[str, str]) -> None:
        """Give the results the outputs' names, and drop what no output needs."""
        renamed: dict[str, str] = {}
        again: dict[str, str] = {}  # what is an input, an initializer, or an output under another name too
        for name, result in outputs.items():
            if result in self.nodes and result not in renamed:
                renamed[result] = name
            else:
                again[name] = result
        self.nodes = {renamed.get(result, result): node for result, node in self.nodes.items()}
        for result, node in self.nodes.items():
            node.output, node.inputs = result, [renamed.get(x, x) for x in node.inputs]
        for name, result in again.items():
            self.nodes[name] = Node("Identity", [renamed.get(result, result)], name, {}, self.unique("Identity"))
        self._drop(set(outputs))

    def _drop(self, needed: set[str]) -> None:
        waiting = list(needed)
        while waiting:
            node = self.nodes.get(waiting.pop())
            new = set(node.inputs) - needed if node else set()
            needed |= new
            waiting += new
        self.nodes = {name: node for name, node in self.nodes.items() if name in needed}
        self.values = {name: value for name, value in self.values.items() if name in needed}
