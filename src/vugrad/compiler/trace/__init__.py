"""Trace a Python function into an array program, by running it on tracers.

``state`` lists the objects that the function changes: modules, optimizers, nodes. While the function runs, tracers
replace their arrays, learning rates and step counts; the tracers that are in these places afterwards are what the
program writes back.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vugrad.compiler.arrays import Output, Program, simplify, verify
from vugrad.compiler.arrays.passes import live
from vugrad.compiler.arrays.program import SHORT
from vugrad.compiler.trace import answers as answers, checks
from vugrad.compiler.trace.standin import CannotCompileError, Traced, constant_value
from vugrad.graph import OpNode, TensorNode
from vugrad.graph.backward import thread
from vugrad.nn import Module
from vugrad.optim import Optimizer

Array = Any


@dataclass
class Slot:
    """One place in the state that holds an array or a number: its name, getter, setter, and its node, if it has one."""

    name: str
    get: Callable[[], Any]
    set: Callable[[Any], None]
    node: TensorNode | None = None

    @property
    def scalar(self) -> bool:
        """Whether it holds a Python number."""
        return isinstance(self.get(), int | float | np.number)


class _Thread(threading.local):
    on = False


#: ``tracing.on``: whether this thread is tracing a function.
tracing = _Thread()


def slots(state: Any) -> list[Slot]:
    """Every array and every changing number of the listed objects."""
    found: dict[int, Slot] = {}
    nodes: dict[int, str] = {}

    def add_node(name: str, node: TensorNode) -> None:
        if id(node) not in nodes:
            nodes[id(node)] = name
            found[id(node)] = Slot(name, lambda: node.value, lambda value: setattr(node, "value", value), node)

    def add_item(name: str, holder: Any, key: Any) -> None:
        found[id(holder), key] = Slot(  # type: ignore[index]
            name, lambda: holder[key], lambda value: holder.__setitem__(key, value)
        )

    def add_member(path: str, holder: Any, key: Any, value: Any) -> None:
        if isinstance(value, TensorNode):
            if value.source is None:
                add_node(path, value)
        elif isinstance(value, np.ndarray):
            if not isinstance(holder, tuple):  # no tracer can be put into a tuple
                add_item(path, holder, key)
        elif isinstance(value, list | tuple | dict) and not isinstance(value, Module):
            for inner, part in value.items() if isinstance(value, dict) else enumerate(value):
                add_member(f"{path}.{inner}", value, inner, part)

    for i, part in enumerate(state):
        label = type(part).__name__.lower() if len(state) > 1 else ""
        if isinstance(part, Module):
            for path, module in part.named_modules():
                for key, value in vars(module).items():
                    if not isinstance(value, Module):
                        add_member(f"{path}.{key}".lstrip("."), vars(module), key, value)
            for j, node in enumerate(part.parameters()):
                add_node(node.name or f"parameter {j}", node)
        elif isinstance(part, Optimizer):
            part.allocate()
            if isinstance(part.lr, int | np.number):  # whole numbers come and go, and the program is of one dtype
                part.lr = float(part.lr)
            for j, node in enumerate(part.params):
                add_node(node.name or f"params[{j}]", node)
            add_item(f"{label or 'optimizer'}.lr", vars(part), "lr")
            for node, entry in zip(part.params, part.state, strict=True):
                for key in entry:
                    add_item(f"{nodes[id(node)]}.{key}", entry, key)
        elif isinstance(part, TensorNode):
            add_node(part.name or f"state[{i}]", part)
        else:
            raise TypeError(
                f"state[{i}] is a {type(part).__name__}: list modules, optimizers and TensorNodes, the objects whose "
                "arrays the function changes"
            )
    unique: dict[str, Slot] = {}
    for slot in found.values():
        name, n = slot.name, 1
        while name in unique:
            n += 1
            name = f"{slot.name}#{n}"
        slot.name = name
        unique[name] = slot
    return list(unique.values())


@dataclass
class Trace:
    """The result of tracing: the program and its hash, the state's slots, and the structure of the function's result.

    ``gradients`` holds the names of nodes whose gradient the function changes: ``True`` if it computes one, ``False``
    if it clears it. ``reads`` holds the names of nodes to whose earlier gradient it adds: these must have none at a
    call.
    """

    program: Program
    fingerprint: str
    slots: list[Slot]
    result: Any
    gradients: dict[str, bool] = field(default_factory=dict)
    reads: frozenset[str] = frozenset()

    def rates(self) -> list[str]:
        """The names of the slots that hold the optimizers' learning rates."""
        return [slot.name for slot in self.slots if slot.name.endswith(".lr") and slot.scalar]

    def changes_state(self) -> bool:
        """Whether the program writes into its state."""
        return any(output.into is not None for output in self.program.outputs)

    @functools.cached_property
    def differentiable(self) -> list[str]:
        """The names of the outputs that are nodes with ``requires_grad``, in the order of the result."""
        return [hole.name for hole in _holes(self.result) if hole.requires_grad]

    @functools.cached_property
    def nodes(self) -> list[TensorNode]:
        """The nodes of the state with ``requires_grad``."""
        return [slot.node for slot in self.slots if slot.node is not None and slot.node.requires_grad]

    def rebuild(self, outputs: Mapping[str, Array | TensorNode]) -> Any:
        """The function's result, with the given outputs (arrays or nodes) in their places."""
        return _rebuilt(self.result, outputs)

    def picked(self, result: Any) -> list[TensorNode]:
        """The nodes in an eager result of the function, at the places of :attr:`differentiable`."""
        found: dict[str, TensorNode] = {}
        _pick(self.result, result, found)
        return [found[name] for name in self.differentiable]

    def fixed(self) -> dict[str, Any]:
        """What the result holds that is no output, but the same at every call; by name, as outputs have one."""
        return dict(_fixed(self.result, "result"))


