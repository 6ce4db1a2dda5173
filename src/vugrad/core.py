"""The course library's module path for the graph: ``from vugrad.core import Op, TensorNode``."""

from vugrad.graph import Op, OpNode, TensorNode

__all__ = ["Op", "OpNode", "TensorNode"]
