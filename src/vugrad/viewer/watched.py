"""``vg.debug``: every op is watched, so that the first that goes wrong is named, with the line that applied it."""

from __future__ import annotations

import contextlib
import linecache
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vugrad.graph import OpNode, TensorNode
from vugrad.graph.backward import Array, thread
from vugrad.nn import Module

#: What of the stack is no line of a person's own.
_OWN, _NUMPY = str(Path(__file__).parents[1]), str(Path(np.__file__).parent)
#: Ops that hand numbers on as they are: NaN in the data may be left out after them.
PASSING = {"Reshape", "Transpose", "Slice", "Take", "TakeAlongAxis", "Concatenate", "Stack", "Where", "Pad", "Flip"}
#: What to write in place of an op that has left the numbers that there are.
CURES = {
    "Log": "np.log(np.maximum(x, 1e-12)), or of a softmax vg.log_softmax",
    "Exp": "vg.logsumexp, vg.softmax and vg.log_softmax, which subtract the largest first",
    "Divide": "x / (y + 1e-12) where y may be 0",
    "Reciprocal": "1 / (x + 1e-12) where x may be 0",
    "Sqrt": "np.sqrt(x + 1e-12), whose slope at 0 is finite",
    "Power": "(x + 1e-12) ** p where x may be 0, np.abs(x) ** p where it may be less",
}


class NotFiniteError(FloatingPointError):
    """An op has produced NaN or infinity from finite numbers; ``source`` is its OpNode."""

    def __init__(self, message: str, source: Watched) -> None:
        super().__init__(message)
        self.source = source


class OverwrittenError(RuntimeError):
    """An array that an op needs for its backward was written into after its forward; ``source`` is its OpNode."""

    def __init__(self, message: str, source: Watched) -> None:
        super().__init__(message)
        self.source = source


@dataclass(frozen=True)
class Call:
    """One call of a module.

    Args:
        arguments: the ids of what the module was called with, by which its calls one after the other are told apart.
        spot: where in the caller's code it was called, which tells those apart that have the same arguments.
        path: of the module in the outermost one that was running; its class's name for that one.
        kind: the module's class.
    """

    arguments: tuple[int, ...]
    spot: int
    path: str
    kind: str


class Watched(OpNode):
    """An op that knows where it was applied, and looks at what it computes."""

    __slots__ = ("calls", "line", "prints")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.line, self.calls = _where()
        self.prints = [_print(array) for _, array in self._saved()]

    def produce(self, result: Any) -> Any:
        """Wrap what forward returned; raises if it is the first that is not finite."""
        outputs = super().produce(result)
        values = [node.value for node in self.inputs]
        self._look("forward", values, result if isinstance(result, tuple) else (result,))
        return outputs

    def apply_backward(self, upstream: list[Array], needs: list[bool], create_graph: bool) -> tuple[Array, ...]:
        """``Op.backward``; raises if what it was to use has changed, or what it computes is not finite."""
        self._before(upstream)
        with recording(
            Recorded if create_graph else thread.kind
        ):  # what its backward is made of is looked at as a whole
            results = super().apply_backward(upstream, needs, create_graph)
        self._look("backward", upstream, [r for r, needed in zip(results, needs, strict=True) if needed])
        return results

    def _before(self, upstream: list[Array]) -> None:
        """Raise if what a backward is to use has changed, or what comes from above is not finite."""
        for (label, array), before in zip(self._saved(), self.prints, strict=False):
            if _print(array) != before:
                raise OverwrittenError(
                    f"{label} of {self._said()} was written into after the forward, and its backward needs it as it "
                    f"was{self._lines()}\nMake a new array (w = w - step for w -= step), or call backward() first.",
                    self,
                )
        for go in map(_value, upstream):  # each op's own results were finite
            if not _is_finite(go):
                raise NotFiniteError(
                    f"the gradients that arrive at what {self._said()} gives add up to what is not finite, and each of "
                    f"them was finite{self._lines()}\n  upstream gradient: {_described(go)}",
                    self,
                )

    def _saved(self) -> Iterable[tuple[str, Array]]:
        for key, value in self.context.items():
            parts = value if isinstance(value, tuple | list) else [value]
            yield from ((f"context[{key!r}]", part) for part in parts if isinstance(part, np.ndarray))

    def _look(self, direction: str, given: Iterable[Any], made: Iterable[Any]) -> None:
        given, made = [list(map(_value, arrays)) for arrays in (given, made)]
        if all(_is_finite(y) for y in made) or (direction == "forward" and self.op.__name__ in PASSING):
            return
        nan = any(np.isnan(y).any() for y in made if _is_numeric(y))
        before = [x for x in given if not _is_finite(x)]
        if before and not (nan and not any(np.isnan(x).any() for x in before)):
            if direction == "backward" or not any(np.isnan(x).any() for x in before):
                return  # an infinity that was given, as a mask has it; or what came before was told of already
            index = next(i for i, x in enumerate(given) if not _is_finite(x))
            raise NotFiniteError(
                f"input {index} of {self._said()} holds NaN that no op has produced: it came in with the data, or with "
                f"a weight{self._lines()}\n  input {index}: {_described(given[index])}",
                self,
            )
        y = next(y for y in made if not _is_finite(y))
        at = tuple(int(i) for i in np.argwhere(np.isnan(y) if nan and np.isnan(y).any() else np.isinf(y))[0])
        count = int(np.sum(~np.isfinite(y)))
        place = (f" at [{', '.join(map(str, at))}]" if at else "") + (f" and {count - 1} more" if count > 1 else "")
        of = "from infinite ones, of which that is not defined" if before else "from finite numbers"
        text = f"{self._said(direction)} gives {y[at]}{place} {of}{self._lines()}"
        inputs = [f"  input {i}: {_described(node.value, at)}" for i, node in enumerate(self.inputs)]
        if direction == "backward":
            inputs += [f"  upstream gradient {i}: {_described(go, at)}" for i, go in enumerate(given)]
        cure = CURES.get(self.op.__name__)
        raise NotFiniteError("\n".join([text, *inputs, *([f"Write {cure}."] if cure else [])]), self)

    def _said(self, direction: str = "") -> str:
        """The op with its module."""
        inside = f" in {self.calls[-1].path} ({self.calls[-1].kind})" if self.calls else ""
        return f"{self.op.__name__}{'.' if direction else ''}{direction}{inside}"

    def _lines(self) -> str:
        return f"\n  {self.line}" if self.line else ""


