"""Op: a forward and a backward on arrays, and how applying one builds the graph."""

from __future__ import annotations

import contextlib
from types import FunctionType
from typing import Any, ClassVar

import numpy as np
from numpy.exceptions import AxisError

from vugrad.graph.arrays import as_array
from vugrad.graph.backward import thread
from vugrad.graph.nodes import OpNode, TensorNode, value_of
from vugrad.suggest import near

DIRECTIONS = ("forward", "backward")
Context = dict[str, Any]


class no_grad(contextlib.ContextDecorator):  # noqa: N801 (PyTorch's name)
    """Compute without building a graph, as a context manager or a decorator; each thread has its own mode.

    >>> import vugrad as vg
    >>> x = vg.TensorNode([1.0, 2.0])
    >>> with vg.no_grad():
    ...     y = x * x
    >>> y.source is None
    True
    """

    def __enter__(self) -> None:
        thread.kinds_before.append(thread.kind)
        thread.kind = None

    def __exit__(self, *exception: object) -> None:
        thread.kind = thread.kinds_before.pop()


def grad_enabled() -> bool:
    """Whether ops build a graph in this thread."""
    return thread.kind is not None


def is_watched() -> bool:
    """Whether ops are recorded as something else than OpNodes, as in ``vg.debug``, and so have to be run one by one."""
    return thread.kind not in (None, OpNode)


class OpType(type):
    """The metaclass of ops: the repr of an op says what it computes, and an op cannot be instantiated."""

    def __call__(cls, *args: Any, **keywords: Any) -> Any:
        """Raise a ``TypeError`` that says how to apply an op."""
        raise TypeError(
            f"{cls.__name__} is an op, and cannot be called: write {cls.__name__}.do_forward(x) to apply it, or use a "
            "layer of vg.nn or a loss of vg.losses"
        )

    def __repr__(cls) -> str:
        says = (cls.__doc__ or "").strip().partition("\n")[0]
        return f"<Op {cls.__name__}{': ' * bool(says)}{says}>"


class Op(metaclass=OpType):
    """An operation on arrays and its derivative. Subclass it and write both directions as static methods.

    ``forward(context, *inputs, **constants)`` takes arrays and returns an array (or a tuple of them); what the
    derivative will need goes into the dict ``context``. ``backward(context, *go)`` takes the upstream gradient
    of each output and returns the downstream gradient of each input, or ``None`` for an input without one. If that is
    the only input, it must return ``(None,)``: a bare ``None`` is an error, since it usually means a missing
    ``return``. Both are pure array code: they write into no array, and do not branch on values.

    >>> import numpy as np, vugrad as vg
    >>> class Cube(vg.Op):
    ...     "y = x³;  gx = go · 3x²."
    ...     @staticmethod
    ...     def forward(context, x):
    ...         context["x"] = x
    ...         return x**3
    ...     @staticmethod
    ...     def backward(context, go):
    ...         return go * 3 * context["x"] ** 2
    >>> x = vg.TensorNode(2.0)
    >>> y = Cube.do_forward(x)
    >>> y.backward()
    >>> print(y.value, x.grad)
    8.0 12.0
    """

    #: What to write instead, for the error when the arrays' shapes do not fit the op.
    hint: ClassVar[str] = ""
    #: Whether a zero in a gradient means that nothing flows there, as it does below np.where (see ops.chain).
    masks: ClassVar[bool] = False
    #: Whether vugrad itself defines the op, and so knows that it writes into nothing that it is given.
    ours: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        cls.ours = cls.__module__.startswith("vugrad.")
        if not cls.ours:
            _check_directions(cls)

    @staticmethod
    def forward(context: Any, *inputs: Any, **constants: Any) -> Any:
        """The op's value, from arrays."""
        raise NotImplementedError("an Op needs a static method forward(context, *inputs, **constants)")

    @staticmethod
    def backward(context: Any, *go: Any) -> Any:
        """The gradient of each input, from the gradient of each output."""
        raise NotImplementedError("an Op needs a static method backward(context, *goutputs)")

    @classmethod
    def do_forward(cls, *inputs: Any, **constants: Any) -> Any:
        """Apply the op to nodes (arrays and numbers become constants) and record it in the graph."""
        nodes = tuple([x if isinstance(x, TensorNode) else constant(x, inputs) for x in inputs])
        context: Context = {}
        try:
            result = cls.forward(context, *map(value_of, nodes), **constants)
        except (ValueError, IndexError) as error:
            raise misfit(cls, nodes, error) from error
        if result is None:
            raise TypeError(f"{cls.__name__}.forward returned None: is its return missing?")
        if (kind := thread.kind) is not None:
            return kind(cls, context, nodes, constants).produce(result)
        if isinstance(result, tuple):
            return tuple([TensorNode(value, requires_grad=False) for value in result])
        return TensorNode(result, requires_grad=False)


def _check_directions(op: type[Op]) -> None:
    """Raise ``TypeError`` for a class whose forward or backward takes ``self``, or has a misspelt name."""
    functions = {name: x for name, x in vars(op).items() if isinstance(x, FunctionType | staticmethod)}
    for direction in DIRECTIONS:
        written = functions.get(direction)
        if isinstance(written, FunctionType) and written.__code__.co_varnames[:1] == ("self",):
            raise TypeError(
                f"{op.__name__}.{direction} takes self, but an op has no instances: write @staticmethod above "
                f"def {direction}(context, …), without self"
            )
        if getattr(op, direction) is getattr(Op, direction):
            for name in near(direction, [name for name in functions if name not in DIRECTIONS], 1, 0.85):
                raise TypeError(f"class {op.__name__} defines {name}, and no {direction}: is it misspelt?")


def misfit(op: type[Op], nodes: tuple[TensorNode, ...], error: ValueError | IndexError) -> ValueError | IndexError:
    """An error of an op's forward, with the shapes of the inputs and the op's hint."""
    kind = next(kind for kind in (AxisError, ValueError, IndexError) if isinstance(error, kind))
    said = str(error)
    if isinstance(error, AxisError) and error.ndim == 0:
        said = f"there is no axis {error.axis}: the input is a single number, without axes"
    elif "gufunc signature" in said:  # NumPy's message for a matrix product
        said = "their extents do not fit"
    return kind(
        f"{op.__name__} of shapes {' and '.join(str(node.shape) for node in nodes)}: {said}. {op.hint}".rstrip()
    )


def constant(value: Any, others: tuple[Any, ...]) -> TensorNode:
    """A node for an op's input that is an array or a number; a Python number takes the dtype of the ``others``."""
    if isinstance(value, int | float | complex):
        dtypes = [as_array(other).dtype for other in others if hasattr(other, "dtype")]
        value = np.asarray(value, np.result_type(value, *dtypes) if dtypes else None)
    return TensorNode(value, requires_grad=False)


def needs_input_grad(context: Context, i: int) -> bool:
    """Whether the gradient of input ``i`` is asked for; always so where ``backward`` is called by hand.

    Worth asking only where a gradient is as costly as a matrix product.
    """
    needs = context.get("needs_input_grad")
    return needs is None or bool(needs[i])
