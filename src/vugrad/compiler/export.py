"""A model as an object file that needs nothing else: its weights are constants in it, its memory is on the stack."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vugrad.compiler.arrays import Instruction, bound, turned
from vugrad.compiler.emit import emit
from vugrad.compiler.emit.entry import entry, filled
from vugrad.compiler.lower import Machine
from vugrad.compiler.machine import llvm
from vugrad.compiler.plan import laid_out
from vugrad.compiler.trace.standin import CannotCompileError
from vugrad.compiler.trace.twice import trace_twice
from vugrad.nn import Module
from vugrad.suggest import choose

#: Working memory of up to so many bytes is on the stack, of which no system's threads have less than 128 KiB.
STACK = 64 << 10


@dataclass(frozen=True)
class Native:
    """An object file, and what its function takes: inputs, and outputs by name, which have a shape and a dtype.

    ``memory`` is the bytes that it works in, which are on the stack if ``stack``, and else the caller's. ``missing``
    names the functions that it takes from C's libraries.
    """

    code: bytes
    target: llvm.Target
    inputs: list[Instruction]
    outputs: dict[str, Instruction]
    memory: int
    stack: bool
    missing: list[str]


def export(model: Module, arguments: Sequence[Any], name: str, target: str) -> Native:
    """Compile a model, in the mode that it is in, for arguments of these shapes and dtypes, and a target by its name.

    Raises ``CannotCompileError`` for a model that cannot be recorded, or that changes when it is called, and
    ``ValueError`` for a target that there is not, and for a name that is taken.
    """
    goal = choose("target", target, llvm.TARGETS)()
    traced = trace_twice(model, tuple(arguments), (model,))
    for output in traced.program.outputs:
        if output.into is not None:
            raise CannotCompileError(
                f"a call of the {type(model).__name__} changes its {output.into}, and the function that is exported "
                "keeps nothing from one call to the next"
            )
        if not traced.program[output.number].size:
            raise CannotCompileError(f"the {output.name} of the {type(model).__name__} is an array without elements")
    for part, value in traced.fixed().items():
        raise CannotCompileError(
            f"the {part} of the {type(model).__name__} is the same at every call, {reprlib.repr(value)}: a function "
            "that is exported writes arrays that depend on its arguments, so return those alone"
        )
    if not traced.program.outputs:
        raise CannotCompileError(f"the {type(model).__name__} returns no array")
    program = turned(bound(traced.program, {slot.name: slot.get() for slot in traced.slots}))
    lowered, arena = laid_out(program, Machine(goal.vector_bytes, goal.registers, 1))
    if lowered.order is not None:  # instances are taken as they lie
        lowered.order.value = np.arange(lowered.order.size)
    inputs, outputs = program.inputs(), program.outputs
    taken = [*(lowered.inputs[key] for key in inputs), *(lowered.outputs[output.name] for output in outputs)]
    kernels = emit(lowered.loops, arena, alone=True)
    if re.search(rf"@{name}\b", kernels):
        raise ValueError(f"{name} is the name of a part of the code: give the file another one")
    stack = arena.size <= STACK
    text = entry(name, len(lowered.loops.stages), arena, taken, stack, goal.flushes)
    code = filled(llvm.compile_text(f"{kernels}\n{text}", goal), arena)
    arrays = [program[number] for number in inputs.values()], {o.name: program[o.number] for o in outputs}
    return Native(code, goal, *arrays, arena.size, stack, llvm.missing(code))
