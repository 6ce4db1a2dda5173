"""From loops to LLVM's intermediate representation, as text. Nothing is decided here: it writes down what is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vugrad.compiler import instructions
from vugrad.compiler.instructions import BOOL, INDEX, Lines, Value, extreme, in_memory, mangled, typed
from vugrad.compiler.loops.index import Div, Index, Indirect, Mod, Var, of
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
    Kernel,
    Load,
    Loop,
    LoopProgram,
    Position,
    Prefetch,
    Read,
    Statement,
    Store,
    Update,
)

#: Vectors as wide as the kernels ask for, where the machine has them.
ATTRIBUTES = '"no-trapping-math"="true" "prefer-vector-width"="512" "min-legal-vector-width"="512" nounwind'
SIGNATURE = "(ptr noalias %table, i64 %thread, i64 %block)"


def emit(program: LoopProgram, offsets: dict[Buffer, int], slots: dict[Buffer, int], scratch: int, profile: bool = False) -> str:
    """The text of a module with one function for each stage, ``stage0(table, thread)`` and so on.

    Args:
        program: the loops.
        offsets: where in the plan's own memory, slot 0 of the table, each of its buffers begins, in bytes; of a
            scratch buffer, where the first thread's begins.
        slots: in which slot of the table of pointers each of the other buffers stands.
        scratch: the bytes of one thread's scratch memory.
        profile: add each kernel's cycles to a counter of its own for each thread, at the table's slot 1.
    """
    texts: list[str] = []
    declared: dict[str, None] = {}
    number = 0
    for i, stage in enumerate(program.stages):
        out = Lines([f"define void @stage{i}(ptr %table, i64 %thread) {ATTRIBUTES} {{"])
        out.label("entry")
        for part in stage.parts:
            kernels = part.kernels if isinstance(part, BlockLoop) else [part]
            names = []
            for kernel in kernels:
                writer = KernelWriter(stage.thread, part.var if isinstance(part, BlockLoop) else None, offsets, slots, scratch)
                texts.append(writer.function(f"kernel{number}", kernel))
                declared.update(writer.out.declared)
                names.append((f"kernel{number}", number))
                number += 1
            writer = KernelWriter(stage.thread, None, offsets, slots, scratch)
            writer.out = out
            writer.calls(part, names, len(list(stage.kernels())), program.threads, profile)
            declared.update(out.declared)
        out.say("ret void")
        out.lines.append("}")
        texts.append("\n".join(out.lines))
    return "\n".join([*declared, *texts])


class KernelWriter:
    """Writes one kernel's function.

    Loop variables are registers (``scalars``), numbers where their loop is unrolled (``numbers``), or the lanes.
    """

    def __init__(self, thread: Var, block: Var | None, offsets: dict[Buffer, int], slots: dict[Buffer, int], scratch: int) -> None:
        self.out = Lines()
        self.offsets, self.slots, self.scratch = offsets, slots, scratch
        self.scalars: dict[Var, Value] = {thread: Value("%thread", INDEX)}
        if block is not None:
            self.scalars[block] = Value("%block", INDEX)
        self.numbers: dict[Var, Index] = {}
        self.lane: Var | None = None
        self.mask: Value | None = None
        self.pointers: dict[Buffer, str] = {}
        self.locals: dict[str, tuple[str, Value]] = {}
        self.labels = 0
        self.seen: dict[int, tuple[Expression, Value]] = {}
        self.held: dict[tuple[Buffer, Index], Value] = {}

    # --- functions

    def function(self, name: str, kernel: Kernel) -> str:
        """The text of the kernel's function; allocations and base pointers stand in its first block."""
        for statement in kernel.body:
            self.statement(statement)
        body = self.out.lines
        head = [f"define internal void @{name}{SIGNATURE} noinline {ATTRIBUTES} {{", "entry:"]
        self.out.lines = []
        for buffer, register in self.pointers.items():
            self.pointer(buffer, register)
        head += self.out.lines
        head += [f"  {slot} = alloca {value.type}" for slot, value in self.locals.values()]
        return "\n".join([*head, "  br label %start", "start:", *body, "  ret void", "}"])

    def calls(
        self, part: Kernel | BlockLoop, names: list[tuple[str, int]], kernels: int, threads: int, profile: bool
    ) -> None:
        """The calls of a stage's part: of one kernel, or of several for each block of the batch."""

        def run(block: str) -> None:
            for name, number in names:
                before = self.cycles() if profile else ""
                self.out.say(f"call void @{name}(ptr %table, i64 %thread, i64 {block})")
                if profile:
                    self.count(before, number, threads)

        if isinstance(part, BlockLoop):
            self.loop(part.var, part.lower, part.upper, lambda: run(self.scalars[part.var].text))
        else:
            run("0")

    def cycles(self) -> str:
        """The cycle counter."""
        return self.out.call("llvm.readcyclecounter", "i64")

    def count(self, before: str, number: int, threads: int) -> None:
        """Add the cycles since ``before`` to the kernel's counter of this thread."""
        out = self.out
        spent = out.emit(f"sub i64 {self.cycles()}, {before}")
        base = out.emit("load ptr, ptr " + out.emit("getelementptr i64, ptr %table, i64 1"))
        at = out.emit(f"add i64 %thread, {number * threads}")
        place = out.emit(f"getelementptr i64, ptr {base}, i64 {at}")
        held = out.emit(f"load i64, ptr {place}")
        out.say(f"store i64 {out.emit(f'add i64 {held}, {spent}')}, ptr {place}")

    def pointer(self, buffer: Buffer, register: str) -> None:
        """Where a buffer begins."""
        slot = self.out.emit(f"getelementptr ptr, ptr %table, i64 {self.slots.get(buffer, 0)}")
        base = self.out.emit(f"load ptr, ptr {slot}")
        if buffer.role == "scratch":
            own = self.out.emit(f"mul i64 %thread, {self.scratch}")
            base = self.out.emit(f"getelementptr i8, ptr {base}, i64 {own}")
        self.out.lines.append(f"  {register} = getelementptr i8, ptr {base}, i64 {self.offsets.get(buffer, 0)}")

    def base(self, buffer: Buffer) -> str:
        """The register with a buffer's beginning."""
        if buffer not in self.pointers:
            self.pointers[buffer] = f"%base{len(self.pointers)}"
        return self.pointers[buffer]

    # --- statements

    def statement(self, x: Statement) -> None:
        """Write one statement."""
        self.seen = {}
        match x:
            case Loop(kind="lanes"):
                assert self.lane is None, "a loop over lanes within another"
                self.lane = x.var if x.var.extent > 1 else None
                if self.lane is None:
                    self.numbers[x.var] = of(0)
                for inner in x.body:
                    self.statement(inner)
                self.lane = None
            case Loop(kind="unrolled"):
                low, high = self.fixed(x)
                for i in range(low, high):
                    self.numbers[x.var] = of(i)
                    for inner in x.body:
                        self.statement(inner)
                self.numbers.pop(x.var, None)
            case Loop():
                self.loop(x.var, x.lower, x.upper, lambda: [self.statement(inner) for inner in x.body])
            case Define():
                value = self.expression(x.value)
                if isinstance(x.value, Constant) and self.lane:  # an accumulator has a sum for each lane
                    value = self.out.spread(value, self.lane.extent)
                self.local(x.local, x.at, value)
            case Update():
                self.update(x)
            case Store():
                self.store(x)
            case Prefetch():
                index = self.simplified(x.index)
                place = self.address(x.buffer, index.substitute({self.lane: of(0)}) if self.lane else index)
                self.out.declare("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
                self.out.say(f"call void @llvm.prefetch.p0(ptr {place}, i32 0, i32 3, i32 1)")

    def fixed(self, x: Loop) -> tuple[int, int]:
        """The bounds of an unrolled loop, which must be numbers."""
        low = max([0, *(self.simplified(i).number() or 0 for i in x.lower)])
        high = min([x.var.extent, *(self.simplified(i).number() or 0 for i in x.upper)])
        return low, high

    def loop(self, var: Var, lower: Sequence[Index], upper: Sequence[Index], body: object) -> None:
        """A loop whose body ``body`` writes."""
        out = self.out
        low = self.bound(lower, 0, "llvm.smax.i64")
        high = self.bound(upper, var.extent, "llvm.smin.i64")
        n = self.new_label()
        register, following = f"%i{n}", f"%next{n}"
        out.say(f"br label %before{n}")
        out.label(f"before{n}")
        if low.text.startswith("%") or high.text.startswith("%"):
            some = out.emit(f"icmp slt i64 {low.text}, {high.text}")
            out.say(f"br i1 {some}, label %loop{n}, label %after{n}")
        elif int(low.text) < int(high.text):
            out.say(f"br label %loop{n}")
        else:
            return
        self.forget()
        out.label(f"loop{n}")
        out.say(f"{register} = phi i64 [ {low.text}, %before{n} ], [ {following}, %latch{n} ]")
        self.scalars[var] = Value(register, INDEX)
        body()  # type: ignore[operator]
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

    def local(self, name: str, at: tuple[Index, ...], value: Value | None = None) -> tuple[str, Value]:
        """A local's place on the stack, and its type; with a value, it is written there."""
        key = name + "".join(f".{self.simplified(i).number()}" for i in at)
        if value is not None:
            if key not in self.locals:
                self.locals[key] = (f"%local{len(self.locals)}", value)
            slot, kind = self.locals[key]
            value = self.out.spread(value, kind.lanes)
            self.out.say(f"store {value}, ptr {slot}")
        return self.locals[key]

    def update(self, x: Update) -> None:
        """Combine a local with a value; a sum of products by fused multiply-adds."""
        out = self.out
        slot, kind = self.local(x.local, x.at)
        if x.how == "set":
            self.local(x.local, x.at, self.expression(x.value))
            return
        held = Value(out.emit(f"load {kind.type}, ptr {slot}"), kind.dtype, kind.lanes)
        if x.how == "sum" and isinstance(x.value, Call) and x.value.function == "mul" and kind.dtype.kind == "f":
            factors = [out.spread(self.expression(part), kind.lanes) for part in x.value.arguments]
            new = out.intrinsic("fma", *factors, held)
        else:
            value = out.spread(self.expression(x.value), kind.lanes)
            if x.how == "sum":
                new = instructions.call(out, "add", [held, value], kind.dtype)
            else:
                new = extreme(out, {"maximum": "max", "minimum": "min"}[x.how], held, value)
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
        if x.add:
            value = instructions.call(self.out, "add", [self.load(x.buffer, index), value], x.buffer.dtype)
        self.write(x.buffer, index, value)
        self.mask = before
        if uniform is not None:
            self.out.say(f"br label %join{n}")
            self.out.label(f"join{n}")
        self.forget()

    def write(self, buffer: Buffer, index: Index, value: Value) -> None:
        """The store itself, of one number, of a vector, or lane by lane."""
        out = self.out
        if value.dtype == BOOL:
            value = Value(out.emit(f"zext {value} to {in_memory(BOOL, value.lanes)}"), np.dtype(np.int8), value.lanes)
        step = index.coefficient(self.lane) if self.lane else 0
        if step == 0:
            if value.lanes:  # the same in all lanes, as the verifier knows
                value = Value(out.emit(f"extractelement {value}, i64 0"), value.dtype)
            out.say(f"store {value}, ptr {self.address(buffer, index)}, align {buffer.dtype.itemsize}")
            return
        lanes = self.lane.extent if self.lane else 0
        value = out.spread(value, lanes)
        if step == 1:
            place = self.address(buffer, index.substitute({self.lane: of(0)}) if self.lane else index)
            if self.mask is None:
                out.say(f"store {value}, ptr {place}, align {buffer.dtype.itemsize}")
            else:
                self.intrinsic_store(f"llvm.masked.store.{mangled(value.dtype, lanes)}.p0", value, f"ptr {place}", buffer)
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

    # --- expressions

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
                return self.load(x.buffer, self.simplified(x.index))
            case Call():
                return instructions.call(self.out, x.function, [self.expression(part) for part in x.arguments], x.dtype)
            case Read():
                slot, kind = self.local(x.local, x.at)
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
            start = f"{typed(x.dtype)} {instructions.literal(-0.0, x.dtype)}" if x.how == "sum" else ""
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
        for name, side in (("then", lambda: self.chosen(x, mask)), ("else", lambda: self.expression(x.otherwise))):
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
            if self.mask is not None and not (0 <= low and high < buffer.size):  # the first one where no lane is
                name = f"llvm.vector.reduce.or.{mangled(BOOL, self.mask.lanes)}"
                at = out.select(Value(out.call(name, "i1", self.mask), BOOL), at, Value("0", INDEX))
            place = out.emit(f"getelementptr {typed(dtype)}, ptr {self.base(buffer)}, i64 {at.text}")
            return self.from_memory(buffer, Value(out.emit(f"load {typed(dtype)}, ptr {place}, align {size}"), dtype))
        assert lane is not None
        lanes = lane.extent
        kind = typed(dtype, lanes)
        zero = out.constant(0, dtype, lanes)
        if step == 1:
            place = self.address(buffer, index.substitute({lane: of(0)}))
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
