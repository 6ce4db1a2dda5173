"""What a plan takes for granted: of the arguments, of the state, and of what the function finds around it."""

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

#: What changes in an optimizer from call to call without another plan.
CHANGING = {"lr", "initial_lr", "state"}
#: The kinds of what is compared by itself.
PLAIN = {bool, int, str, bytes, type(None)}
#: A container of more parts is not looked into, which would take too long at every call.
PARTS = 1000
#: An array of more bytes is compared by so many of its elements.
WHOLE, SAMPLE = 4096, 64
#: So many functions are looked into for the names that they use.
FUNCTIONS = 100


def of_argument(x: Any) -> Hashable:
    """The key of an argument: an array's shape and dtype; the kind and the bits of what is always the same."""
    if isinstance(x, TensorNode):
        return "node", x.shape, x.dtype.str, x.requires_grad
    if isinstance(x, np.ndarray):
        return x.shape, x.dtype.str
    try:
        hash((x.start, x.stop, x.step) if isinstance(x, slice) else x)
    except TypeError:
        raise TypeError(
            "an argument of a compiled function is an array, a node, a list of numbers, or what is always the same, as "
            f"a number or a text is, and not a {type(x).__name__}: pass the arrays in it one by one"
        ) from None
    return of_value(x)


def of_value(x: Any, depth: int = 3) -> Hashable:
    """A key of any value, which differs where a program could: in the kind and the bits of a number, and in parts."""
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
    """Which array it is, and its numbers; of a large one some of them."""
    if x.dtype.hasobject:
        return id(x), x.shape
    few = x.tobytes() if x.nbytes <= WHOLE else x.flat[:: x.size // SAMPLE].tobytes()
    return id(x), x.shape, x.dtype.str, few


def of_state(state: Sequence[Any]) -> tuple[Any, ...]:
    """What of the state a plan takes for granted: shapes, modes, parts, and all numbers but rates and counts."""
    found: list[Any] = []
    owners, seen = list(state), set(map(id, state))
    for owner in owners:  # which become more
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
    """What a function finds around it: variables of its file and of the functions around it, defaults, its object.

    So do the functions that it calls, if they are not a library's. What is listed as state is left out.
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
        """A key of all that is there now."""
        return tuple(
            None if i in self.volatile else self._key(_read(holder, name))
            for i, (holder, name) in enumerate(self._places)
        )

    def leave_out(self, before: tuple[Hashable, ...]) -> None:
        """Take no more notice of what has changed since, while the function ran, as a count of its calls."""
        self.volatile |= {i for i, (x, y) in enumerate(zip(before, self.now(), strict=True)) if x != y}

    def _key(self, value: Any) -> Hashable:
        return id(value) if id(value) in self.listed else of_value(value)

    def _look(self, x: Any) -> None:
        """Note the names that a function uses, and look into the functions that they mean."""
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
    """What a name stands for, ``None`` if for nothing."""
    return holder.get(name) if isinstance(holder, dict) else getattr(holder, name, None)


def _names(code: types.CodeType) -> Iterator[str]:
    """The names that a function, and those written within it, may look up in their file."""
    yield from dict.fromkeys(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _of_library(x: Any) -> bool:
    top = (x.__module__ or "").partition(".")[0]
    return top in ("vugrad", "numpy") or (top in sys.stdlib_module_names and top != "__main__")
