"""A plan's memory as text: what lies where, in which order, and which buffers share a place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vugrad.compiler.loops.program import Buffer
from vugrad.compiler.lower.batch import batch_axes
from vugrad.compiler.tables import item, paragraph, size, table
from vugrad.compiler.work import Work

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
#: The widest picture of stages.
STAGES = 24


def totals(plan: Plan) -> dict[str, int]:
    """Bytes by role of all buffers; of "scratch" for all threads together."""
    found: dict[str, int] = {}
    for b in plan.lowered.loops.buffers:
        found[b.role] = found.get(b.role, 0) + b.nbytes * (plan.threads if b.role == "scratch" else 1)
    return found


def memory_map(plan: Plan, works: list[Work], full: bool = False) -> list[str]:
    """The buffers of a plan, and the sum."""
    total, arena = totals(plan), plan.arena
    apart = total.get("temporary", 0) + total.get("scratch", 0)
    given = sum(n for role, n in total.items() if role in GIVEN)
    lines = item("given", f"{size(given)}, in arrays that others own", column=18)
    for role, what in GIVEN.items():
        count = sum(b.role == role for b in plan.lowered.loops.buffers)
        lines += (
            item("", f"{size(total[role]):>10}  {what}" + (f" ({count})" if count > 1 else ""), column=18)
            if count
            else []
        )
    lines += item("the plan's own", f"{size(arena.size)}, allocated once", column=18)
    scratch = f"scratch of {size(arena.scratch)} for each of {plan.threads} threads"
    lines += item("", f"{size(arena.scratch * plan.threads):>10}  {scratch}", column=18)
    lines += item("", f"{size(arena.size - arena.scratch * plan.threads):>10}  results that all threads see", column=18)
    lines += item("", f"{size(apart):>10}  would be needed if none shared a place", column=18)
    lines += item("all in all", size(given + arena.size), column=18)
    own = [b for b in arena.offsets if b.nbytes]
    if not own:
        return [*lines, "", *paragraph("Nothing is stored between kernels.")]
    lines += [
        "",
        *paragraph(
            "A result of the batch lies in blocks, [block][its own axes][lane], so that one load fills the lanes; scratch holds "
            "one block of it, for the thread that is at it. Partial sums have a copy for each thread. A buffer's place is free "
            "for another's before and after the stages (or in scratch, the kernels) that use it."
        ),
    ]
    layout = layouts(plan)
    for role, title in (("scratch", "Scratch, of each thread"), ("temporary", "Results that all threads see")):
        mine = sorted((b for b in own if b.role == role), key=lambda b: (arena.offsets[b], b.name))
        if not mine:
            continue
        uses = {
            b: [w.number if role == "scratch" else w.stage for w in works if b in w.reads or b in w.writes]
            for b in mine
        }
        shown = [b for b in mine if full or b.nbytes > 64]
        first, last = min(min(u, default=0) for u in uses.values()), max(max(u, default=0) for u in uses.values())
        rows = [
            [b.name, *layout[b], size(b.nbytes), f"{arena.offsets[b]:,}", _span(uses[b], first, last)] for b in shown
        ]
        span = f"{'kernels' if role == 'scratch' else 'stages'} {first}–{last}"
        lines += ["", f"  {title}:", *table(["name", "holds", "laid out as", ">bytes", ">at byte", span], rows)]
        if len(shown) < len(mine):
            lines += [f"  and {len(mine) - len(shown)} of at most 64 bytes"]
    return lines


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
