"""Functions to functions: ``grad``, ``value_and_grad``, ``jacobian``, ``hessian``, ``jvp``.

They leave every ``.grad`` alone. Give them arrays and they answer in arrays; give them nodes and they answer
in nodes, so that they nest: ``vg.grad(vg.grad(f))`` is the second derivative.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vugrad.graph.backward import Array, below, leading_to, walk
from vugrad.graph.nodes import TensorNode
from vugrad.graph.op import grad_enabled

Function = Callable[..., Any]


def grad(f: Function, argnums: int | tuple[int, ...] = 0) -> Function:
    """The gradient of a function with one number as its value.

    Args:
        f: takes nodes, returns a node with one element.
        argnums: which argument to differentiate; a tuple gives a tuple of gradients.

    >>> import numpy as np, vugrad as vg
    >>> vg.grad(lambda x: (x**3).sum())(np.array([1.0, 2.0]))
    array([ 3., 12.])
    >>> f = lambda x: x**4
    >>> float(vg.grad(vg.grad(f))(2.0))
    48.0
    """
    _check_function("grad", f, argnums)
    both = value_and_grad(f, argnums)

    @functools.wraps(f)
    def gradient(*args: Any, **keywords: Any) -> Any:
        return both(*args, **keywords)[1]

    return gradient


def value_and_grad(f: Function, argnums: int | tuple[int, ...] = 0) -> Function:
    """A function that gives ``(f(x), gradient)``, both from one forward pass.

    >>> import numpy as np, vugrad as vg
    >>> value, gradient = vg.value_and_grad(lambda x, y: (x * y).sum(), argnums=(0, 1))(np.ones(2), np.arange(2.0))
    >>> print(value, *gradient)
    1.0 [0. 1.] [1. 1.]
    """
    _check_function("value_and_grad", f, argnums)

    @functools.wraps(f)
    def both(*args: Any, **keywords: Any) -> Any:
        y, xs, nested = _evaluate(f, args, keywords, argnums)
        if y.value.size != 1:
            raise ValueError(
                f"the function returned shape {y.shape} and not one number: return its sum, or use vg.jacobian"
            )
        gradients = tuple(_pull_back(y, xs, np.ones_like(y.value), nested))
        return _answer(y, nested), gradients[0] if isinstance(argnums, int) else gradients

    return both


def jacobian(f: Function, argnums: int = 0) -> Function:
    """All first derivatives of a function: an array of shape ``f(x).shape + x.shape``.

    One backward pass for each element of the value (reverse mode).

    >>> import numpy as np, vugrad as vg
    >>> vg.jacobian(lambda x: x * x)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """
    _check_function("jacobian", f, argnums)

    @functools.wraps(f)
    def derivatives(*args: Any, **keywords: Any) -> Any:
        y, xs, nested = _evaluate(f, args, keywords, argnums)
        units = np.eye(y.value.size, dtype=y.dtype).reshape(y.value.size, *y.shape)
        rows = [_pull_back(y, xs, unit, nested)[0] for unit in units]
        shape = y.shape + xs[0].shape
        return np.stack(rows).reshape(shape) if rows else np.zeros(shape, y.dtype)

    return derivatives


def hessian(f: Function, argnums: int = 0) -> Function:
    """All second derivatives of a function with one number as its value: shape ``x.shape + x.shape``.

    >>> import numpy as np, vugrad as vg
    >>> vg.hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 3.0]))
    array([[6., 2.],
           [2., 0.]])
    """
    return jacobian(grad(f, argnums), argnums)


def jvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """The value of ``f`` at ``primals`` and its derivative in the direction ``tangents``.

    The backward pass is linear in the upstream gradient, so its own derivative with respect to that gradient,
    along the tangents, is the forward-mode product.

    >>> import numpy as np, vugrad as vg
    >>> y, dy = vg.jvp(lambda x: np.sin(x), (np.zeros(2),), (np.array([1.0, 2.0]),))
    >>> print(y, dy)
    [0. 0.] [1. 2.]
    """
    if not (isinstance(primals, tuple | list) and isinstance(tangents, tuple | list)):
        raise TypeError("vg.jvp takes a tuple of arguments and one of tangents: write vg.jvp(f, (x,), (direction,))")
    if len(primals) != len(tangents):
        raise ValueError(f"vg.jvp needs a tangent for each primal, got {len(tangents)} for {len(primals)}")
    for primal, tangent in zip(primals, tangents, strict=True):
        if np.shape(primal) != np.shape(tangent):
            raise ValueError(f"a tangent has its primal's shape, got {np.shape(tangent)} for {np.shape(primal)}")
    y, xs, nested = _evaluate(f, tuple(primals), {}, tuple(range(len(primals))))
    nested = nested or any(isinstance(tangent, TensorNode) for tangent in tangents)
    upstream = TensorNode(np.ones_like(y.value))
    gradients = _pull_back(y, xs, upstream, create_graph=True)
    total = sum(np.sum(gradient * tangent) for gradient, tangent in zip(gradients, tangents, strict=True))
    return _answer(y, nested), _pull_back(total, [upstream], np.ones_like(total.value), nested)[0]


def _check_function(name: str, f: Any, argnums: Any) -> None:
    """Raise ``TypeError`` unless ``f`` is callable and ``argnums`` is an int or a tuple of ints."""
    if not callable(f):
        raise TypeError(f"vg.{name} takes a function and returns a function: write vg.{name}(f)(x), got {f!r}")
    if not all(isinstance(i, int) for i in (argnums if isinstance(argnums, tuple) else (argnums,))):
        raise TypeError(
            f"vg.{name}: argnums is the position of the argument to differentiate, such as 0 or (0, 1), got "
            f"{type(argnums).__name__}: pass the arguments of f in the second call, as in vg.{name}(f)(x)"
        )


def _evaluate(
    f: Function, args: tuple[Any, ...], keywords: dict[str, Any], argnums: int | tuple[int, ...]
) -> tuple[TensorNode, list[TensorNode], bool]:
    """Run ``f`` with fresh nodes for the differentiated arguments; nested if a caller differentiates through us.

    It does if it gave us a node, or if ``f`` takes from around it a variable that an outer transform differentiates.
    """
    if not grad_enabled():
        raise RuntimeError("inside vg.no_grad() no graph is built, so nothing can be differentiated: leave it first")
    arguments = list(args)
    positions = (argnums,) if isinstance(argnums, int) else argnums
    for i in positions:
        if not -len(args) <= i < len(args):
            raise IndexError(
                f"argnums is {i}, and the function was called with {len(args)} positional arguments: pass the argument "
                "to differentiate by position; argnums counts from 0"
            )
        # np.positive makes a node of its own: what f holds of the outer one by other ways is not differentiated.
        arguments[i] = np.positive(args[i]) if isinstance(args[i], TensorNode) else TensorNode(args[i])
        if not arguments[i].requires_grad:
            raise TypeError(
                f"argument {i} is of dtype {arguments[i].dtype}, which has no gradient: pass floating-point numbers"
            )
    xs, outer = [arguments[i] for i in positions], _thread.variables
    _thread.variables = (*outer, *xs)
    try:
        y = f(*arguments, **keywords)
    finally:
        _thread.variables = outer
    if not isinstance(y, TensorNode):
        raise TypeError(
            f"f returned {type(y).__name__}, not a node: compute its value with operators, NumPy functions or vg's own "
            "on the arguments, without .value"
        )
    nested = any(isinstance(x, TensorNode) for x in (*args, *keywords.values()))
    return y, xs, nested or (bool(outer) and y in leading_to(outer, below([y])))


class _Thread(threading.local):
    variables: tuple[TensorNode, ...] = ()


_thread = _Thread()


def _pull_back(y: TensorNode, xs: list[TensorNode], upstream: Array, create_graph: bool) -> list[Array]:
    """The vector–Jacobian products of one output with respect to ``xs``."""
    if create_graph and not isinstance(upstream, TensorNode):
        upstream = TensorNode(upstream, requires_grad=False)
    gradients = walk({y: upstream}, wanted=xs, create_graph=create_graph)
    zeros = TensorNode if create_graph else np.asarray
    return [gradients[x] if x in gradients else zeros(np.zeros_like(x.value)) for x in xs]


def _answer(node: TensorNode, nested: bool) -> Any:
    return node if nested else node.value
