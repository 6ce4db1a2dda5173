"""The tracer: it takes the place of an array, and records NumPy's functions and operators in an array program."""

from __future__ import annotations

import dis
import linecache
import math
import operator
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vugrad.compiler.arrays import Program
from vugrad.graph import TensorNode, operators
from vugrad.graph.advice import numpy_name
from vugrad.graph.operators import NumPyOperators

#: The tracing rule of each NumPy function; the modules in ``answers/`` register them.
ANSWERS: dict[Callable[..., Any], Callable[..., Any]] = {}

Number = bool | int | float


class CannotCompileError(TypeError):
    """What ran cannot be recorded; the message names the op, the line, and what to write instead."""


class NoAttributeError(CannotCompileError, AttributeError):
    """An attribute that arrays have and tracers lack; ``hasattr`` returns ``False`` for it."""


class Traced(NumPyOperators):
    """An array whose numbers are not known yet: shape, dtype, and which result of the program it is.

    It works in all pure array code. Whatever would need the numbers now (a branch, ``float(x)``) or would write into
    the array raises :class:`CannotCompileError`. ``x += y`` gives the name a new array; the old one must not be used
    again, and raises if it is.

    Args:
        program: in which it is recorded.
        number: of the result that it is.
        weak: whether it stands for a Python number, which takes the dtype of the arrays that it meets.
        base: the tracer that it is a view of.
    """

    __slots__ = ("_changed", "base", "number", "program", "weak")

    def __init__(self, program: Program, number: int, weak: bool = False, base: Traced | None = None) -> None:
        self.program, self.number, self.weak, self.base = program, number, weak, base
        self._changed: str | None = None

    # --- what an array says of itself

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.program[self.number].shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its dtype."""
        return self.program[self.number].dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The bytes of all elements."""
        return self.size * self.dtype.itemsize

    @property
    def T(self) -> Any:  # noqa: N802 (NumPy's name)
        """The array with its axes reversed."""
        return np.transpose(self)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"Traced(%{self.number}: {self.program[self.number].type})"

    # --- recording

    def record(self, primitive: str, *others: Traced, view: bool = False, **parameters: Any) -> Traced:
        """The result of a primitive on this array and others."""
        for x in (self, *others):
            x.check_unchanged()
        number = self.program.add(primitive, self.number, *(x.number for x in others), **parameters)
        if self.program.origins is not None:
            self.program.origins[number] = origin()
        return Traced(self.program, number, all(x.weak for x in (self, *others)), self if view else None)

    def check_unchanged(self) -> None:
        """Raise if the array was changed in place since it got its name."""
        x: Traced | None = self
        while x is not None:
            if x._changed:
                raise CannotCompileError(
                    f"{place()}: an array is used that was changed in place before, at {x._changed}. A compiled "
                    "program never writes into an array: write x = x + y in place of x += y, and keep what you need of "
                    "the old one under a name of its own"
                )
            x = x.base

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if any(isinstance(x, TensorNode) for x in inputs):
            return NotImplemented
        if "out" in options or method == "at":
            raise CannotCompileError(
                f"{place()}: np.{ufunc.__name__} writes into an array in place: write a = np.{ufunc.__name__}(…), "
                "which makes a new one; or, if a module or an optimizer has the array, list that in vg.compile's state"
            )
        answer = ANSWERS.get(ufunc)
        if answer is None or method != "__call__" or options:
            raise unsupported(ufunc.__name__ + ("" if method == "__call__" else f".{method}"), options)
        return answer(*inputs)

    def __array_function__(self, func: Any, types: Any, inputs: Any, options: Any) -> Any:
        if any(issubclass(kind, TensorNode) for kind in types):
            return NotImplemented
        if func not in ANSWERS:
            raise unsupported(numpy_name(func), {})
        # NumPy does not dispatch on nodes used as positions: they must have no gradient, and become arrays.
        options = {name: constant_value(x) for name, x in options.items()}
        return ANSWERS[func](*map(constant_value, inputs), **options)

    # fmt: off
    def __getitem__(self, index: Any) -> Any:
        index = tuple(map(constant_value, index)) if isinstance(index, tuple) else constant_value(index)
        return ANSWERS[Traced.__getitem__](self, index)


    def __iadd__(self, other: Any) -> Any: return self._in_place(operator.add, other)
    def __isub__(self, other: Any) -> Any: return self._in_place(operator.sub, other)
    def __imul__(self, other: Any) -> Any: return self._in_place(operator.mul, other)
    def __itruediv__(self, other: Any) -> Any: return self._in_place(operator.truediv, other)
    def __ipow__(self, other: Any) -> Any: return self._in_place(operator.pow, other)

    def reshape(self, *shape: Any, **options: Any) -> Any:
        """``np.reshape``."""
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, **options)

    def transpose(self, *axes: Any) -> Any:
        """``np.transpose``."""
        return np.transpose(self, axes[0] if len(axes) == 1 else axes or None)

    def astype(self, dtype: Any, copy: bool = True, **_: Any) -> Any:
        """``np.astype``."""
        return ANSWERS[np.astype](self, dtype)

    def copy(self, order: str = "C") -> Any:
        """The same numbers, as an array of their own."""
        return self.record("reshape", shape=self.shape)

    def sum(self, *args: Any, **options: Any) -> Any: return np.sum(self, *args, **options)  # noqa: D102
    def mean(self, *args: Any, **options: Any) -> Any: return np.mean(self, *args, **options)  # noqa: D102
    def var(self, *args: Any, **options: Any) -> Any: return np.var(self, *args, **options)  # noqa: D102
    def std(self, *args: Any, **options: Any) -> Any: return np.std(self, *args, **options)  # noqa: D102
    def max(self, *args: Any, **options: Any) -> Any: return np.max(self, *args, **options)  # noqa: D102
    def min(self, *args: Any, **options: Any) -> Any: return np.min(self, *args, **options)  # noqa: D102
    def argmax(self, *args: Any, **options: Any) -> Any: return np.argmax(self, *args, **options)  # noqa: D102
    def argmin(self, *args: Any, **options: Any) -> Any: return np.argmin(self, *args, **options)  # noqa: D102
    def any(self, *args: Any, **options: Any) -> Any: return np.any(self, *args, **options)  # noqa: D102
    def all(self, *args: Any, **options: Any) -> Any: return np.all(self, *args, **options)  # noqa: D102
    def ravel(self) -> Any: return np.reshape(self, -1)  # noqa: D102
    def flatten(self) -> Any: return np.reshape(self, -1)  # noqa: D102
    def squeeze(self, axis: Any = None) -> Any: return np.squeeze(self, axis)  # noqa: D102
    def clip(self, *args: Any, **options: Any) -> Any: return np.clip(self, *args, **options)  # noqa: D102

    # --- what needs the numbers now, or writes

    def __bool__(self) -> bool: raise self._unknown("a branch", "np.where(condition, x, y)")
    def __float__(self) -> float: raise self._unknown("float()", "array arithmetic, and return what you want to see")
    def __int__(self) -> int: raise self._unknown("int()", "array arithmetic, and return what you want to see")
    def __index__(self) -> int: raise self._unknown("a Python index", "np.take(x, index, axis)")
    def __complex__(self) -> complex: raise self._unknown("complex()", "array arithmetic")
    def item(self, *_: Any) -> Any:  # noqa: D102
        raise self._unknown(".item()", "array arithmetic, and return what you want to see")
    def tolist(self) -> Any: raise self._unknown(".tolist()", "array arithmetic")  # noqa: D102
    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if _subscribes():
            raise self._unknown(
                "w[t], where w is a plain array,",
                "vg.TensorNode(w, requires_grad=False)[t], or pass w to the function as an argument",
            )
        raise self._unknown("a plain array", "NumPy functions on the array itself, without np.asarray or np.array")

    def __getattr__(self, name: str) -> Any:
        raise NoAttributeError(
            f"{place()}: .{name} is nothing that a compiled program can use: write it with NumPy functions on the array"
        )

    def __setitem__(self, index: Any, value: Any) -> None:
        raise CannotCompileError(
            f"{place()}: an array is written into by x[…] = …. Build the new array instead, with "
            "np.where(mask, value, x), np.concatenate or np.pad"
        )
    # fmt: on

    def _in_place(self, function: Callable[[Any, Any], Any], other: Any) -> Any:
        """What ``x += y`` gives the name: the sum in x's own dtype. The old array is marked as changed."""
        if self.base is not None:
            raise CannotCompileError(
                f"{place()}: a view of another array is changed in place, which would change that one too: write "
                "y = y + z, which makes a new array"
            )
        result = function(self, other)
        if not isinstance(result, Traced) or result.shape != self.shape:
            raise CannotCompileError(f"{place()}: an array of shape {self.shape} cannot hold {result!r}")
        if result.dtype != self.dtype:
            if not np.can_cast(result.dtype, self.dtype, "same_kind"):
                raise CannotCompileError(f"{place()}: an array of {self.dtype} cannot hold {result.dtype}: use astype")
            if not self.weak:
                result = result.astype(self.dtype)
        if not self.weak:  # a Python number is not changed in place by +=
            self._changed = _running()[1] or "?"
        return result

    def _unknown(self, wanted: str, instead: str) -> CannotCompileError:
        return CannotCompileError(
            f"{place()}: {wanted} needs the numbers of an array, which are not known while a program is compiled: "
            f"write {instead}"
        )