@dataclass(frozen=True)
class _Hole:
    """In a result, where an output goes."""

    name: str
    node: bool
    requires_grad: bool


def trace(
    function: Callable[..., Any], arguments: tuple[Any, ...], state: tuple[Any, ...] = (), origins: bool = False
) -> Trace:
    """Run ``function`` once on tracers in place of its array arguments and the state.

    With ``origins``, the program says of each result which op, or which line, it comes from.

    Raises :class:`CannotCompileError` for what cannot be recorded, and for a parameter that is used but not listed. The
    state is afterwards as it was before.

    >>> import numpy as np
    >>> print(trace(lambda x: (2 * x).sum(), (np.ones(3, np.float32),)).program)
    %0: f32[3] = input(name=argument 0, kind=argument)
    %1: f32[] = constant(value=2.0)
    %2: f32[3] = mul(%1, %0)
    %3: f32[] = sum(%2, axes=(0,))
    return result=%3
    """
    program = Program(origins={} if origins else None)
    with _untouched(function, state):
        traced = _traced(program, function, arguments, state)
    recorded, constants = weakref.ref(program), list(map(weakref.ref, checks.constants(program)))
    del program  # so that what is left of it is what others hold
    checks.check_constants(constants, traced.program)
    checks.check_kept(recorded)
    return traced


def _traced(
    program: Program, function: Callable[..., Any], arguments: tuple[Any, ...], state: tuple[Any, ...]
) -> Trace:
    places = slots(state)
    before = [slot.get() for slot in places]
    checks.check_apart([(slot.name, value) for slot, value in zip(places, before, strict=True)])
    listed = {slot.name: slot.node for slot in places if slot.node is not None}
    gradients = [(node, node._grad, node._owned) for node in listed.values()]
    kind, outer = thread.kind, tracing.on
    try:
        thread.kind, tracing.on = OpNode, True  # record gradients even if the first call is under no_grad
        for slot, value in zip(places, before, strict=True):
            slot.set(_stand_in(program, slot.name, "scalar" if slot.scalar else "state", value))
        stand_ins = [_argument(program, i, x) for i, x in enumerate(arguments)]
        given = {f"argument {i}": x for i, x in enumerate(stand_ins) if isinstance(x, TensorNode)}
        earlier = {}
        for name, node in (listed | given).items():  # set aside the gradients that an earlier call may have left
            node._grad, node._owned = None, True
            if node.requires_grad:
                node._grad = answers.filled(node.value, -0.0)  # the neutral element of a sum, even for -0.0
                earlier[name] = node._grad
        holes = _with_holes(function(*stand_ins), program, "result")
        for slot, value in zip(places, before, strict=True):
            _write_back(program, slot, value)
        inputs = program.inputs()
        program.outputs = [o for o in program.outputs if o.into is None or o.number != inputs[o.into]]
        left, reads = _left(program, listed, listed | given, earlier)
    finally:
        thread.kind, tracing.on = kind, outer
        for slot, value in zip(places, before, strict=True):
            slot.set(value)
        for node, gradient, owned in gradients:
            node._grad, node._owned = gradient, owned
    short = simplify(program)
    verify(short)
    return Trace(short, _fingerprint(short), places, holes, left, reads)


