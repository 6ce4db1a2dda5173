"""The function by which other programs call a network: it has all that it needs but the arrays, and runs alone."""

from __future__ import annotations

import numpy as np

from vugrad.compiler.arena import ALIGNMENT, Arena
from vugrad.compiler.emit.driver import FLUSHED, MODES, RESTORED
from vugrad.compiler.loops.program import Buffer


def entry(name: str, stages: int, arena: Arena, taken: list[Buffer], stack: bool, flush: bool) -> str:
    """The text of a function that takes a pointer for each of some buffers, and of the constants that it knows.

    The working memory is on its stack or, without ``stack``, where one more pointer, the last, says.
    """
    lines, places = [*(MODES if flush else ())], dict[int, str]()
    for buffer, slot in arena.slots.items():
        if buffer in taken:
            places[slot] = f"%taken{taken.index(buffer)}"
        else:
            lines.append(_constant(f"@constant.{slot}", buffer))
            places[slot] = f"@constant.{slot}"
    places[0] = "%memory"
    pointers = [f"ptr %taken{i}" for i in range(len(taken))] + ([] if stack else ["ptr %memory"])
    memory = f"  %memory = alloca [{arena.size} x i8], align {ALIGNMENT}"
    return "\n".join(
        [
            *lines,
            f"define void @{name}({', '.join(pointers)}) #0 {{",
            *([memory] if stack else []),
            f"  %table = alloca [{arena.table} x ptr]",
            *(line for slot, place in places.items() for line in _placed(slot, place)),
            *(FLUSHED if flush else ()),
            *(f"  call void @stage{stage}(ptr %table, i64 0)" for stage in range(stages)),
            *(RESTORED if flush else ()),
            "  ret void",
            "}",
        ]
    )


def _constant(name: str, buffer: Buffer) -> str:
    """An array that never changes. Every target has the lowest byte of a number first."""
    data = np.asarray(buffer.value, buffer.dtype.newbyteorder("<")).tobytes()
    text = "\\" + data.hex("\\") if data else ""
    return f'{name} = internal constant [{len(data)} x i8] c"{text}", align {ALIGNMENT}'


def _placed(slot: int, place: str) -> list[str]:
    """A pointer in the table."""
    return [f"  %slot{slot} = getelementptr ptr, ptr %table, i64 {slot}", f"  store ptr {place}, ptr %slot{slot}"]
