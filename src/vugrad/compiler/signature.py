"""The keys of compiled plans: what a plan assumes of the arguments, of the state, and of values from outside."""

from __future__ import annotations

import functools
import struct
import sys
import types
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import numpy as np

from vugrad.graph import TensorNode
from vugrad.nn import Module
from vugrad.optim import Optimizer

Array = Any

#: Attributes of an optimizer that may change without a new plan.
CHANGING = {"lr", "initial_lr", "state"}
#: Types whose values are their own key.
PLAIN = {bool, int, str, bytes, type(None)}
#: A container of more parts is compared by identity: comparing its parts at every call would take too long.
PARTS = 1000
#: An array of more than ``WHOLE`` bytes is compared by about ``SAMPLE`` of its elements.
WHOLE, SAMPLE = 4096, 64
#: The most functions that are searched for the names that they use.
FUNCTIONS = 100


def of_argument(x: Any) -> Hashable:
    """The key of an argument: an array's shape and dtype; the type and the bits of a constant."""
    if isinstance(x, TensorNode):
        return "node", x.shape, x.dtype.str, x.requires_grad
    if isinstance(x, np.ndarray):
        return x.shape, x.dtype.str
    try:
        hash((x.start, x.stop, x.step) if isinstance(x, slice) else x)
    except TypeError:
        raise TypeError(
            "an argument of a compiled function must be an array, a node, a list of numbers, or a constant such as a "
            f"number or a string, and not a {type(x).__name__}: pass the arrays in it one by one"
        ) from None
    return of_value(x)


def of_value(x: Any, depth: int = 3) -> Hashable:
    """A key of any value: values with equal keys give the same program (types, bits of numbers, and parts agree)."""
    kind = type(x)
    if kind in PLAIN:
        return kind, x
    if kind is float or kind is complex:
        return kind, struct.pack("<dd", x.real, x.imag)
    if isinstance(x, np.generic):
        return kind, x.tobytes()
    if kind is np.ndarray:
        return of_array(x)
    if isinstance(x, TensorNode):
        return id(x), x.requires_grad, of_array(x.value)
    if isinstance(x, Module | Optimizer):
        nodes = x.parameters() if isinstance(x, Module) else []
        owned = [vars(m).values() for _, m in x.named_modules()] if isinstance(x, Module) else []
        arrays = [*(node.value for node in nodes), *(a for own in owned for a in own if isinstance(a, np.ndarray))]
        return of_state([x]), tuple(map(of_array, arrays))
    if isinstance(x, slice):
        return kind, *(of_value(part, depth) for part in (x.start, x.stop, x.step))
    if isinstance(x, list | tuple | dict | set | frozenset) and depth and len(x) <= PARTS:
        parts = x.items() if isinstance(x, dict) else x
        found = (of_value(part, depth - (kind is not tuple)) for part in parts)
        return kind, frozenset(found) if isinstance(x, set | frozenset) else tuple(found)
    known: Hashable = x if kind.__hash__ is not None and not isinstance(x, list | tuple | dict | set) else id(x)
    own = getattr(x, "__dict__", None)
    if not depth or not own or callable(x) or isinstance(x, types.ModuleType) or len(own) > PARTS:
        return kind, known
    return kind, known, tuple((name, of_value(part, depth - 1)) for name, part in own.items())


