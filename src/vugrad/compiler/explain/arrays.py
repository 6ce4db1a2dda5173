"""The array program as a person reads it: numbers where they are used, and where each result comes from and goes."""

from __future__ import annotations

from typing import Any

from vugrad.compiler.arrays.program import SHORT, Instruction, Program
from vugrad.compiler.explain.about import About, Section
from vugrad.compiler.explain.tables import some

#: Of a long program so many instructions are shown, of which the last are so many.
SHOWN, LAST = 48, 8


def arrays(about: About) -> Section:
    """The array program."""
    program, paper = about.program, about.paper
    inner = [i for i, x in enumerate(program.instructions) if x.family != "source"]
    lines = paper.paragraph(
        "The function ran on tracers in place of its arrays, which recorded their operations (trace/): one instruction "
        "for each NumPy operation, forward, backward and update alike. The last column names the kernel that stores "
        "the result or, in brackets, the kernels that compute it as an intermediate without storing it."
    )
    lines.append("")
    inputs = [f"%{i} {name} {program[i].type}" for name, i in program.inputs().items()]
    lines += paper.item("inputs", inputs if about.full else some(inputs, 16))
    hidden = inner[SHOWN - LAST : -LAST] if len(inner) > SHOWN + LAST and not about.full else []
    rows = []
    for i in inner:
        if hidden and i == hidden[0]:
            rows.append(["", f"… {len(hidden)} more, which --full shows", "", ""])
        if i not in hidden:
            x = program[i]
            rows.append([f"%{i}", f"{x.type} = {_call(program, x)}", about.origins.get(i, ""), _where(about, i)])
    heads = ["", "instruction", "?comes from", ">kernel"]
    if not about.origins:
        rows, heads = [[row[0], row[1], row[3]] for row in rows], [heads[0], heads[1], heads[3]]
    lines += ["", *paper.table(heads, rows, least=32)]
    returned = [f"{o.into} ← %{o.number}" if o.into else f"{o.name} = %{o.number}" for o in program.outputs]
    lines += ["", *paper.item("return", returned if about.full else some(returned, 12))]
    return Section(f"2  The array program: {len(inner)} instructions", lines)


def _where(about: About, number: int) -> str:
    if number in about.home:
        return str(about.home[number])
    inside = [str(k) for k in about.inside.get(number, [])]
    return f"({', '.join(inside if len(inside) < 4 else [*inside[:2], '…'])})"


def _call(program: Program, x: Instruction) -> str:
    """An instruction's right-hand side; numbers stand where they are used."""
    shown = [] if x.primitive == "cast" else [f"{k}={_short(v)}" for k, v in x.parameters.items() if k != "dtype"]
    if x.primitive in ("reshape", "broadcast"):
        shown = []  # its type says it
    name = f"cast {SHORT[x.dtype]}" if x.primitive == "cast" else x.primitive
    return f"{name}({', '.join([*(_operand(program, i) for i in x.operands), *shown])})"


def _operand(program: Program, number: int) -> str:
    x = program[number]
    if x.primitive == "constant" and x.size == 1:
        value = x.parameters["value"].reshape(-1)[0]
        return f"{value:g}" if x.dtype.kind == "f" else str(value)
    if x.primitive == "constant":
        return f"<{x.type}>"
    return f"%{number}"


def _short(value: Any) -> str:
    return str(value).replace(" ", "") if isinstance(value, tuple) else str(value)
