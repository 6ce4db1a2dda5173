"""The keys of compiled plans: what a plan assumes of the arguments, of the state, and of values from outside.

Some objects are compared by identity, which Python gives to another object when one is freed. So a plan holds them: the
functions below append them to ``held``, a list.
"""

from __future__ import annotations

import dis
import functools
import inspect
import struct
import sys
import types
import warnings
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import numpy as np

from vugrad.graph import TensorNode
from vugrad.nn import Module
from vugrad.optim import Optimizer

Array = Any
#: A name, and the attributes that are read from it.
Path = tuple[str, ...]

#: Types of the state, and of its parts.
STATE = (Module, Optimizer, TensorNode)
#: Attributes of an optimizer that may change without a new plan.
CHANGING = {"lr", "initial_lr", "state"}
#: Types whose values are their own key.
PLAIN = {bool, int, str, bytes, type(None)}
#: A container of more parts is compared by identity: comparing its parts at every call would take too long.
PARTS = 1000
#: An array of more than ``WHOLE`` bytes is compared by about ``SAMPLE`` of its elements.
WHOLE, SAMPLE = 4096, 64
#: The most functions that are searched for the variables that they read. Their values are compared at every call, which
#: takes about 1 µs for each variable.
MOST_FUNCTIONS = 1000
#: The instructions that read a variable.
LOADS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_FAST")
GLOBAL_LOADS = LOADS[:2]


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


def of_value(x: Any, depth: int = 3, attributes: bool = True, held: list[Any] | None = None) -> Hashable:
    """A key of any value: the types, the bits of numbers and the parts of values with equal keys agree.

    An array of more than :data:`WHOLE` bytes is compared by a sample, and a container that is nested deeper than
    ``depth``, or has more than :data:`PARTS` parts, by identity; without ``attributes``, an object too.
    """
    kind = type(x)
    if kind in PLAIN:
        return kind, x
    if kind is float or kind is complex:
        return kind, struct.pack("<dd", x.real, x.imag)
    if isinstance(x, np.generic):
        return kind, x.tobytes()
    if kind is np.ndarray:
        return of_array(x, held)
    if isinstance(x, TensorNode):
        return identity(x, held), x.requires_grad, of_array(x.value, held)
    if isinstance(x, Module | Optimizer):
        nodes = x.parameters() if isinstance(x, Module) else []
        owned = [vars(m).values() for _, m in x.named_modules()] if isinstance(x, Module) else []
        arrays = [*(node.value for node in nodes), *(a for own in owned for a in own if isinstance(a, np.ndarray))]
        return of_state([x], held), tuple(of_array(array, held) for array in arrays)
    if isinstance(x, slice):
        return kind, *(of_value(part, depth, attributes, held) for part in (x.start, x.stop, x.step))
    if isinstance(x, list | tuple | dict | set | frozenset) and depth and len(x) <= PARTS:
        parts = x.items() if isinstance(x, dict) else x
        found = (of_value(part, depth - (kind is not tuple), attributes, held) for part in parts)
        return kind, frozenset(found) if isinstance(x, set | frozenset) else tuple(found)
    hashable = kind.__hash__ is not None and not isinstance(x, list | tuple | dict | set)
    known: Hashable = x if hashable else identity(x, held)
    own = getattr(x, "__dict__", None)
    if not attributes or not depth or not own or callable(x) or isinstance(x, types.ModuleType) or len(own) > PARTS:
        return kind, known
    return kind, known, tuple((name, of_value(part, depth - 1, held=held)) for name, part in own.items())


def identity(x: Any, held: list[Any] | None) -> int:
    """The identity of an object."""
    if held is not None:
        held.append(x)
    return id(x)