def _fingerprint(program: Program) -> str:
    """A hash of everything in a program."""
    total = hashlib.sha256()
    for x in program.instructions:
        parameters = [
            (key, value.tobytes() if isinstance(value, np.ndarray) else repr(value))
            for key, value in x.parameters.items()
        ]
        total.update(repr((x.primitive, x.operands, parameters, x.shape, str(x.dtype))).encode())
    total.update(repr(program.outputs).encode())
    return total.hexdigest()


@contextlib.contextmanager
def _untouched(function: Callable[..., Any], state: tuple[Any, ...]) -> Iterator[None]:
    """Put back what the function changes in objects that it refers to but does not list, and raise if it does."""
    listed = {id(module) for part in state if isinstance(part, Module) for _, module in part.named_modules()}
    listed |= set(map(id, state))
    others = [x for x in surroundings(function) if isinstance(x, Module | Optimizer) and id(x) not in listed]
    places = slots(tuple(others))
    values = [slot.get() for slot in places]
    gradients = [(node, node._grad, node._owned) for part in others for node in _nodes_of(part)]
    changed: list[str] = []
    try:
        yield
    finally:
        for slot, value in zip(places, values, strict=True):
            if slot.get() is not value:
                changed.append(slot.name)
                slot.set(value)
        for node, gradient, owned in gradients:
            if node._grad is not gradient and node._grad is not None:
                changed.append(f"the gradient of {node.name or 'a parameter'}")
            node._grad, node._owned = gradient, owned
    if changed:
        raise CannotCompileError(
            f"the function changes {changed[0]} of a module or an optimizer that is not in its state: list it, as in "
            "vg.compile(f, state=[model, optimizer]); a model that is exported changes nothing"
        )


def surroundings(function: Any) -> list[Any]:
    """The objects that a function refers to: globals, closure variables, defaults, and parts of its method's object."""
    code = getattr(function, "__code__", None)
    names = code.co_names if code is not None else ()
    values = [function.__globals__.get(name) for name in names]
    for cell in getattr(function, "__closure__", None) or ():
        with contextlib.suppress(ValueError):  # a variable that has no value yet
            values.append(cell.cell_contents)
    values += (getattr(function, "__defaults__", None) or ()) + tuple(
        (getattr(function, "__kwdefaults__", None) or {}).values()
    )
    owner = getattr(function, "__self__", function)
    return values + (
        [owner] if isinstance(owner, Module) else list(vars(owner).values()) if hasattr(owner, "__dict__") else []
    )


def _nodes_of(part: Any) -> Iterator[TensorNode]:
    if isinstance(part, Module):
        yield from part.parameters()
    elif isinstance(part, Optimizer):
        yield from part.params
    else:
        yield part


def _stand_in(program: Program, name: str, kind: str, value: Any) -> Traced:
    array = np.asarray(value)
    if array.dtype not in SHORT:
        raise CannotCompileError(
            f"{name} is {array.dtype}, which cannot be compiled: use float32, float64 or whole numbers"
        )
    number = program.add("input", name=name, kind=kind, shape=array.shape, dtype=array.dtype)
    return Traced(program, number, weak=kind == "scalar")


def _argument(program: Program, i: int, x: Any) -> Any:
    """A tracer in place of an array or of a node's array; any other argument unchanged."""
    value = x.value if isinstance(x, TensorNode) else x
    if not isinstance(value, np.ndarray):
        return x
    stand_in = _stand_in(program, f"argument {i}", "argument", value)
    return TensorNode(stand_in, name=x.name, requires_grad=x.requires_grad) if isinstance(x, TensorNode) else stand_in


