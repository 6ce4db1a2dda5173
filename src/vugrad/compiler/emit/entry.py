"""The function by which other programs call a network: it has all that it needs but the arrays, and runs alone."""

from __future__ import annotations

import hashlib

import numpy as np

from vugrad.compiler.arena import ALIGNMENT, Arena
from vugrad.compiler.emit.driver import FLUSHED, MODES, RESTORED
from vugrad.compiler.loops.program import Buffer

#: Constants of so many bytes are no part of the text, in which a byte takes three, but put into the object file.
LARGE = 64 << 10


def entry(name: str, stages: int, arena: Arena, taken: list[Buffer], stack: bool, flush: bool) -> str:
    """The text of a function that takes a pointer for each of some buffers, and of the constants that it knows.

    The working memory is on its stack or, without ``stack``, where one more pointer, the last, says. What is compiled
    from the text goes through :func:`filled`.
    """
    lines, places = [*(MODES if flush else ())], dict[int, str]()
    for buffer, slot in arena.slots.items():
        if buffer in taken:
            places[slot] = f"%taken{taken.index(buffer)}"
        else:
            lines.append(_constant(slot, buffer))
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


def filled(code: bytes, arena: Arena) -> bytes:
    """An object file with the large constants in the places that are marked for them."""
    whole = bytearray(code)
    for buffer, slot in arena.slots.items():
        if buffer.value is not None and buffer.nbytes >= LARGE:
            begin, data = code.index(_mark(slot)), _bytes(buffer)
            whole[begin : begin + len(data)] = data
    return bytes(whole)


def _constant(slot: int, buffer: Buffer) -> str:
    """An array that never changes."""
    size, kind = buffer.nbytes, "internal constant"
    if size < LARGE:
        value = f"[{size} x i8] {_text(_bytes(buffer))}"
    else:
        kind = "internal externally_initialized constant"  # of whose numbers LLVM then knows nothing
        mark, rest = f"[{MARK} x i8]", f"[{size - MARK} x i8]"
        value = f"<{{{mark}, {rest}}}> <{{{mark} {_text(_mark(slot))}, {rest} zeroinitializer}}>"
    return f"@constant.{slot} = {kind} {value}, align {ALIGNMENT}"


def _text(data: bytes) -> str:
    """Bytes as LLVM writes them."""
    return 'c"' + "".join(f"\\{byte:02x}" for byte in data) + '"'


def _bytes(buffer: Buffer) -> bytes:
    """A constant's numbers. Every target has the lowest byte of a number first."""
    return np.asarray(buffer.value, buffer.dtype.newbyteorder("<")).tobytes()


#: The bytes of a mark, which are so many that nothing else looks like one.
MARK = 32


def _mark(slot: int) -> bytes:
    """What stands at the beginning of a constant's place."""
    return hashlib.sha256(f"constant {slot}".encode()).digest()


def _placed(slot: int, place: str) -> list[str]:
    """A pointer in the table."""
    return [f"  %slot{slot} = getelementptr ptr, ptr %table, i64 {slot}", f"  store ptr {place}, ptr %slot{slot}"]
