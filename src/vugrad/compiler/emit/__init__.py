"""From loops to LLVM's intermediate representation, as text. Nothing is optimised here."""

from __future__ import annotations

from vugrad.compiler.arena import Arena
from vugrad.compiler.emit.kernels import ATTRIBUTES, DRIVER_ATTRIBUTES, KernelWriter
from vugrad.compiler.loops.index import Var
from vugrad.compiler.loops.program import BlockLoop, Buffer, Kernel, LoopProgram


def emit(program: LoopProgram, arena: Arena, profile: bool = False, alone: bool = False) -> str:
    """The text of a module with one function for each stage, ``stage0(table, thread)`` and so on.

    Kernels that do the same to different buffers, as those of equal layers, are one function.

    Args:
        program: the loops.
        arena: where in the table of pointers, and in the plan's own memory, the buffers are.
        profile: add each kernel's cycles to a counter of its own for each thread, at the table's slot 1.
        alone: forbid LLVM to replace loops by calls of the C library.
    """
    names: dict[str, str] = {}
    texts: list[str] = []
    declared: dict[str, None] = {}
    number = 0
    for i, stage in enumerate(program.stages):
        writer = StageWriter(stage.thread, arena, program.threads if profile else 0)
        for part in stage.parts:
            block = part.var if isinstance(part, BlockLoop) else None
            calls: list[Call] = []
            for kernel in part.kernels if isinstance(part, BlockLoop) else [part]:
                text, buffers, needs = kernel_text("", kernel, stage.thread, block)
                if text not in names:
                    names[text] = f"kernel{number}"
                    texts.append(text.replace("@(", f"@{names[text]}(", 1))
                    declared |= needs
                calls.append((names[text], buffers, number))
                number += 1
            writer.part(part, calls)
        texts.append(writer.text(f"stage{i}"))
        declared |= writer.out.declared
    attributes = f'{ATTRIBUTES} "no-builtins"' if alone else ATTRIBUTES
    return "\n".join([*declared, *texts, f"attributes #0 = {{ {attributes} }}"])


def kernel_text(name: str, kernel: Kernel, thread: Var, block: Var | None) -> tuple[str, list[Buffer], dict[str, None]]:
    """The text of a kernel's function, the buffers that it is to be given, and what it needs from outside."""
    writer = KernelWriter(thread, block)
    return writer.function(name, kernel), list(writer.pointers), writer.out.declared


#: The name of a kernel's function, its buffers, and the kernel's number.
Call = tuple[str, list[Buffer], int]


class StageWriter(KernelWriter):
    """Writes one stage's function: where its buffers are, and the calls of its kernels."""

    def __init__(self, thread: Var, arena: Arena, counted: int) -> None:
        super().__init__(thread, None)
        self.arena, self.counted = arena, counted

    def text(self, name: str) -> str:
        """The text of the function; where buffers begin stands in its first block."""
        body = self.out.lines
        self.out.lines, self.out.known = [], {}
        for buffer, register in self.pointers.items():
            self.pointer(buffer, register)
        head = [
            f"define internal void @{name}(ptr %table, i64 %thread) {DRIVER_ATTRIBUTES} {{",
            "entry:",
            *self.out.lines,
        ]
        return "\n".join([*head, *body, "  ret void", "}"])

    def part(self, part: Kernel | BlockLoop, calls: list[Call]) -> None:
        """The calls of one kernel, or of several for each block of the batch."""
        if isinstance(part, BlockLoop):
            self.loop(part.var, part.lower, part.upper, lambda: self.run(calls, self.scalars[part.var].text))
        else:
            self.run(calls, "0")

    def run(self, calls: list[Call], block: str) -> None:
        """Call kernels; where they are counted, read the cycle counter before and after each."""
        for name, buffers, number in calls:
            before = self.cycles() if self.counted else ""
            given = "".join(f"ptr {self.base(buffer)}, " for buffer in buffers)
            self.out.say(f"call void @{name}({given}i64 %thread, i64 {block})")
            if self.counted:
                self.count(before, number)

    def cycles(self) -> str:
        """The cycle counter."""
        return self.out.call("llvm.readcyclecounter", "i64")

    def count(self, before: str, number: int) -> None:
        """Add the cycles since ``before`` to the kernel's counter of this thread."""
        out = self.out
        spent = out.emit(f"sub i64 {self.cycles()}, {before}")
        base = out.emit("load ptr, ptr " + out.emit("getelementptr i64, ptr %table, i64 1"))
        at = out.emit(f"add i64 %thread, {number * self.counted}")
        place = out.emit(f"getelementptr i64, ptr {base}, i64 {at}")
        held = out.emit(f"load i64, ptr {place}")
        out.say(f"store i64 {out.emit(f'add i64 {held}, {spent}')}, ptr {place}")

    def pointer(self, buffer: Buffer, register: str) -> None:
        """Where a buffer begins."""
        slot = self.out.emit(f"getelementptr ptr, ptr %table, i64 {self.arena.slots.get(buffer, 0)}")
        base = self.out.emit(f"load ptr, ptr {slot}")
        if buffer.role == "scratch":
            own = self.out.emit(f"mul i64 %thread, {self.arena.scratch}")
            base = self.out.emit(f"getelementptr i8, ptr {base}, i64 {own}")
        self.out.lines.append(f"  {register} = getelementptr i8, ptr {base}, i64 {self.arena.offsets.get(buffer, 0)}")
