"""Recording once what the objects of many small runs do alike."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from typing import Any

from vugrad.compiler.plan import RECENT, Recent
from vugrad.compiler.trace import Trace, slots
from vugrad.compiler.trace.twice import trace_twice
from vugrad.nn import Module

_what: contextvars.ContextVar[Hashable] = contextvars.ContextVar("what is alike", default=None)
_traces: Recent[Trace] = Recent(RECENT)


@contextlib.contextmanager
def alike(what: Hashable) -> Iterator[None]:
    """Vouch that functions do here what those of the same names did in earlier blocks for an equal ``what``.

    One of them is then not recorded again, if its arguments and its state have the same shapes: it gets the program of
    the earlier one, with the arrays of its own state in their places. The steps of runs that differ in nothing but
    their seeds are such functions.
    """
    token = _what.set(what)
    try:
        yield
    finally:
        _what.reset(token)


def recorded(
    function: Callable[..., Any], arguments: tuple[Any, ...], state: tuple[Any, ...], signature: Hashable
) -> Trace:
    """What the function does to arguments of this signature: recorded now, or in an earlier block of `alike`."""
    what = _what.get()
    if what is None:
        return trace_twice(function, arguments, state)
    places = slots(state)
    values = [(slot.name, getattr(slot.get(), "shape", None), getattr(slot.get(), "dtype", None)) for slot in places]
    modes = [module.training for part in state if isinstance(part, Module) for _, module in part.named_modules()]
    name = getattr(function, "__qualname__", type(function).__qualname__)
    key = (what, name, signature, tuple(values), tuple(modes))
    # What is kept holds on to no state.
    return replace(_traces.get(key, lambda: replace(trace_twice(function, arguments, state), slots=[])), slots=places)
