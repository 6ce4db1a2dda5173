"""A plan's memory as text: what lies where, in which order, and which buffers share a place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vugrad.compiler.explain.about import About, Section
from vugrad.compiler.explain.tables import Paper, size
from vugrad.compiler.loops.program import Buffer
from vugrad.compiler.lower.batch import batch_axes

if TYPE_CHECKING:
    from vugrad.compiler.plan import Plan

#: What each role of a buffer that is given to every call is called here.
GIVEN = {
    "argument": "arguments",
    "order": "positions of the batch's rows",
    "state": "state",
    "scalar": "numbers of the state",
    "output": "results",
    "constant": "constants",
}
#: The widest picture of stages, and the bytes of a buffer that is not shown by itself.
STAGES, SMALL = 24, 64


def totals(plan: Plan) -> dict[str, int]:
    """Bytes by role of all buffers; of "scratch" for all threads together."""
    found: dict[str, int] = {}
    for b in plan.lowered.loops.buffers:
        found[b.role] = found.get(b.role, 0) + b.nbytes * (plan.threads if b.role == "scratch" else 1)
    return found


def memory(about: About) -> Section:
    """The sums, and where everything lies."""
    paper = about.paper
    lines = _sums(about.plan, paper)
    if not any(b.nbytes for b in about.plan.arena.offsets):
        return Section("4  Memory", [*lines, "", *paper.paragraph("Nothing is stored between kernels.")])
    lines += ["", *paper.paragraph(
        "A result of the batch lies in blocks, [block][its own axes][lane], so that one load fills the lanes; scratch "
        "holds one block of it, for the thread that is at it. Partial sums have a copy for each thread. A place "
        "is free for another buffer before and after the stages (or in scratch, the kernels) that use it."
    )]  # fmt: skip
    for role, title in (("scratch", "Scratch, of each thread"), ("temporary", "Results that all threads see")):
        lines += _buffers(about, role, title)
    return Section("4  Memory", lines)


def _sums(plan: Plan, paper: Paper) -> list[str]:
    """The bytes of everything."""
    total, arena = totals(plan), plan.arena
    given = sum(n for role, n in total.items() if role in GIVEN)
    shared = arena.size - arena.scratch * plan.threads

    def part(nbytes: int, what: str) -> list[str]:
        return paper.item("", f"{size(nbytes):>10}  {what}", column=18)

    lines = paper.item("given", f"{size(given)}, in arrays that others own", column=18)
    for role in filter(total.get, GIVEN):
        count = sum(b.role == role for b in plan.lowered.loops.buffers)
        lines += part(total[role], GIVEN[role] + (f" ({count})" if count > 1 else ""))
    lines += paper.item("the plan's own", f"{size(arena.size)}, allocated once", column=18)
    whose = f"each of {plan.threads} threads" if plan.threads > 1 else "the thread"
    lines += part(arena.scratch * plan.threads, f"scratch, {size(arena.scratch)} for {whose}")
    lines += part(shared, "results that all threads see")
    apart = total.get("temporary", 0) + total.get("scratch", 0)
    lines += part(apart, "would be needed if none shared a place")
    return [*lines, *paper.item("all in all", size(given + arena.size), column=18)]


def _buffers(about: About, role: str, title: str) -> list[str]:
    """A table of the plan's own buffers of one role."""
    offsets, layout = about.plan.arena.offsets, layouts(about.plan)
    mine = sorted((b for b in offsets if b.role == role and b.nbytes), key=lambda b: (offsets[b], b.name))
    uses: dict[Buffer, list[int]] = {b: [] for b in mine}
    for w in about.works:
        for b in {*w.reads, *w.writes} & set(mine):
            uses[b].append(w.number if role == "scratch" else w.stage)
    every = [i for found in uses.values() for i in found]
    if not every:
        return []
    shown = [b for b in mine if about.full or b.nbytes > SMALL]
    first, last = min(every), max(every)
    heads = ["name", "holds", "?laid out as", ">bytes", "?>at byte"]
    heads.append(f"{'kernels' if role == 'scratch' else 'stages'} {first}–{last}")
    rows = [[b.name, *layout[b], size(b.nbytes), f"{offsets[b]:,}", _span(uses[b], first, last)] for b in shown]
    hidden = [f"  and {len(mine) - len(shown)} of at most {SMALL} bytes"] if len(shown) < len(mine) else []
    return ["", f"  {title}:", *about.paper.table(heads, rows), *hidden]


def layouts(plan: Plan) -> dict[Buffer, tuple[str, str]]:
    """What each of a plan's own buffers holds, and in which order."""
    program, lanes = plan.trace.program, plan.lowered.loops.lanes
    axes = batch_axes(program, plan.lowered.batch)
    found: dict[Buffer, tuple[str, str]] = {}
    for b in plan.arena.offsets:
        digits = b.name.removeprefix("v").removesuffix("r")
        if not digits.isdecimal() or int(digits) >= len(program.instructions):
            found[b] = "", f"[{b.size}]"
            continue
        number = int(digits)
        x, axis = program[number], axes[number]
        what = f"%{number} {x.parameters.get('name', x.primitive) if x.primitive == 'input' else x.primitive}"
        if b.name.endswith("r") or axis is None or lanes == 1:
            copies = b.size // x.size if x.size else 1
            shape = "".join(f"[{n}]" for n in x.shape) or "[1]"
            found[b] = what, (f"{copies} × " if copies > 1 else "") + shape
        else:
            inner = "".join(f"[{n}]" for a, n in enumerate(x.shape) if a != axis) + f"[{lanes}]"
            blocks = -(-x.shape[axis] // lanes)
            found[b] = what, inner if b.role == "scratch" else f"[{blocks}]{inner}"
    return found


def _span(uses: list[int], first: int, last: int) -> str:
    """A picture of when a buffer is needed, from its first use to its last."""
    n = last - first + 1
    width = min(n, STAGES)
    low, high = ((u - first) * width // n for u in (min(uses, default=first), max(uses, default=first)))
    return "·" * low + "█" * (high - low + 1) + "·" * (width - high - 1)