class debug(contextlib.ContextDecorator):  # noqa: N801 (as no_grad is called)
    """Watch every op: the first that makes NaN or infinity of finite numbers raises, and so does an overwritten array.

    The error names the op, the module that it is in, the line that applied it and the numbers that it had;
    ``vg.view(error)`` shows the graph as far as it went. Graphs made within know their lines and modules, which
    :func:`vugrad.view` shows. Compiled functions run op by op. It slows what it watches down, and nothing else.

    Raises :class:`NotFiniteError` at the op that is the first to compute, forward or backward, what is not finite;
    :class:`OverwrittenError` at the backward of an op whose input or context was changed in place.

    >>> import numpy as np, vugrad as vg
    >>> with vg.debug():
    ...     np.log(vg.TensorNode([1.0, 0.0]))
    Traceback (most recent call last):
    vugrad.viewer.watched.NotFiniteError: Log.forward gives -inf at [1] from finite numbers...
    """

    def __init__(self) -> None:
        self._errors: list[Any] = []  # a function that it decorates may call itself

    def __enter__(self) -> None:
        self._errors.append(np.seterr(all="ignore"))  # NumPy's warnings say less
        thread.kinds_before.append(thread.kind)
        thread.kind = Watched

    def __exit__(self, *exception: object) -> None:
        thread.kind = thread.kinds_before.pop()
        np.seterr(**self._errors.pop())


@contextlib.contextmanager
def recording(kind: type[OpNode] | None) -> Iterator[None]:
    """Record ops as another kind of node."""
    thread.kinds_before.append(thread.kind)
    thread.kind = kind
    try:
        yield
    finally:
        thread.kind = thread.kinds_before.pop()


def recorded(f: Callable[..., Any], *inputs: Any) -> Any:
    """What a function gives, with a graph that knows its lines and modules; not finite numbers are no error."""
    with recording(Recorded):
        return f(*inputs)


class Recorded(Watched):
    """An op that knows where it was applied, and raises nothing."""

    __slots__ = ()

    def _before(self, upstream: list[Array]) -> None:
        """It may be anything."""

    def _look(self, *_: Any) -> None:
        """Here too."""


def _where() -> tuple[str, tuple[Call, ...]]:
    """The innermost line of a person's own, and the modules whose calls are running, the outermost first."""
    line, running = "", []
    frame: Any = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        if code is Module.__call__.__code__:
            inside = frame.f_locals
            spot = frame.f_back.f_lasti if frame.f_back is not None else 0
            running.append((tuple(map(id, inside["args"])), spot, inside["self"]))
        elif not line and not code.co_filename.startswith((_OWN, _NUMPY, "<frozen")):
            text = linecache.getline(code.co_filename, frame.f_lineno).strip()
            line = f"{Path(code.co_filename).name}:{frame.f_lineno}" + (f", `{text}`" if text else "")
        frame = frame.f_back
    running.reverse()
    names = {} if not running else {id(m): path for path, m in running[0][2].named_modules()}
    return line, tuple(
        Call(arguments, spot, names.get(id(m)) or type(m).__name__, type(m).__name__) for arguments, spot, m in running
    )


def _value(x: Any) -> Any:
    return x.value if isinstance(x, TensorNode) else x


def _is_numeric(x: Any) -> bool:
    return isinstance(x, np.ndarray | np.generic) and x.dtype.kind in "fc"


def _is_finite(x: Any) -> bool:
    return not _is_numeric(x) or bool(np.all(np.isfinite(x)))


def _print(array: Any) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data) if isinstance(array, np.ndarray) else 0


def _described(x: Array, at: tuple[int, ...] = ()) -> str:
    """An array's shape, dtype and range, and the number at a place if it has that."""
    text = f"{x.shape} {x.dtype}"
    if x.size and x.dtype.kind in "fiub":
        text += f", from {np.fmin.reduce(x, axis=None):.4g} to {np.fmax.reduce(x, axis=None):.4g}"
        if at and len(at) == x.ndim and all(i < n for i, n in zip(at, x.shape, strict=True)):
            text += f", {x[at]:.4g} there"
    return text
