"""Functions that are answered as they are on nodes, and a few that record nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vugrad.compiler.trace.answers.recording import answers
from vugrad.compiler.trace.standin import ANSWERS, Traced
from vugrad.graph import TensorNode, no_grad
from vugrad.graph.nodes import NUMPY
from vugrad.ops import primitives


@answers(primitives.random_bits)
def random_bits(key: Traced, shape: Any) -> Any:
    return key.record("bits", shape=tuple(shape))


ANSWERS.update({np.shape: lambda x: x.shape, np.ndim: lambda x: x.ndim})
ANSWERS[np.size] = lambda x, axis=None: x.size if axis is None else x.shape[axis]


@answers(np.result_type)
def result_type(*xs: Any) -> Any:
    return np.result_type(*(x.dtype if isinstance(x, Traced) else x for x in xs))


def through_nodes(function: Callable[..., Any]) -> Callable[..., Any]:
    """The answer that nodes give, which is written with functions that are recorded."""

    def wrapped(x: Any) -> Any:
        if isinstance(x, list | tuple):
            return type(x)(wrapped(part) for part in x)
        return TensorNode(x, requires_grad=False) if isinstance(x, Traced) else x

    def bare(x: Any) -> Any:
        if isinstance(x, list | tuple):
            return type(x)(bare(part) for part in x)
        return x.value if isinstance(x, TensorNode) else x

    def answer(*args: Any, **options: Any) -> Any:
        with no_grad():
            return bare(NUMPY[function](*map(wrapped, args), **options))

    return answer


THROUGH_NODES = (
    *(np.ravel, np.swapaxes, np.moveaxis, np.vstack, np.hstack, np.split),
    *(np.tile, np.std, np.prod, np.cumsum, np.dot, np.inner, np.outer, np.tensordot, np.trace, np.linalg.norm),
    *(np.exp2, np.var, np.clip),
)
ANSWERS.update({function: through_nodes(function) for function in THROUGH_NODES})
