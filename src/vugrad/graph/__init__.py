"""Floor 0: the graph. TensorNodes hold arrays, OpNodes hold the ops between them; it depends on NumPy alone."""

from vugrad.graph.arrays import as_array, is_array
from vugrad.graph.nodes import OpNode, TensorNode
from vugrad.graph.op import Op, no_grad
from vugrad.graph.transforms import grad, hessian, jacobian, jvp, value_and_grad

__all__ = [
    "Op",
    "OpNode",
    "TensorNode",
    "as_array",
    "grad",
    "hessian",
    "is_array",
    "jacobian",
    "jvp",
    "no_grad",
    "value_and_grad",
]


def __dir__() -> list[str]:
    return __all__