def of_array(x: Array, held: list[Any] | None = None) -> Hashable:
    """The key of an array: its identity and its numbers, of a large array a sample."""
    if x.dtype.hasobject:
        return identity(x, held), x.shape
    few = x.tobytes() if x.nbytes <= WHOLE else x.flat[:: x.size // SAMPLE].tobytes()
    return identity(x, held), x.shape, x.dtype.str, few


def of_state(state: Sequence[Any], held: list[Any] | None = None) -> tuple[Any, ...]:
    """The key of the state: its nodes, the shapes and dtypes of arrays, modes, parts and Python's numbers.

    What may change from step to step is not in it: the numbers in arrays, learning rates, an optimizer's state.
    """
    found: list[Any] = []
    owners, seen = list(state), set(map(id, state))
    for owner in owners:  # the loop appends to it
        if isinstance(owner, TensorNode):
            found.append((identity(owner, held), owner.value.shape, owner.value.dtype, owner.requires_grad))
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
                found.append((identity(value, held), value.value.shape, value.value.dtype, value.requires_grad))
            elif isinstance(value, np.ndarray):
                # In a tuple it is a constant.
                found.append(of_array(value, held) if isinstance(owner, tuple) else (value.shape, value.dtype))
            elif isinstance(value, np.generic):
                found += kind, value or str(value)
            else:
                found.append(identity(value, held))
                searched = isinstance(value, list | tuple | dict) and len(value) <= PARTS
                if id(value) not in seen and (isinstance(value, Module) or searched):
                    seen.add(id(value))
                    owners.append(value)
    return tuple(found)


class Outside:
    """The values that a function reads from outside: globals, closure variables, defaults, attributes of its object.

    A place is a name and the attributes that the code reads from it, as in ``config.scale``, so that what stands beside
    them, such as a list of losses, does not count. The functions that it calls count too, unless they belong to a
    library. Objects are compared by identity, as are those in the listed state.
    """

    def __init__(self, function: Callable[..., Any], state: Sequence[Any]) -> None:
        self.listed = {id(part): part for part in state}
        self.volatile: set[int] = set()  # the places that the function itself changes
        self._places: list[tuple[Any, Any, Path]] = []
        self._queue: deque[tuple[Any, Any]] = deque([(function, None), *((part, None) for part in state)])
        self._seen: set[tuple[int, int]] = set()
        while self._queue and len(self._seen) < MOST_FUNCTIONS:
            self._look(*self._queue.popleft())
        if self._queue:
            self._queue.clear()
            name = getattr(function, "__qualname__", "the compiled function")
            warnings.warn(
                f"{name} calls more than {MOST_FUNCTIONS} functions. It is not compiled again when a variable changes "
                "that only the others read: pass it as an argument",
                stacklevel=2,
            )

    def now(self, held: list[Any] | None = None) -> tuple[Hashable, ...]:
        """A key of the present values."""
        return tuple(
            None if i in self.volatile else self._key(_follow(_read(holder, name), path)[0], held)
            for i, (holder, name, path) in enumerate(self._places)
        )

    def leave_out(self, before: tuple[Hashable, ...]) -> None:
        """From now on ignore the places that changed while the function was traced, such as a count of its calls."""
        self.volatile |= {i for i, (x, y) in enumerate(zip(before, self.now(), strict=True)) if x != y}

    def _key(self, value: Any, held: list[Any] | None) -> Hashable:
        return id(value) if id(value) in self.listed else of_value(value, attributes=False, held=held)

    def _look(self, x: Any, owner: Any) -> None:
        """Note the places that a function, or a method of ``owner``, reads, and queue their values."""
        if isinstance(x, types.MethodType):
            x, owner = x.__func__, x.__self__
        of_user = isinstance(x, types.FunctionType) and not _of_library(x)
        compiled = not isinstance(x, type) and hasattr(x, "function")
        if not (of_user or compiled or isinstance(x, (*STATE, type))):
            called = inspect.getattr_static(type(x), "__call__", None)
            if isinstance(called, types.FunctionType) and not _of_library(called):
                x, owner, of_user = called, x, True
        if (id(x), id(owner)) in self._seen or not (of_user or compiled or isinstance(x, Module | functools.partial)):
            return
        self._seen.add((id(x), id(owner)))
        if isinstance(x, Module):
            modules = [module for _, module in x.named_modules()]
            if id(x) in self.listed:
                self.listed |= {id(part): part for part in (*modules, *x.parameters())}
            self._queue += [(type(module).forward, module) for module in modules]
        elif isinstance(x, functools.partial):
            given = {"args": x.args, "keywords": x.keywords}
            for name in given:
                self._note(given, name, ())
            self._queue.append((x.func, None))
        elif of_user:
            self._look_into(x, owner)
        else:
            self._queue.append((x.function, None))

    def _look_into(self, x: types.FunctionType, owner: Any) -> None:
        for defaults in (dict(enumerate(x.__defaults__ or ())), x.__kwdefaults__ or {}):
            for name in defaults:
                self._note(defaults, name, ())
        cells = dict(zip(x.__code__.co_freevars, x.__closure__ or (), strict=False))
        mine = {name: owner for name in x.__code__.co_varnames[:1] if owner is not None}
        for read, (name, *path) in dict.fromkeys(_paths(x.__code__)):
            if read in GLOBAL_LOADS:
                self._note(x.__globals__, name, tuple(path))
            elif name in cells:
                self._note(cells[name], "cell_contents", tuple(path))
            elif name in mine:
                self._note(mine, name, tuple(path))

    def _note(self, holder: Any, name: Any, path: Path) -> None:
        value, method = _follow(_read(holder, name), path)
        if isinstance(value, types.ModuleType) or (isinstance(value, type) and _of_library(value)):
            return
        self._places.append((holder, name, path))
        self._queue.append((value, None))
        if method is not None:
            self._queue.append((method, value))


def _read(holder: Any, name: Any) -> Any:
    """The value of a name in a holder, ``None`` if it has none."""
    return holder.get(name) if isinstance(holder, dict) else getattr(holder, name, None)


def _follow(value: Any, path: Path) -> tuple[Any, Any]:
    """The attribute at the end of a path, as far as it is data; and the function of a class at which that ends."""
    for i, name in enumerate(path):
        own = getattr(value, "__dict__", {})
        if isinstance(value, STATE) and (i == len(path) - 1 or isinstance(own.get(name), (*STATE, np.ndarray))):
            own = {}  # of_state has it
        if name in own:
            value = own[name]
            continue
        found = inspect.getattr_static(type(value), name, None)
        if isinstance(found, types.MemberDescriptorType) and not _of_library(type(value)):  # of __slots__
            value = getattr(value, name, None)
            continue
        function = getattr(found, "fget", getattr(found, "__func__", found))
        if isinstance(function, types.FunctionType):
            return value, function
        if found is None or hasattr(found, "__get__"):
            return value, None
        value = found
    return value, None


def _paths(code: types.CodeType) -> Iterator[tuple[str, Path]]:
    """The variables that a function, and the functions nested in it, read, each with the attributes read from it.

    Each comes with the instruction that reads it: a local variable may have the name of a global one.
    """
    read, path = "", tuple[str, ...]()
    for x in dis.get_instructions(code):
        if x.opname in ("LOAD_ATTR", "LOAD_METHOD") and path:
            path += (x.argval,)
            continue
        if path:
            yield read, path
        name = x.argval[-1] if isinstance(x.argval, tuple) and x.argval else x.argval
        read, path = x.opname, (name,) if x.opname.startswith(LOADS) and isinstance(name, str) else ()
        if isinstance(x.argval, types.CodeType):
            yield from _paths(x.argval)
    if path:
        yield read, path


def _of_library(x: Any) -> bool:
    top = (x.__module__ or "").partition(".")[0]
    return top in ("vugrad", "numpy") or (top in sys.stdlib_module_names and top != "__main__")
