"""The loops' interpreter: what statements and expressions mean, one after the other; the lanes are a NumPy axis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vugrad.compiler.arrays.interpret import UFUNCS
from vugrad.compiler.loops.index import Div, Index, Indirect, Mod, Var
from vugrad.compiler.loops.program import (
    AcrossLanes,
    BlockLoop,
    Buffer,
    Call,
    Condition,
    Constant,
    Define,
    Expression,
    Guard,
    Load,
    Loop,
    LoopProgram,
    Position,
    Read,
    Statement,
    Store,
    Update,
)

Array = Any
COMBINE = {"sum": np.add, "maximum": np.maximum, "minimum": np.minimum}


def interpret(program: LoopProgram, arrays: Mapping[Buffer, Array]) -> None:
    """Run a program on flat arrays for the buffers that are not its own; outputs and state are written in place."""
    memory = dict(arrays)
    for buffer in program.buffers:
        if buffer.role == "temporary":
            memory[buffer] = np.zeros(buffer.size, buffer.dtype)
        elif buffer.role == "constant":
            memory[buffer] = np.ravel(buffer.value)
    with np.errstate(all="ignore"):
        for stage in program.stages:
            for thread in range(program.threads):
                own = {b: np.zeros(b.size, b.dtype) for b in program.buffers if b.role == "scratch"}
                run = _Run(memory | own, {stage.thread: thread})
                for part in stage.parts:
                    if isinstance(part, BlockLoop):
                        for block in run.range(part.var, part.lower, part.upper):
                            run.values[part.var] = block
                            for kernel in part.kernels:
                                run.body(kernel.body)
                    else:
                        run.body(part.body)


class _Run:
    def __init__(self, memory: dict[Buffer, Array], values: dict[Var, Any]) -> None:
        self.memory, self.values = memory, values
        self.locals: dict[Any, Array] = {}
        self.lanes: tuple[int, ...] = ()
        self.mask: Array = np.True_

    def range(self, var: Var, lower: tuple[Index, ...], upper: tuple[Index, ...]) -> range:
        """The turns of a loop."""
        return range(max([0, *map(self.index, lower)]), min([var.extent, *map(self.index, upper)]))

    def body(self, body: list[Statement]) -> None:
        """Run statements."""
        for x in body:
            match x:
                case Loop(kind="lanes"):
                    self.values[x.var], self.lanes = np.arange(x.var.extent), (x.var.extent,)
                    self.body(x.body)
                    self.lanes = ()
                case Loop():
                    for i in self.range(x.var, x.lower, x.upper):
                        self.values[x.var] = i
                        self.body(x.body)
                case Define() | Update():
                    key = (x.local, *map(self.index, x.at))
                    value = self.element(x.value)
                    if isinstance(x.value, Constant) and isinstance(x, Define):  # an accumulator has one for each lane
                        value = np.full(self.lanes, value)
                    if isinstance(x, Update) and x.how != "set":
                        value = COMBINE[x.how](self.locals[key], value)
                    self.locals[key] = np.asarray(value).astype(x.value.dtype)
                case Store():
                    self.store(x)

    def store(self, x: Store) -> None:
        """Write where the conditions hold."""
        before, self.mask = self.mask, self.mask & self.holds(x.conditions)
        if np.any(self.mask):
            at, value, mask = np.broadcast_arrays(self.index(x.index), self.element(x.value), self.mask)
            memory = self.memory[x.buffer]
            memory[at[mask]] = memory[at[mask]] + value[mask] if x.add else value[mask]
        self.mask = before

    def holds(self, conditions: tuple[Condition, ...]) -> Array:
        """In which lanes all conditions hold."""
        result: Array = np.True_
        for c in conditions:
            value = self.index(c.index)
            result = result & (np.equal(value, 0) if c.zero else np.greater_equal(value, 0))
        return result

    def element(self, x: Expression) -> Array:
        """The value of an expression, one number or one for each lane."""
        match x:
            case Constant():
                return x.dtype.type(x.value)
            case Position():
                return np.asarray(self.index(x.index)).astype(x.dtype)
            case Load():
                at, mask = np.broadcast_arrays(self.index(x.index), self.mask)
                return self.memory[x.buffer][np.where(mask, at, 0)] if mask.any() else np.zeros(at.shape, x.dtype)
            case Call():
                xs = [self.element(part) for part in x.arguments]
                if x.function == "cast":
                    return np.asarray(xs[0]).astype(x.dtype)
                return np.asarray((UFUNCS.get(x.function) or getattr(np, x.function))(*xs)).astype(x.dtype)
            case Read():
                return self.locals[(x.local, *map(self.index, x.at))]
            case AcrossLanes():
                return COMBINE[x.how].reduce(np.atleast_1d(self.element(x.of)), dtype=x.dtype)
            case Guard():
                return self.guard(x)
        raise TypeError(f"{type(x).__name__} is no expression of a kernel")

    def guard(self, x: Guard) -> Array:
        """Each side only in the lanes in which it is taken."""
        holds, before = self.holds(x.conditions), self.mask
        self.mask = before & holds
        then = self.element(x.then) if np.any(self.mask) else x.dtype.type(0)
        self.mask = before & ~holds
        otherwise = self.element(x.otherwise) if np.any(self.mask) else x.dtype.type(0)
        self.mask = before
        return np.where(holds, then, otherwise)

    def index(self, index: Index) -> Any:
        """The value of an index."""
        total: Any = index.constant
        for atom, c in index.terms.items():
            total = total + c * self.atom(atom)
        return total

    def atom(self, atom: Var | Div | Mod | Indirect) -> Any:
        """The value of one atom."""
        if isinstance(atom, Var):
            return self.values[atom]
        if isinstance(atom, Div):
            return self.index(atom.index) // atom.k
        if isinstance(atom, Mod):
            return self.index(atom.index) % atom.k
        position = np.asarray(self.element(atom.at)).astype(np.int64)
        if atom.extent is None:
            return position
        return np.clip(np.where(position < 0, position + atom.extent, position), 0, max(atom.extent - 1, 0))