def of_array(x: Array) -> Hashable:
    """The key of an array: its identity and its numbers, of a large array a sample."""
    if x.dtype.hasobject:
        return id(x), x.shape
    few = x.tobytes() if x.nbytes <= WHOLE else x.flat[:: x.size // SAMPLE].tobytes()
    return id(x), x.shape, x.dtype.str, few


def of_state(state: Sequence[Any]) -> tuple[Any, ...]:
    """The key of the state: shapes, modes, parts, and all numbers except learning rates and step counts."""
    found: list[Any] = []
    owners, seen = list(state), set(map(id, state))
    for owner in owners:  # the loop appends to it
        if isinstance(owner, TensorNode):
            found.append((id(owner), owner.value.shape, owner.value.dtype, owner.requires_grad))
            continue
        of_optimizer = isinstance(owner, Optimizer)
        if of_optimizer or isinstance(owner, Module):
            items: Any = vars(owner).items()
        elif isinstance(owner, dict):
            found += owner
            items = owner.items()
        else:
            items = list(enumerate(owner))
        found.append(len(items))
        for key, value in items:
            kind = type(value)
            if of_optimizer and key in CHANGING:
                found.append(isinstance(value, np.ndarray))
            elif kind in PLAIN or kind is float:
                found += kind, value if value or kind is not float else str(value)  # which tells 0.0 from -0.0
            elif isinstance(value, TensorNode):
                found.append((id(value), value.value.shape, value.value.dtype, value.requires_grad))
            elif isinstance(value, np.ndarray):
                found.append((value.shape, value.dtype))
            elif isinstance(value, np.generic):
                found += kind, value or str(value)
            else:
                found.append(id(value))
                searched = isinstance(value, list | tuple | dict) and len(value) <= PARTS
                if id(value) not in seen and (isinstance(value, Module) or searched):
                    seen.add(id(value))
                    owners.append(value)
    return tuple(found)


class Outside:
    """The values that a function reads from outside: globals, closure variables, defaults, its object's attributes.

    The functions that it calls count too, unless they belong to a library. Objects in the listed state are left out.
    """

    def __init__(self, function: Callable[..., Any], state: Sequence[Any]) -> None:
        self.listed = {id(part) for part in state}
        self.volatile: set[int] = set()  # the places that the function itself changes
        self._places: list[tuple[Any, Any]] = []
        self._seen: set[int] = set()
        self._look(function)
        for part in state:
            self._look(part)

    def now(self) -> tuple[Hashable, ...]:
        """A key of the present values."""
        return tuple(
            None if i in self.volatile else self._key(_read(holder, name))
            for i, (holder, name) in enumerate(self._places)
        )

    def leave_out(self, before: tuple[Hashable, ...]) -> None:
        """From now on ignore the places that changed while the function was traced, such as a count of its calls."""
        self.volatile |= {i for i, (x, y) in enumerate(zip(before, self.now(), strict=True)) if x != y}

    def _key(self, value: Any) -> Hashable:
        return id(value) if id(value) in self.listed else of_value(value)

    def _look(self, x: Any) -> None:
        """Record the names that a function uses, and search the functions among their values."""
        if id(x) in self._seen or len(self._seen) > FUNCTIONS:
            return
        self._seen.add(id(x))
        if isinstance(x, Module):
            self.listed |= {id(x), *map(id, x.parameters())} if id(x) in self.listed else set()
            for _, module in x.named_modules():
                self.listed |= {id(module)} if id(x) in self.listed else set()
                self._look(type(module).forward)
            return
        if isinstance(x, functools.partial):
            self._note(vars(x) | {"args": x.args, "keywords": x.keywords}, ("args", "keywords"))
            self._look(x.func)
            return
        owner = getattr(x, "__self__", None)
        if isinstance(owner, Module):
            self._look(owner)
        elif hasattr(owner, "__dict__") and not (
            isinstance(owner, type | types.ModuleType) or _of_library(type(owner))
        ):
            self._note(vars(owner), vars(owner))
        function = getattr(x, "__func__", getattr(x, "function", x))
        if function is not x:
            self._look(function)
            return
        if not isinstance(x, types.FunctionType) or _of_library(x):
            return
        for defaults in (dict(enumerate(x.__defaults__ or ())), x.__kwdefaults__ or {}):
            self._note(defaults, defaults)
        self._note(x.__globals__, [name for name in _names(x.__code__) if name in x.__globals__])
        for cell in x.__closure__ or ():
            self._note(cell, ("cell_contents",))

    def _note(self, holder: Any, names: Any) -> None:
        for name in names:
            value = _read(holder, name)
            if isinstance(value, types.ModuleType) or (isinstance(value, type) and _of_library(value)):
                continue
            self._places.append((holder, name))
            self._look(value)


def _read(holder: Any, name: Any) -> Any:
    """The value of a name in a holder, ``None`` if it has none."""
    return holder.get(name) if isinstance(holder, dict) else getattr(holder, name, None)


def _names(code: types.CodeType) -> Iterator[str]:
    """The names that a function, and the functions nested in it, may look up as globals."""
    yield from dict.fromkeys(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _of_library(x: Any) -> bool:
    top = (x.__module__ or "").partition(".")[0]
    return top in ("vugrad", "numpy") or (top in sys.stdlib_module_names and top != "__main__")
