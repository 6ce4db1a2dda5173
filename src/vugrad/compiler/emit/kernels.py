"""Kernels as LLVM functions: their statements, one after the other, on buffers that the caller points to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from vugrad.compiler.emit import instructions
from vugrad.compiler.emit.expressions import ExpressionWriter, Square
from vugrad.compiler.emit.instructions import extreme
from vugrad.compiler.emit.lines import BOOL, INDEX, Value, in_memory, mangled
from vugrad.compiler.emit.turning import SIDE, to_rows
from vugrad.compiler.loops.index import Index, Var, of
from vugrad.compiler.loops.program import (
    Buffer,
    Call,
    Define,
    Kernel,
    Loop,
    Prefetch,
    Statement,
    Store,
    Update,
)

#: What holds for all functions: vectors are as wide as the kernels ask for, where the machine has them.
ATTRIBUTES = 'nounwind "no-trapping-math"="true" "prefer-vector-width"="512" "min-legal-vector-width"="512"'
#: Of functions that do little but call others. LLVM does not optimise them, which is a part of why a small plan
#: compiles in 22 ms in place of 26.
DRIVER_ATTRIBUTES = "nounwind noinline optnone"


class KernelWriter(ExpressionWriter):
    """Writes statements into a function as it grows."""

    def function(self, name: str, kernel: Kernel) -> str:
        """The text of a kernel's function: it takes a pointer for each of ``pointers``, the thread, and the block."""
        self.updated = kernel.updates()
        self.statements(kernel.body)
        taken = "".join(f"ptr {register}, " for register in self.pointers.values())
        head = [f"define internal void @{name}({taken}i64 %thread, i64 %block) noinline #0 {{", "entry:"]
        head += [f"  {slot} = alloca {kind}" for (_, kind), slot in self.slots.items()]
        return "\n".join([*head, *self.out.lines, "  ret void", "}"])

    def statements(self, body: list[Statement]) -> None:
        """Write statements."""
        for x in body:
            self.statement(x)

    def statement(self, x: Statement) -> None:
        """Write one statement."""
        self.seen = {}
        match x:
            case Loop(kind="lanes"):
                assert self.lane is None, "a loop over lanes within another"
                self.lane = x.var if x.var.extent > 1 else None
                if self.lane is None:
                    self.numbers[x.var] = of(0)
                self.statements(x.body)
                self.lane = None
            case Loop() if x.kind == "unrolled" or (x.var.extent == 1 and not x.lower and not x.upper):
                self.unrolled(x, range(*self.fixed(x)))
            case Loop(kind="turned"):
                low, high = self.fixed(x)
                squares = high - (high - low) % SIDE if self.lane and self.lane.extent % SIDE == 0 else low
                for start in range(low, squares, SIDE):
                    self.square = Square(x.var, start)
                    self.unrolled(x, range(start, start + SIDE))
                    self.write_rows(self.square)
                    self.square = None
                self.unrolled(x, range(squares, high))
            case Loop():
                self.loop(x.var, x.lower, x.upper, lambda: self.statements(x.body))
            case Define():
                value = self.expression(x.value)
                if self.lane and x.local in self.updated:  # with a number that may differ from lane to lane
                    value = self.out.spread(value, self.lane.extent)
                self.define(x.local, x.at, value)
            case Update():
                self.update(x)
            case Store():
                self.store(x)
            case Prefetch():
                index = self.simplified(x.index)
                place = self.first_address(x.buffer, index)
                self.out.declare("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
                self.out.say(f"call void @llvm.prefetch.p0(ptr {place}, i32 0, i32 3, i32 1)")

    def unrolled(self, x: Loop, values: range) -> None:
        """A loop's body for some values of its variable."""
        for i in values:
            self.numbers[x.var] = of(i)
            self.statements(x.body)
        self.numbers.pop(x.var, None)

    def fixed(self, x: Loop) -> tuple[int, int]:
        """The bounds of an unrolled loop, which must be numbers."""
        low = max([0, *(self.simplified(i).number() or 0 for i in x.lower)])
        high = min([x.var.extent, *(self.simplified(i).number() or 0 for i in x.upper)])
        return low, high

    def loop(self, var: Var, lower: Sequence[Index], upper: Sequence[Index], body: Callable[[], None]) -> None:
        """A loop whose body ``body`` writes."""
        out = self.out
        low = self.bound(lower, 0, "llvm.smax.i64")
        high = self.bound(upper, var.extent, "llvm.smin.i64")
        n = self.new_label()
        register, following = f"%i{n}", f"%next{n}"
        before = out.block
        if low.text.startswith("%") or high.text.startswith("%"):
            some = out.emit(f"icmp slt i64 {low.text}, {high.text}")
            out.say(f"br i1 {some}, label %loop{n}, label %after{n}")
        elif int(low.text) < int(high.text):
            out.say(f"br label %loop{n}")
        else:
            return
        self.forget()
        out.label(f"loop{n}")
        out.say(f"{register} = phi i64 [ {low.text}, %{before} ], [ {following}, %latch{n} ]")
        self.scalars[var] = Value(register, INDEX)
        body()
        out.say(f"br label %latch{n}")
        out.label(f"latch{n}")
        out.say(f"{following} = add nuw nsw i64 {register}, 1")
        more = out.emit(f"icmp slt i64 {following}, {high.text}")
        out.say(f"br i1 {more}, label %loop{n}, label %after{n}")
        out.label(f"after{n}")
        self.forget()

    def bound(self, indices: Sequence[Index], limit: int, combine: str) -> Value:
        """The tightest of a loop's bounds."""
        numbers = [limit]
        registers = []
        for index in map(self.simplified, indices):
            n = index.number()
            if n is None:
                registers.append(self.index(index).text)
            else:
                numbers.append(n)
        tightest = max(numbers) if combine.endswith("max.i64") else min(numbers)
        text = str(tightest)
        for register in registers:
            text = self.out.call(combine, "i64", f"i64 {register}", f"i64 {text}")
        return Value(text, INDEX)

    def update(self, x: Update) -> None:
        """Combine a local with a value; a sum of products by fused multiply-adds."""
        out = self.out
        slot, kind = self.locals[self.key(x.local, x.at)]
        held = Value(out.emit(f"load {kind.type}, ptr {slot}"), kind.dtype, kind.lanes)
        if x.how == "set":
            new = out.spread(self.expression(x.value), kind.lanes)
        elif x.how == "sum" and isinstance(x.value, Call) and x.value.function == "mul" and kind.dtype.kind == "f":
            factors = [out.spread(self.expression(part), kind.lanes) for part in x.value.arguments]
            new = out.intrinsic("fmuladd", *factors, held)
        else:
            value = out.spread(self.expression(x.value), kind.lanes)
            if x.how == "sum":
                new = instructions.call(out, "add", [held, value], kind.dtype)
            else:
                new = extreme(out, {"maximum": "max", "minimum": "min"}[x.how], held, value)
        assert new.lanes == kind.lanes, f"{x.local} of {kind.lanes} lanes is updated with {new.lanes}"
        out.say(f"store {new}, ptr {slot}")

    def store(self, x: Store) -> None:
        """Write to a buffer where the conditions hold."""
        uniform, mask = self.conditions(x.conditions)
        if uniform is False:
            return
        n = self.new_label()
        if uniform is not None:
            self.out.say(f"br i1 {uniform}, label %then{n}, label %join{n}")
            self.out.label(f"then{n}")
        before, self.mask = self.mask, self.masked(mask)
        if mask is not None:
            self.forget()
        index = self.simplified(x.index)
        value = self.expression(x.value)
        if self.square is not None and self.turned(x.index) and not x.conditions and not x.add:
            self.square.written.setdefault(self.place(x.buffer, x.index), []).append(value)
            return
        if x.add:
            value = instructions.call(self.out, "add", [self.load(x.buffer, index), value], x.buffer.dtype)
        self.write(x.buffer, index, value)
        self.mask = before
        self.seen, self.held = {}, {}  # what was loaded may be overwritten now
        if uniform is not None:
            self.out.say(f"br label %join{n}")
            self.out.label(f"join{n}")
            self.forget()

    def write_rows(self, square: Square) -> None:
        """The stores of a turned loop, of four turns together for each lane."""
        assert self.lane is not None
        for place, values in square.written.items():
            columns = [self.to_memory(self.out.spread(value, self.lane.extent)) for value in values]
            for row, address in zip(to_rows(self.out, columns), self.row_addresses(place), strict=True):
                self.out.say(f"store {row}, ptr {address}, align {place[0].dtype.itemsize}")

    def to_memory(self, value: Value) -> Value:
        """A bool as a byte; anything else as it is."""
        if value.dtype != BOOL:
            return value
        text = self.out.emit(f"zext {value} to {in_memory(BOOL, value.lanes)}")
        return Value(text, np.dtype(np.int8), value.lanes)

    def write(self, buffer: Buffer, index: Index, value: Value) -> None:
        """The store itself, of one number, of a vector, or lane by lane."""
        out, value = self.out, self.to_memory(value)
        step = index.coefficient(self.lane) if self.lane else 0
        if step == 0:
            if value.lanes:  # the same in all lanes, as the verifier knows
                value = Value(out.emit(f"extractelement {value}, i64 0"), value.dtype)
            out.say(f"store {value}, ptr {self.address(buffer, index)}, align {buffer.dtype.itemsize}")
            return
        lanes = self.lane.extent if self.lane else 0
        value = out.spread(value, lanes)
        if step == 1:
            place = self.first_address(buffer, index)
            if self.mask is None:
                out.say(f"store {value}, ptr {place}, align {buffer.dtype.itemsize}")
            else:
                self.intrinsic_store(
                    f"llvm.masked.store.{mangled(value.dtype, lanes)}.p0", value, f"ptr {place}", buffer
                )
        else:
            places = self.addresses(buffer, index)
            name = f"llvm.masked.scatter.{mangled(value.dtype, lanes)}.v{lanes}p0"
            self.intrinsic_store(name, value, f"<{lanes} x ptr> {places}", buffer)

    def intrinsic_store(self, name: str, value: Value, place: str, buffer: Buffer) -> None:
        """A masked store or scatter."""
        mask = self.mask or self.out.constant(True, BOOL, value.lanes)
        kind = place.rpartition(" ")[0]
        self.out.declare(f"declare void @{name}({value.type}, {kind}, i32 immarg, {mask.type})")
        self.out.say(f"call void @{name}({value}, {place}, i32 {buffer.dtype.itemsize}, {mask})")