def _subscribes() -> bool:
    """Whether the caller's caller evaluates ``x[tracer]``, which asks the tracer for its numbers."""
    frame = sys._getframe(2)
    return dis.opname[frame.f_code.co_code[frame.f_lasti]] in ("BINARY_SUBSCR", "BINARY_OP")


def constant_value(x: Any) -> Any:
    """The array of a node without ``requires_grad``; any other value unchanged."""
    return x.value if isinstance(x, TensorNode) and not x.requires_grad else x


def unsupported(name: str, options: dict[str, Any]) -> CannotCompileError:
    """The error for a NumPy function that the compiler does not know."""
    asked = name + "".join(f", {option}=" for option in options)
    return CannotCompileError(
        f"{place()}: np.{asked} cannot be compiled. Write it with functions that can: arithmetic, np.exp and its like, "
        "np.where, sums, np.matmul, np.einsum, reshapes, slices, np.take"
    )


#: Where the function is called: the frames below, of which a notebook has dozens, belong to no op.
_TRACE = str(Path(__file__).with_name("__init__.py"))
#: Frames of these are not the user's: the compiler itself, the graph, and NumPy.
_OWN = (str(Path(__file__).parents[1]), str(Path(operators.__file__).parent), str(Path(np.__file__).parent))


def origin() -> str:
    """The op whose body runs, as ``Linear.backward``, or else the line."""
    name, line = _running()
    return name or line


def place() -> str:
    """Where the program that is being traced is: the op whose body runs, the file and line, and the line itself."""
    name, line = _running(source=True)
    return f"in {', '.join(filter(None, (name, line)))}" if name or line else "here"


def _running(source: bool = False) -> tuple[str, str]:
    """The op whose body runs, if one does, and the innermost line outside the compiler, the graph and NumPy."""
    frame: Any = sys._getframe()
    line, name = "", ""
    while frame is not None:
        code = frame.f_code
        if not line and not code.co_filename.startswith(_OWN):
            text = linecache.getline(code.co_filename, frame.f_lineno).strip() if source else ""
            line = f"{os.path.basename(code.co_filename)}:{frame.f_lineno}" + (f", `{text}`" if text else "")
        if code.co_name in ("do_forward", "apply_backward"):  # of others not: a frame keeps the locals it was asked for
            inside = frame.f_locals
            if "cls" in inside:
                name = f"{inside['cls'].__name__}.forward"
            elif "self" in inside:
                name = f"{inside['self'].op.__name__}.backward"
        if name or (line and code.co_filename == _TRACE):
            break
        frame = frame.f_back
    return name, line
