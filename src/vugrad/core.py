"""The course library's module path for the graph: ``from vugrad.core import Op, TensorNode``."""

from vugrad.graph import Op, OpNode, TensorNode
from vugrad.nn import Module
from vugrad.ops import Add, MatrixMultiply, Multiply, Sub

__all__ = ["Add", "MatrixMultiply", "Module", "Multiply", "Op", "OpNode", "Sub", "TensorNode"]