def _with_holes(result: Any, program: Program, name: str) -> Any:
    """The result's structure, each array in it made an output of the program."""
    if isinstance(result, list | tuple):
        parts = [_with_holes(part, program, f"{name}[{i}]") for i, part in enumerate(result)]
        return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)
    if isinstance(result, dict):
        return {key: _with_holes(part, program, f"{name}[{key!r}]") for key, part in result.items()}
    value = result.value if isinstance(result, TensorNode) else result
    if isinstance(value, Traced):
        value.check_unchanged()
        program.outputs.append(Output(name, value.number))
        return _Hole(name, isinstance(result, TensorNode), getattr(result, "requires_grad", False))
    return result


def _rebuilt(holes: Any, outputs: Mapping[str, Array | TensorNode]) -> Any:
    if isinstance(holes, _Hole):
        value = outputs[holes.name]
        return TensorNode(value, requires_grad=False) if holes.node and not isinstance(value, TensorNode) else value
    if isinstance(holes, np.ndarray):
        return holes.copy()  # the caller may change it, and the next call returns it again
    if isinstance(holes, list | tuple):
        parts = [_rebuilt(part, outputs) for part in holes]
        return type(holes)(*parts) if hasattr(holes, "_fields") else type(holes)(parts)
    if isinstance(holes, dict):
        return {key: _rebuilt(part, outputs) for key, part in holes.items()}
    return holes


def _holes(result: Any) -> Iterator[_Hole]:
    if isinstance(result, _Hole):
        yield result
    elif isinstance(result, list | tuple | dict):
        for part in result.values() if isinstance(result, dict) else result:
            yield from _holes(part)


def _pick(holes: Any, result: Any, found: dict[str, Any]) -> None:
    if isinstance(holes, _Hole):
        found[holes.name] = result
    elif isinstance(holes, list | tuple | dict):
        for key in holes if isinstance(holes, dict) else range(len(holes)):
            _pick(holes[key], result[key], found)


def _fixed(holes: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(holes, list | tuple | dict):
        for key, part in holes.items() if isinstance(holes, dict) else enumerate(holes):
            yield from _fixed(part, f"{name}[{key!r}]")
    elif not isinstance(holes, _Hole):
        yield name, holes


def _write_back(program: Program, slot: Slot, before: Any) -> None:
    """Make what the function left in a slot an output that goes back there."""
    after, array = constant_value(slot.get()), np.asarray(before)
    if isinstance(after, Traced):
        after.check_unchanged()
        if (after.shape, after.dtype) != (array.shape, array.dtype):
            raise CannotCompileError(
                f"the function leaves {after.dtype} of shape {after.shape} in {slot.name}, which was {array.dtype} of "
                f"shape {array.shape}: what a compiled function writes back has the same shape and dtype"
            )
        number = after.number
    elif (
        isinstance(after, np.ndarray | int | float) and not isinstance(before, np.ndarray) and slot.name.endswith(".lr")
    ):
        raise CannotCompileError(
            f"the function sets {slot.name} to the number {after}, which would be the same at every call: step the "
            "schedule outside of it, after each call"
        )
    else:
        number = program.add("constant", value=np.asarray(after, array.dtype))
    program.outputs.append(Output(slot.name, number, into=slot.name))


def _left(
    program: Program, listed: Mapping[str, TensorNode], nodes: Mapping[str, TensorNode], earlier: Mapping[str, Traced]
) -> tuple[dict[str, bool], frozenset[str]]:
    """The ``gradients`` and ``reads`` of a :class:`Trace`.

    Raises if a gradient of the state accumulates from one call to the next.
    """
    needed = live(program)
    reads = frozenset(name for name, gradient in earlier.items() if gradient.number in needed)
    for name in listed:
        if name in reads and listed[name]._grad is not None:
            raise CannotCompileError(
                f"the gradient of {listed[name].name or 'a parameter'} is added to that of the call before, which a "
                "compiled function does not keep: call optimizer.zero_grad() at its beginning or its end"
            )
    left = {name: nodes[name]._grad for name, gradient in earlier.items() if nodes[name]._grad is not gradient}
    return {name: gradient is not None for name, gradient in left.items()}, reads
