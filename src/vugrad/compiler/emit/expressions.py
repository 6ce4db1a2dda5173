"""Expressions of kernels as LLVM instructions: numbers, vectors, loads, and where in memory they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from vugrad.compiler.emit import instructions
from vugrad.compiler.emit.instructions import extreme
from vugrad.compiler.emit.lines import BOOL, INDEX, Lines, Value, in_memory, literal, mangled, typed
from vugrad.compiler.emit.turning import SIDE, from_rows
from vugrad.compiler.loops.index import Div, Index, Indirect, Mod, Var, of
from vugrad.compiler.loops.program import (
    AcrossLanes,
    Buffer,
    Call,
    Condition,
    Constant,
    Expression,
    Guard,
    Load,
    Position,
    Read,
)


@dataclass
class Square:
    """Four turns of a turned loop, from ``start``: what was read for all of them, and what they will have written."""

    var: Var
    start: int
    read: dict[Place, list[Value]] = field(default_factory=dict)
    written: dict[Place, list[Value]] = field(default_factory=dict)


#: A buffer, an index, and the numbers of the unrolled loops around.
Place = tuple[Buffer, Index, frozenset[tuple[Var, Index]]]


class ExpressionWriter:
    """Writes expressions into a function as it grows.

    Loop variables are registers (``scalars``), numbers where their loop is unrolled (``numbers``), or the lanes.
    """

    def __init__(self, thread: Var, block: Var | None) -> None:
        self.out = Lines()
        self.scalars: dict[Var, Value] = {thread: Value("%thread", INDEX)}
        if block is not None:
            self.scalars[block] = Value("%block", INDEX)
        self.numbers: dict[Var, Index] = {}
        self.lane: Var | None = None
        self.mask: Value | None = None
        self.square: Square | None = None
        self.pointers: dict[Buffer, str] = {}
        self.locals: dict[str, tuple[str, Value]] = {}
        self.slots: dict[tuple[str, str], str] = {}
        self.labels = 0
        self.seen: dict[int, tuple[Expression, Value]] = {}
        self.held: dict[tuple[Buffer, Index], Value] = {}

    def base(self, buffer: Buffer) -> str:
        """The register with a buffer's beginning."""
        if buffer not in self.pointers:
            self.pointers[buffer] = f"%base{len(self.pointers)}"
        return self.pointers[buffer]

    def key(self, name: str, at: tuple[Index, ...]) -> str:
        """The name of a copy of a local."""
        return name + "".join(f".{self.simplified(i).number()}" for i in at)

    def define(self, name: str, at: tuple[Index, ...], value: Value) -> None:
        """Write a local's first value to the stack; an earlier loop may have a local of the name with other lanes."""
        key = self.key(name, at)
        slot = self.slots.setdefault((key, value.type), f"%local{len(self.slots)}")
        self.locals[key] = slot, value
        self.out.say(f"store {value}, ptr {slot}")

    def expression(self, x: Expression) -> Value:
        """Write an expression; what was written before in the same statement is not written again."""
        held = self.seen.get(id(x))
        if held is not None:
            return held[1]
        value = self.fresh(x)
        self.seen[id(x)] = (x, value)
        return value

    def fresh(self, x: Expression) -> Value:
        """Write an expression that was not written before."""
        match x:
            case Constant():
                return self.out.constant(x.value, x.dtype)
            case Position():
                return instructions.call(self.out, "cast", [self.index(self.simplified(x.index))], x.dtype)
            case Load():
                if self.turned(x.index):
                    return self.read_rows(x.buffer, x.index)
                return self.load(x.buffer, self.simplified(x.index))
            case Call():
                return instructions.call(self.out, x.function, [self.expression(part) for part in x.arguments], x.dtype)
            case Read():
                slot, kind = self.locals[self.key(x.local, x.at)]
                return replace(kind, text=self.out.emit(f"load {kind.type}, ptr {slot}"))
            case Guard():
                return self.guard(x)
            case AcrossLanes():
                return self.across(x)
        raise TypeError(f"{type(x).__name__} is no expression of a kernel")

    def across(self, x: AcrossLanes) -> Value:
        """A reduction over the lanes."""
        out, value = self.out, self.expression(x.of)
        if not value.lanes:
            return value
        if x.dtype == BOOL:
            name, start = "or" if x.how == "maximum" else "and", ""
        elif x.dtype.kind == "f":
            name = {"sum": "fadd", "maximum": "fmaximum", "minimum": "fminimum"}[x.how]
            start = f"{typed(x.dtype)} {literal(-0.0, x.dtype)}" if x.how == "sum" else ""
        else:
            sign = "s" if x.dtype.kind == "i" else "u"
            name, start = {"sum": "add", "maximum": f"{sign}max", "minimum": f"{sign}min"}[x.how], ""
        full = f"llvm.vector.reduce.{name}.{mangled(x.dtype, value.lanes)}"
        kinds = [*([start.split()[0]] if start else []), value.type]
        out.declare(f"declare {typed(x.dtype)} @{full}({', '.join(kinds)})")
        flag = "reassoc " if start else ""
        arguments = ", ".join([*([start] if start else []), str(value)])
        return Value(out.emit(f"call {flag}{typed(x.dtype)} @{full}({arguments})"), x.dtype)

    def guard(self, x: Guard) -> Value:
        """One side or the other: a branch where the condition is the same in all lanes, else masks."""
        uniform, mask = self.conditions(x.conditions)
        if uniform is False:
            return self.expression(x.otherwise)
        if uniform is None:
            return self.chosen(x, mask)
        lanes = self.lane.extent if self.lane else 0
        out, n = self.out, self.new_label()
        out.say(f"br i1 {uniform}, label %then{n}, label %else{n}")
        ends = []
        sides: list[tuple[str, Callable[[], Value]]] = [
            ("then", lambda: self.chosen(x, mask)),
            ("else", lambda: self.expression(x.otherwise)),
        ]
        for name, side in sides:
            self.forget()
            out.label(f"{name}{n}")
            value = out.spread(side(), lanes)
            out.say(f"br label %{name}end{n}")
            out.label(f"{name}end{n}")
            out.say(f"br label %join{n}")
            ends.append(value)
        self.forget()
        out.label(f"join{n}")
        phi = out.emit(f"phi {ends[0].type} [ {ends[0].text}, %thenend{n} ], [ {ends[1].text}, %elseend{n} ]")
        return replace(ends[0], text=phi)

    def chosen(self, x: Guard, mask: Value | None) -> Value:
        """The first side, or in the lanes whose own conditions fail the other."""
        if mask is None:
            return self.expression(x.then)
        opposite = instructions.call(self.out, "not", [mask], BOOL)
        sides = []
        for side, which in ((x.then, mask), (x.otherwise, opposite)):
            before, self.mask = self.mask, self.masked(which)
            self.forget()
            sides.append(self.expression(side))
            self.mask = before
        self.forget()
        return self.out.select(mask, *sides)

    def new_label(self) -> int:
        """A number for new blocks."""
        self.labels += 1
        return self.labels

    def forget(self) -> None:
        """Nothing written before may be used after this: it need not have run, or ran under another mask."""
        self.seen = {}
        self.held = {}
        if self.square is not None:
            self.square.read.clear()

    def masked(self, mask: Value | None) -> Value | None:
        """The lanes' mask in force, with one more."""
        if mask is None or self.mask is None:
            return mask or self.mask
        return self.out.binary("and", self.mask, mask)

    def conditions(self, conditions: tuple[Condition, ...]) -> tuple[str | bool | None, Value | None]:
        """All conditions as one number (``None`` if it surely holds, ``False`` if it does not) and one mask."""
        uniform: Value | None = None
        mask: Value | None = None
        for condition in conditions:
            index = self.simplified(condition.index)
            known = Condition(index, condition.zero).known()
            if known is False:
                return False, None
            if known:
                continue
            value = self.index(index)
            test = self.out.compare("eq" if condition.zero else "sge", value, Value("0", INDEX))
            if test.lanes:
                mask = test if mask is None else self.out.binary("and", mask, test)
            else:
                uniform = test if uniform is None else self.out.binary("and", uniform, test)
        return (None if uniform is None else uniform.text), mask

    # --- memory

    def load(self, buffer: Buffer, index: Index) -> Value:
        """An element for each lane; what was loaded before is still there."""
        key = (buffer, index)
        if key not in self.held:
            self.held[key] = self.loaded(buffer, index)
        return self.held[key]

    def loaded(self, buffer: Buffer, index: Index) -> Value:
        """One load for all lanes, a vector, or a gather."""
        out, lane = self.out, self.lane
        step = index.coefficient(lane) if lane else 0
        dtype = np.dtype(np.int8) if buffer.dtype == BOOL else buffer.dtype
        size = dtype.itemsize
        if step == 0:
            at, (low, high) = self.index(index), index.range()
            if self.mask is not None and not (low >= 0 and high < buffer.size):  # the first one where no lane is
                name = f"llvm.vector.reduce.or.{mangled(BOOL, self.mask.lanes)}"
                at = out.select(Value(out.call(name, "i1", self.mask), BOOL), at, Value("0", INDEX))
            place = out.emit(f"getelementptr {typed(dtype)}, ptr {self.base(buffer)}, i64 {at.text}")
            return self.from_memory(buffer, Value(out.emit(f"load {typed(dtype)}, ptr {place}, align {size}"), dtype))
        assert lane is not None
        lanes = lane.extent
        kind = typed(dtype, lanes)
        zero = out.constant(0, dtype, lanes)
        if step == 1:
            place = self.first_address(buffer, index)
            if self.mask is None:
                text = out.emit(f"load {kind}, ptr {place}, align {size}")
            else:
                name = f"llvm.masked.load.{mangled(dtype, lanes)}.p0"
                out.declare(f"declare {kind} @{name}(ptr, i32 immarg, {self.mask.type}, {kind})")
                text = out.emit(f"call {kind} @{name}(ptr {place}, i32 {size}, {self.mask}, {zero})")
        else:
            mask = self.mask or out.constant(True, BOOL, lanes)
            name = f"llvm.masked.gather.{mangled(dtype, lanes)}.v{lanes}p0"
            out.declare(f"declare {kind} @{name}(<{lanes} x ptr>, i32 immarg, {mask.type}, {kind})")
            places = f"<{lanes} x ptr> {self.addresses(buffer, index)}"
            text = out.emit(f"call {kind} @{name}({places}, i32 {size}, {mask}, {zero})")
        return self.from_memory(buffer, Value(text, dtype, lanes))

    def turned(self, index: Index) -> bool:
        """Whether memory lies along a turned loop here, and not along the lanes."""
        if self.square is None or self.lane is None or self.mask is not None:
            return False
        return index.coefficient(self.square.var) == 1 and index.coefficient(self.lane) not in (0, 1)

    def place(self, buffer: Buffer, index: Index) -> Place:
        """What tells the places in a square from others."""
        assert self.square is not None
        return buffer, index, frozenset(item for item in self.numbers.items() if item[0] != self.square.var)

    def row_addresses(self, place: Place) -> list[str]:
        """Where each lane's four elements begin."""
        assert self.square is not None
        assert self.lane is not None
        buffer, index, numbers = place
        first = index.substitute({self.square.var: of(self.square.start), **dict(numbers)})
        return [self.address(buffer, first.substitute({self.lane: of(i)})) for i in range(self.lane.extent)]

    def read_rows(self, buffer: Buffer, index: Index) -> Value:
        """An element for each lane, of those that a turned loop reads together."""
        out, square = self.out, self.square
        assert square is not None
        place = self.place(buffer, index)
        if place not in square.read:
            dtype = np.dtype(np.int8) if buffer.dtype == BOOL else buffer.dtype
            kind = f"{typed(dtype, SIDE)}"
            rows = [
                Value(out.emit(f"load {kind}, ptr {address}, align {dtype.itemsize}"), dtype, SIDE)
                for address in self.row_addresses(place)
            ]
            square.read[place] = [self.from_memory(buffer, column) for column in from_rows(out, rows)]
        turn = self.numbers[square.var].number()
        assert turn is not None
        return square.read[place][turn - square.start]

    def from_memory(self, buffer: Buffer, value: Value) -> Value:
        """A bool as a bit; anything else as it is."""
        if buffer.dtype != BOOL:
            return value
        return self.out.compare("ne", value, self.out.constant(0, value.dtype, value.lanes))

    def address(self, buffer: Buffer, index: Index) -> str:
        """The address of one element."""
        at = self.index(index)
        kind = in_memory(buffer.dtype)
        return self.out.emit(f"getelementptr {kind}, ptr {self.base(buffer)}, i64 {at.text}")

    def first_address(self, buffer: Buffer, index: Index) -> str:
        """The address of the first lane's element."""
        return self.address(buffer, index.substitute({self.lane: of(0)}) if self.lane else index)

    def addresses(self, buffer: Buffer, index: Index) -> str:
        """The addresses of an element for each lane."""
        assert self.lane is not None
        at = self.out.spread(self.index(index), self.lane.extent)
        return self.out.emit(f"getelementptr {in_memory(buffer.dtype)}, ptr {self.base(buffer)}, {at}")

    def simplified(self, index: Index) -> Index:
        """The index with the numbers of the unrolled loops in it."""
        return index.substitute(self.numbers) if self.numbers else index

    def index(self, index: Index) -> Value:
        """A whole number, or one for each lane."""
        out = self.out
        total: Value | None = None
        for atom, c in index.terms.items():
            value = self.atom(atom)
            if c != 1:
                value = out.binary("mul", value, Value(str(c), INDEX))
            total = value if total is None else out.binary("add", total, value)
        if total is None:
            return Value(str(index.constant), INDEX)
        return out.binary("add", total, Value(str(index.constant), INDEX)) if index.constant else total

    def atom(self, atom: Var | Div | Mod | Indirect) -> Value:
        """The value of one atom."""
        out = self.out
        if isinstance(atom, Var):
            if atom is self.lane or atom == self.lane:
                numbers = ", ".join(f"i64 {i}" for i in range(atom.extent))
                return Value(f"<{numbers}>", INDEX, atom.extent)
            return self.scalars[atom]
        if isinstance(atom, Indirect):
            return self.indirect(atom)
        value, low = self.index(atom.index), atom.index.range()[0]
        lift = -(low // atom.k) * atom.k if low < 0 else 0  # a multiple of k that makes it positive
        if lift:
            value = out.binary("add", value, Value(str(lift), INDEX))
        if isinstance(atom, Mod):
            return out.binary("urem", value, Value(str(atom.k), INDEX))
        value = out.binary("udiv", value, Value(str(atom.k), INDEX))
        return out.binary("sub", value, Value(str(lift // atom.k), INDEX)) if lift else value

    def indirect(self, atom: Indirect) -> Value:
        """A position from a buffer, wrapped and kept within its extent."""
        out = self.out
        value = instructions.call(out, "cast", [self.expression(atom.at)], INDEX)
        if atom.extent is None:
            return value
        zero, n = out.constant(0, INDEX, value.lanes), out.constant(atom.extent, INDEX, value.lanes)
        value = out.select(out.compare("slt", value, zero), out.binary("add", value, n), value)
        value = extreme(out, "max", value, zero)
        return extreme(out, "min", value, out.constant(max(atom.extent - 1, 0), INDEX, value.lanes))
