"""The judge's side of the process that runs a submission: ops whose forward and backward are requests over a pipe.

No code of a submission runs here. Messages hold plain values and arrays only, and are checked when they are read.
"""

from __future__ import annotations

import builtins
import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vugrad.check.elsewhere import Elsewhere
from vugrad.check.loading import Left
from vugrad.check.maps import Copying
from vugrad.check.process import Process, Stop
from vugrad.check.recording import Recording, received
from vugrad.check.subject import Array, Arrays
from vugrad.compiler import CannotCompileError
from vugrad.graph import Op

#: The key in a context under which the number and arrays of the forward's call are kept.
CALL = "\0call"


class NotOwn(Stop):
    """The graded op is not the submission's own code."""


class Runner:
    """The process of one submission, as the judge sees it."""

    def __init__(self, path: Path, own: bool, beside: bool, seconds: float, memory: int) -> None:
        words = (str(path.absolute()), str(seconds), str(memory), "own" if own else "any", "beside" if beside else "no")
        self.process = Process("vugrad.check.runner", *words, forked=True)
        self.left: list[Left] = []

    def ask(self, do: str, **arguments: Any) -> Any:
        """The answer to a request; an error of the submission is raised here again."""
        answer = self.process.ask({"do": do, **arguments})
        if "not own" in answer:
            raise NotOwn(str(answer["not own"]))
        if "error" in answer:
            raise _error(str(answer["error"]), str(answer["text"]))
        return answer["is"]

    def names(self) -> list[str]:
        """The names of its ops."""
        found = self.ask("names")
        self._note(found)
        return [str(name) for name in found["names"]]

    def choose(self, name: str) -> tuple[type[Op] | None, list[str]]:
        """The op of a name; if there is none, ``None`` and the names of all ops.

        Raises :class:`NotOwn` for an op that is not the submission's own.
        """
        found = self.ask("choose", name=name)
        self._note(found)
        if "missing" in found:
            return None, [str(each) for each in found["missing"]]
        return self._op(name, found), []

    def _note(self, found: Mapping[str, Any]) -> None:
        self.left = [
            Left(str(part["where"]), str(part["text"]), tuple(map(str, part["names"])), str(part["error"]))
            for part in found["left"]
        ]

    def _op(self, name: str, found: Mapping[str, Any]) -> type[Op]:
        """An op whose forward and backward are requests to the other process."""

        def forward(context: Any, *xs: Array, **constants: Any) -> Any:
            asked = {"xs": [np.asarray(x) for x in xs], "constants": constants, "copying": isinstance(context, Copying)}
            answer = self.ask("forward", **asked)
            _write(answer["changed"], list(xs))
            if answer["ys"] is None:
                return None
            ys = [_array(y) for y in answer["ys"]]
            saved = {str(key): np.asarray(value) for key, value in answer["saved"].items()}
            context.update(saved)
            dict.__setitem__(context, CALL, (answer["call"], list(xs), ys, {k: context[k] for k in saved}))
            return tuple(ys)

        def backward(context: Any, *gos: Array) -> Any:
            call, xs, ys, saved = context[CALL]
            replaced = {key: value for key, value in context.items() if key != CALL and saved.get(key) is not value}
            answer = self.ask("backward", call=call, gos=[np.asarray(go) for go in gos], replaced=replaced)
            _write(answer["changed"], [*xs, *gos, *ys])
            return tuple(_gradient(g) for g in answer["gradients"])

        def forwards(all_xs: Sequence[Arrays], constants: Mapping[str, Any]) -> list[Arrays]:
            answer = self.ask("forwards", all_xs=[[np.asarray(x) for x in xs] for xs in all_xs], constants=constants)
            return [[_array(y) for y in ys] for ys in answer]

        def record(xs: Arrays, constants: Mapping[str, Any]) -> Recording:
            return received(self.ask("record", xs=xs, constants=dict(constants)))

        _sign(forward, found["forward"])
        _sign(backward, found["backward"])
        members: dict[str, Any] = {
            "forward": staticmethod(forward),
            "backward": staticmethod(backward),
            "forwards": staticmethod(forwards),
            "record": staticmethod(record),
            "constants": found["constants"],
        }
        if "inputs" in found:
            members["inputs"] = [_array(x) for x in found["inputs"]]
        return type(name, (Elsewhere,), members)


def _write(changed: Mapping[int, Array], arrays: Arrays) -> None:
    """Copy into arrays the changes that the other process has made to its copies."""
    for i, x in changed.items():
        arrays[i][...] = x


def _array(y: Any) -> Array:
    """An output as an array; raises ``TypeError`` if it is not numeric."""
    if isinstance(y, dict) or np.asarray(y).dtype.kind not in "fciub":
        kind = str(y.get("type")) if isinstance(y, dict) else type(y).__name__
        raise TypeError(f"it returns {kind[:40]}, and not an array of numbers")
    return np.asarray(y)


def _gradient(g: Any) -> Any:
    """A gradient; a result that could not be sent becomes an object of a class with the same name."""
    if not isinstance(g, dict):
        return g
    return type("".join(c for c in str(g.get("type"))[:40] if c.isprintable()), (), {})()


def _sign(function: Callable[..., Any], parameters: Any) -> None:
    """Set the signature of a function to the parameters of the submission's function."""
    if parameters is None:
        return
    empty = inspect.Parameter.empty
    signature = inspect.Signature(
        [inspect.Parameter(name, kind, default=n if default else empty) for name, kind, default, n in parameters]
    )
    function.__signature__ = signature  # type: ignore[attr-defined]


def _error(name: str, text: str) -> Exception:
    """An error of the other process, as an error of the same name."""
    if name == "CannotCompileError":
        return CannotCompileError(text)
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        with contextlib.suppress(TypeError):  # some take more than a text
            return kind(text)
    raised: type[Exception] = type(name if name.isidentifier() else "Exception", (Exception,), {})
    return raised(text)
