"""TensorNode and OpNode, the two kinds of node of the computation graph."""

from __future__ import annotations

import copy
import itertools
import operator
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vugrad.graph.advice import no_method, not_numbers, numpy_name, unsupported
from vugrad.graph.arrays import NO_NUMBERS, as_array, no_complex
from vugrad.graph.backward import Array, Gradients, Thread, below, gradient_dtype, integer_leaves, thread, walk
from vugrad.graph.operators import NumPyOperators

if TYPE_CHECKING:
    from vugrad.graph.op import Op

#: NumPy's functions on nodes: which of ours answers for which of NumPy's. ``ops/dispatch.py`` fills it.
NUMPY: dict[Callable[..., Any], Callable[..., Any]] = {}

#: Of a node; in C, since for every op they run once an input.
value_of = operator.attrgetter("value")
requiring_grad = operator.attrgetter("requires_grad")

_ages = itertools.count()


class KeptGradient:
    """A placeholder for a gradient that stayed in a compiled function; reading it raises ``message``."""

    shape = None

    def __init__(self, message: str) -> None:
        self.message = message


class TensorNode(NumPyOperators):
    """An array in the graph: its value, the op it came from, and its gradient once ``backward`` has run.

    Args:
        value: the array itself (not a copy). What another library's array shares by ``__array__`` or DLPack, as a
            PyTorch tensor on the CPU does, is shared too; a number or a nested list becomes an array.
        source: the :class:`OpNode` that produced it; ``None`` for a leaf.
        name: for error messages and pictures.
        requires_grad: whether gradients flow to it. It is always ``False`` for integers; in a graph of integers alone,
            ``backward`` still gives them gradients.

    NumPy works on nodes and is differentiable: ``np.exp(x)``, ``2 * x``, ``x @ w``, ``x[1:, ::2]``,
    ``x.sum(axis=0)``. Nodes are hashed by identity; comparisons give plain boolean arrays. A node accepts attributes of
    your own, as in ``p.velocity = 0``. Raises ``TypeError`` for complex numbers, except in a constant
    (``requires_grad=False``), and for masked arrays and ``np.matrix``, whose rules of arithmetic would be lost.

    Outside ``vg.no_grad()``, ``float(x)``, ``np.asarray(x)`` and everything that calls them (``math.exp(x)``,
    ``a[0] = x``) raises ``TypeError`` for a node with ``requires_grad``, since the gradient would be lost. Write
    ``x.item()`` or ``x.value`` if you want only the numbers. ``float(loss)`` works after ``loss.backward()``.

    >>> import numpy as np, vugrad as vg
    >>> a = vg.TensorNode(np.array([[1.0, 2.0], [3.0, 4.0]]), name="a")
    >>> c = (a * a).sum()
    >>> c.value
    array(30.)
    >>> c.backward()
    >>> a.grad
    array([[2., 4.],
           [6., 8.]])
    """

    #: The method by which notebooks show a node; ``vugrad`` sets it to the viewer's.
    _repr_html_: ClassVar[Any] = None

    __slots__ = ("__dict__", "__weakref__", "_grad", "_owned", "name", "requires_grad", "source", "value")

    def __init__(
        self, value: Any, source: OpNode | None = None, name: str | None = None, requires_grad: bool = True
    ) -> None:
        if type(value) is not np.ndarray:
            if isinstance(value, TensorNode):
                raise TypeError("TensorNode(node): it is a node already; node.detach() makes a constant of it")
            value = as_array(value)
        kind = value.dtype.kind
        if kind in NO_NUMBERS:
            raise not_numbers(value)
        if kind == "c" and requires_grad:
            raise no_complex(f"{source.op.__name__} gives" if source is not None else "this array holds", value)
        self.value: Array = value
        self.source = source
        self.name = name
        self.requires_grad: bool = requires_grad and kind == "f"
        self._grad: Array | None = None
        self._owned = True

    # --- gradients

    @property
    def grad(self) -> Array:
        """The gradient, an array of the value's shape and dtype (float64 for integers); zeros before any ``backward``.

        After ``backward(create_graph=True)`` it is a node, so that it can be differentiated again.
        """
        value, held = self.value, self._grad
        dtype = gradient_dtype(value)
        if held is None or held.shape != value.shape:  # none yet, or that of a value since replaced
            if isinstance(held, KeptGradient):
                raise RuntimeError(held.message)
            self._grad = np.zeros_like(value, dtype)
        elif held.dtype != dtype:
            self._grad = held.astype(dtype)
        elif isinstance(held, np.generic):  # NumPy's arithmetic makes one of an array without axes
            self._grad = np.asarray(held)
        elif not self._owned:
            # The array may be another node's gradient too (both inputs of a sum get the same one).
            self._grad = held.copy()
        self._owned = True
        return self._grad

    @grad.setter
    def grad(self, gradient: Array | None) -> None:
        if gradient is None:
            self._grad = None
            return
        if gradient.shape != self.value.shape:
            raise ValueError(
                f"a gradient has its value's shape, got {gradient.shape} for {self._label()} of {self.value.shape}"
            )
        self._grad, self._owned = gradient.astype(gradient_dtype(self.value), copy=False), True

    def backward(self, start: bool = True, *, create_graph: bool = False) -> None:
        """Add the derivative of this number with respect to every node under it to that node's ``.grad``.

        Args:
            start: start a pass at this node, which must hold one number. With ``False``, continue a pass from the
                gradient that this node has, of any shape, as in the course's library.
            create_graph: run the backward pass on nodes, so that the gradients can be differentiated again. Each op's
                forward runs once more, so an op of your own must not draw random numbers in it.

        In a graph of integers alone, such as ``TensorNode(np.array([2])) * 3.0``, the integers get gradients in
        float64. Raises ``ValueError`` unless the value has exactly one element, and ``RuntimeError`` if the graph was
        cleared or no node below requires a gradient.
        """
        if not start:
            if create_graph:
                raise ValueError("backward(start=False) builds no graph: omit create_graph, or start at the loss")
            if self.source is not None:
                deposit_below({self: self.grad})
            return
        if self.value.size != 1:
            raise ValueError(
                f"backward() starts from one number, but {self._label()} has shape {self.value.shape}: reduce it, as "
                "in loss.sum().backward(), or use vg.jacobian for all its derivatives"
            )
        whole = not self.requires_grad and not create_graph and integer_leaves([self])
        if not self.requires_grad and not whole:
            raise RuntimeError(
                f"{self._label()} has no gradients below it: it was made under vg.no_grad(), or from constants alone "
                "(integers count as constants beside floating-point arrays, and with create_graph)"
            )
        seed: Array = np.ones_like(self.value, gradient_dtype(self.value))
        root = TensorNode(seed, requires_grad=False) if create_graph else seed
        deposit(walk({self: root}, wanted=whole or None, create_graph=create_graph))

    def zero_grad(self) -> None:
        """Forget the gradients of this node and of everything below it."""
        self._grad = None
        for source in below([self]):
            for node in source.inputs:
                node._grad = None

    def clear(self) -> None:
        """Cut the graph below this node, so that what only the graph held can be freed."""
        for source in below([self]):
            source.cut()

    def detach(self) -> TensorNode:
        """A constant leaf that shares this node's array."""
        return TensorNode(self.value, name=self.name, requires_grad=False)

    # --- what an array says of itself

    @property
    def shape(self) -> tuple[int, ...]:
        """The value's shape."""
        return self.value.shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The value's dtype."""
        return self.value.dtype  # type: ignore[no-any-return]

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.value.ndim  # type: ignore[no-any-return]

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the extent of one axis (the course's method; NumPy's count is ``node.value.size``)."""
        if dim is not None and not -self.ndim <= dim < self.ndim:
            raise IndexError(f"size({dim}): {self._label()} has shape {self.shape}, and no axis {dim}")
        return self.value.shape if dim is None else self.value.shape[dim]

    def item(self) -> Any:
        """The value of a one-element node as a Python number."""
        if self.value.size != 1:
            raise ValueError(
                f"{self._label()} has shape {self.shape}, and is not one number: write x[0].item() or x.sum().item() "
                "for one number, or x.value for all"
            )
        return self.value.item()

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[TensorNode]:
        return (self[i] for i in range(len(self)))

    def __float__(self) -> float:
        return float(self._number("float"))

    def __int__(self) -> int:
        return int(self._number("int"))

    def __complex__(self) -> complex:
        return complex(self._number("complex"))

    def __bool__(self) -> bool:
        if self.value.size != 1:
            raise ValueError(
                f"the truth value of {self._label()} of shape {self.shape} is ambiguous: write (x > 0).any() or "
                "(x > 0).all(), or x is not None"
            )
        return bool(self.value)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    if not TYPE_CHECKING:  # with it, type checkers would accept every attribute

        def __getattr__(self, name: str) -> Any:
            raise no_method(name, dir(TensorNode), NUMPY)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self._leaving(), dtype=dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        return self._leaving().__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.value.__dlpack_device__()

    def _awaits_gradient(self) -> bool:
        """Whether a gradient may still flow to this node, which it does not after the backward pass of a loss."""
        done = self.source is not None and (self._grad is not None or self.source.cleared)
        return self.requires_grad and thread.kind is not None and not done

    def _leaving(self) -> Array:
        """The value, for code that does not record a graph; raises ``TypeError`` if a gradient would be lost."""
        if self._awaits_gradient():
            raise TypeError(
                f"{self._label()} would leave the graph here, and its gradient would be lost: write node.value for its "
                "array, np.stack or np.concatenate to join several nodes, or use a NumPy function that works on nodes "
                "(see vg.ops.supported())"
            )
        return self.value

    def _number(self, kind: str) -> Any:
        """The number of a one-element node, for ``float()``, ``int()`` and ``complex()``."""
        number = self.value.item()
        if self._awaits_gradient():
            raise TypeError(
                f"{kind}() of {self._label()} would take it out of the graph, and its gradient would be lost: write "
                "np.exp(x) for math.exp(x) and np.stack or np.where for a[0] = x, or x.item() where only the number "
                "is wanted"
            )
        return number

    def __deepcopy__(self, memo: dict[int, Any]) -> TensorNode:
        if self.source is not None:
            raise TypeError(
                f"{self._label()} is part of a graph, and a copy of it would be of none: copy node.detach(), or drop "
                "the node (del self.last) before copying the module that keeps it"
            )
        copied = TensorNode(np.copy(self.value), name=self.name, requires_grad=self.requires_grad)
        memo[id(self)] = copied
        vars(copied).update(copy.deepcopy(vars(self), memo))
        return copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self.source is not None:
            raise TypeError(f"{self._label()} is part of a graph, which is not saved: save node.value or node.detach()")
        return super().__reduce_ex__(protocol)

    def _label(self) -> str:
        return repr(self.name) if self.name else "this node"

    def __repr__(self) -> str:
        name = f"{self.name}: " if self.name else ""
        made = f", from {self.source.op.__name__}" if self.source is not None else ""
        made += ", with a gradient" if self._grad is not None else "" if self.requires_grad else ", constant"
        with np.printoptions(precision=4, threshold=20, edgeitems=2):
            value = str(self.value).replace("\n", "\n  ")
        return f"TensorNode({name}{self.shape} {self.dtype}{made})\n  {value}"

    # --- NumPy on nodes: the tables of floor 1 answer

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        answer = NUMPY.get(ufunc)
        if answer is not None and method == "__call__" and not options:
            return answer(*inputs)
        if "out" in options:
            raise TypeError(f"np.{ufunc.__name__} cannot write a node into an array in place: write a = a + node")
        name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        raise unsupported(name + "".join(f", {option}=" for option in options), NUMPY)

    def __array_function__(self, func: Any, types: Any, inputs: Any, options: Any) -> Any:
        if func not in NUMPY:
            raise unsupported(numpy_name(func), NUMPY)
        return NUMPY[func](*inputs, **options)

    # fmt: off
    def __getitem__(self, index: Any) -> Any: return NUMPY[TensorNode.__getitem__](self, index)

    @property
    def T(self) -> Any:  # noqa: N802 (NumPy's name)
        """The node with its axes reversed."""
        return np.transpose(self)

    def sum(self, axis: Any = None, keepdims: bool = False) -> Any:
        """``np.sum`` of the node."""
        return np.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Any:
        """``np.mean`` of the node."""
        return np.mean(self, axis=axis, keepdims=keepdims)

    def var(self, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
        """``np.var`` of the node."""
        return np.var(self, axis=axis, ddof=ddof, keepdims=keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Any:
        """``np.max`` of the node."""
        return np.max(self, axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Any:
        """``np.min`` of the node."""
        return np.min(self, axis=axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None) -> Any:
        """``np.argmax`` of the node, a plain array."""
        return np.argmax(self, axis=axis)

    def reshape(self, *shape: Any) -> Any:
        """``np.reshape`` of the node."""
        return np.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Any:
        """``np.transpose`` of the node; no axes reverses them all."""
        return np.transpose(self, axes[0] if len(axes) == 1 else axes or None)

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        """The node with another dtype; with ``copy=False`` itself if it has that already."""
        return self if not copy and self.dtype == dtype else NUMPY[np.astype](self, dtype)

    def matmul(self, other: Any) -> Any:
        """``self @ other`` (the course's method)."""
        return np.matmul(self, other)
    # fmt: on

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(
            "a node in a graph cannot be written into, since its old value may be needed for a gradient: build the "
            "new array with np.where, np.concatenate or np.pad, or change node.value in place before the forward pass"
        )


class OpNode:
    """One application of an op: which, on what, and what its forward left in the context for its backward."""

    _repr_html_: ClassVar[Any] = None

    __slots__ = ("_outputs", "_shapes", "age", "cleared", "constants", "context", "inputs", "op")

    def __init__(
        self, op: type[Op], context: dict[str, Any], inputs: tuple[TensorNode, ...], constants: dict[str, Any]
    ) -> None:
        self.op = op
        self.context = context
        self.inputs = inputs
        self.constants = constants
        self.age = next(_ages)
        self.cleared = False
        # Weak, since a node holds its source: a graph is freed the moment its last node is dropped.
        self._outputs: tuple[weakref.ref[TensorNode], ...] = ()
        self._shapes: tuple[tuple[tuple[int, ...], np.dtype[Any]], ...] = ()

    def produce(self, result: Any) -> Any:
        """Wrap what forward returned, an array or a tuple of them, into this op's output nodes."""
        requires_grad = True in map(requiring_grad, self.inputs)
        if not isinstance(result, tuple):
            node = TensorNode(result, self, None, requires_grad)
            self._outputs = (weakref.ref(node),)
            return node
        outputs = tuple([TensorNode(value, self, None, requires_grad) for value in result])
        self._outputs = tuple([weakref.ref(node) for node in outputs])
        self._shapes = tuple([(node.shape, node.dtype) for node in outputs])
        return outputs

    @property
    def outputs(self) -> list[TensorNode]:
        """The nodes this op produced that are still in use."""
        return [node for ref in self._outputs if (node := ref()) is not None]

    def upstream(self, gradients: Gradients) -> list[Array] | None:
        """One gradient for each output, zeros for one that nothing depends on; ``None`` if none has arrived."""
        if len(self._outputs) == 1:  # nearly always
            only = gradients.get(self._outputs[0]())  # type: ignore[arg-type]
            return None if only is None else [only]
        found = [gradients.get(ref()) for ref in self._outputs]  # type: ignore[arg-type]
        if all(go is None for go in found):
            return None
        return [np.zeros(*self._shapes[i]) if go is None else go for i, go in enumerate(found)]

    def apply_backward(self, upstream: list[Array], needs: list[bool], create_graph: bool) -> tuple[Array, ...]:
        """``Op.backward`` of this op: a gradient (or None) for each of its inputs."""
        context = self.context
        if create_graph:
            context = {}
            inputs = [node if node.requires_grad else node.value for node in self.inputs]
            self.op.forward(context, *inputs, **self.constants)
        elif not self.op.ours:
            upstream = [np.copy(go) for go in upstream]  # a user's op may write into its arguments
        context["needs_input_grad"] = needs
        results: tuple[Array, ...] | Array | None = self.op.backward(context, *upstream)
        if results is None:
            raise TypeError(
                f"{self.op.__name__}.backward returned None: is its return missing? If no gradient flows through it, "
                f"return {(None,) * len(self.inputs)}"
            )
        if isinstance(results, list):
            raise TypeError(f"{self.op.__name__}.backward returned a list: return a tuple, as in return gx, gy")
        results = results if isinstance(results, tuple) else (results,)
        if len(results) != len(self.inputs):
            raise ValueError(
                f"{self.op.__name__}.backward returned {len(results)} gradient(s) for {len(self.inputs)} input(s): "
                "return a tuple with one for each array that forward takes (None where there is none)"
            )
        if create_graph:  # plain arrays are constants of the new graph
            known = (type(None), TensorNode)
            return tuple([x if isinstance(x, known) else TensorNode(x, requires_grad=False) for x in results])
        return results

    def backward(self) -> None:
        """Carry the gradients that this op's outputs hold to every node below."""
        deposit_below({node: node.grad for node in self.outputs})

    def zero_grad(self) -> None:
        """Forget the gradients of this op's outputs and of everything below."""
        for node in self.outputs:
            node.zero_grad()

    def clear(self) -> None:
        """Cut the graph at this op and at every op below it."""
        for source in below(self.inputs):
            source.cut()
        self.cut()

    def cut(self) -> None:
        """Let go of this op's inputs and context; a later backward through it is an error."""
        self.inputs, self.context, self.cleared = (), {}, True

    def __repr__(self) -> str:
        shapes = ", ".join(str(node.shape) for node in self.inputs)
        return f"OpNode({self.op.__name__}: {shapes} -> {', '.join(str(node.shape) for node in self.outputs)})"


Thread.kind = OpNode


def deposit_below(gradients: Gradients) -> None:
    """Carry the given gradients of some nodes to every node below these."""
    whole = integer_leaves(gradients) if not any(map(requiring_grad, gradients)) else []
    roots = {node: go + 0 for node, go in gradients.items() if whole or node.requires_grad}  # + 0: arrays of their own
    deposit({node: go for node, go in walk(roots, wanted=whole or None).items() if node not in roots})


def deposit(gradients: Gradients) -> None:
    """Add each gradient to its node's ``.grad``, all of them or, if anything failed before, none."""
    # What a backward hands out is new, or is (a view of) the gradient that it was given, which another node holds as
    # well: that is not the node's own, and is copied when it is first looked at.
    held = {id(gradient) for node, gradient in gradients.items() if node.source is not None}
    for node, gradient in gradients.items():
        if node._grad is not None and node._grad.shape == node.value.shape:
            node._grad, node._owned = node._grad + gradient, True
        else:
            if isinstance(node._grad, KeptGradient):
                raise RuntimeError(node._grad.message)
            new = id(gradient) not in held and getattr(gradient, "base", None) is None
            node._grad, node._owned = gradient, new or isinstance(gradient, TensorNode)
