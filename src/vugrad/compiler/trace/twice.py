"""Trace a function twice, to refuse functions that draw random numbers or count: a program would repeat one value."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from vugrad import random as randomness
from vugrad.compiler.arrays import Program
from vugrad.compiler.trace import Trace, surroundings, trace
from vugrad.compiler.trace.standin import CannotCompileError

#: The most times a function is traced to see whether it draws random numbers itself, and not another thread.
TRIES = 5


def trace_twice(function: Callable[..., Any], arguments: tuple[Any, ...], state: tuple[Any, ...] = ()) -> Trace:
    """The trace of a function that does the same each time it runs; its first run may fill caches and differ.

    Raises :class:`CannotCompileError` for a function that differs from run to run, or draws random numbers in Python.
    """
    before, drawn = _recorded(function, arguments, state)
    traced, still = _recorded(function, arguments, state)
    if not _equal(before, traced):
        before, (traced, still) = traced, _recorded(function, arguments, state)
        if not _equal(before, traced):
            raise CannotCompileError(_told(still, _difference(before.program, traced.program)))
    for _ in range(TRIES):
        if not drawn or not still:
            traced.program.origins = None
            return traced
        _, still = _recorded(function, arguments, state)
    raise CannotCompileError(_told(still, ""))


def _equal(one: Trace, other: Trace) -> bool:
    return one.fingerprint == other.fingerprint and _fixed(one) == _fixed(other)


def _recorded(function: Callable[..., Any], arguments: tuple[Any, ...], state: tuple[Any, ...]) -> tuple[Trace, str]:
    """A trace, and the name of a generator that was drawn from meanwhile, or ""."""
    sources = [(name, generator, _state(generator)) for name, generator in _generators(function)]
    traced = trace(function, arguments, state, origins=True)
    return traced, next((name for name, generator, before in sources if _state(generator) != before), "")


def _generators(function: Any) -> Iterator[tuple[str, Any]]:
    """The random generators that a function can reach, by the names that errors use."""
    yield "np.random", np.random.mtrand._rand
    yield "random", random
    yield "vg.random", randomness.generator()
    for x in surroundings(function):
        if isinstance(x, np.random.Generator | np.random.RandomState):
            yield "a NumPy generator", x
        elif isinstance(x, random.Random):
            yield "a random.Random", x


def _state(generator: Any) -> Any:
    """A comparable form of a generator's state."""
    if isinstance(generator, np.random.Generator):
        return repr(generator.bit_generator.state)
    if isinstance(generator, np.random.RandomState):
        state: Any = generator.get_state()
        return repr(state[2:]), state[1].tobytes()
    return generator.getstate()


def _fixed(traced: Trace) -> dict[str, Any]:
    """A comparable form of the constants in the result."""
    found = traced.fixed()
    plain = {name: x for name, x in found.items() if isinstance(x, bool | int | float | str | np.generic)}
    return {name: repr(x) for name, x in plain.items()} | {
        name: (x.dtype.str, x.tobytes()) for name, x in found.items() if isinstance(x, np.ndarray)
    }


def _difference(first: Program, again: Program) -> str:
    """The place in the code where the second program first differs from the first, or ""."""
    origins = again.origins or {}
    for i, x in enumerate(again.instructions):
        if i >= len(first.instructions) or str(first[i]) != str(x) or _numbers(first[i]) != _numbers(x):
            users = [k for k, y in enumerate(again.instructions) if k == i or i in y.operands]
            return next((f" in {origins[k]}" for k in users if k in origins), "")
    return ""


def _numbers(x: Any) -> Any:
    value = x.parameters.get("value")
    return value.tobytes() if isinstance(value, np.ndarray) else repr(value)


def _told(drawn: str, where: str) -> str:
    what = f"draws from {drawn}" if drawn else "does not compute the same when it is run twice"
    cause = "" if drawn else ": it draws random numbers, counts, or reads a clock"
    return (
        f"the function {what}{where}{cause}, and a compiled program would repeat the first of these numbers for ever. "
        "Draw them outside of the function and pass them as an array (f(x, rng.normal(size=x.shape))); for dropout "
        "use vg.nn.Dropout, whose random numbers are part of the state"
    )
