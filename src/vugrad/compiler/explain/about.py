"""What several parts of an explanation need to know about a plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vugrad.compiler.arrays import Program
from vugrad.compiler.explain.tables import WIDTH, Paper, cut
from vugrad.compiler.explain.work import Work, work

if TYPE_CHECKING:
    from vugrad.compiler.plan import Plan

#: A kernel with less than this part of the operations, bytes or time is not shown by itself.
MINOR = 0.002


@dataclass
class Section:
    """A part of the print-out."""

    title: str
    lines: list[str]

    def __str__(self) -> str:
        return "\n".join([self.title, *self.lines])


class About:
    """A plan, the work of its kernels, and which kernel computes which result of its array program.

    Args:
        plan: what is explained.
        full: whether nothing is left out.
        origins: which op or line each result comes from, where that is known.
        width: the columns of the text.
    """

    def __init__(self, plan: Plan, full: bool, origins: dict[int, str], width: int = WIDTH) -> None:
        self.paper = Paper(width)
        self.plan, self.full, self.origins = plan, full, origins
        self.program: Program = plan.trace.program
        self.works: list[Work] = work(plan.lowered.loops)
        self.home: dict[int, int] = {}  # the kernel that stores a result
        for w in self.works:
            for number in w.kernel.computes:
                self.home.setdefault(number, w.number)
        self.inside: dict[int, list[int]] = {}  # those that compute a result on the way
        for w in self.works:
            for number in self.fused(w)[1]:
                self.inside.setdefault(number, []).append(w.number)

    def fused(self, w: Work) -> tuple[list[int], list[int]]:
        """The instructions that a kernel stores, and those that it computes on the way to them."""
        stored = [i for i in w.kernel.computes if i < len(self.program.instructions)]
        between: set[int] = set()
        pending = [j for i in stored for j in self.program[i].operands] if w.kernel.name != "fetch" else []
        while pending:
            i = pending.pop()
            if i not in self.home and i not in between and self.program[i].family != "source":
                between.add(i)
                pending.extend(self.program[i].operands)
        return stored, sorted(between)

    def purpose(self, works: list[Work]) -> str:
        """The ops or files that kernels' results come from, or else their numbers."""
        numbers = [i for w in works for i in w.kernel.computes]
        if all(w.kernel.name == "fetch" for w in works):
            return ", ".join(self.program[i].parameters["name"] for i in numbers)
        if not self.origins:
            return cut(", ".join(f"%{i}" for i in numbers), 16)
        found: dict[str, dict[str, None]] = {}
        for origin in filter(None, (self.origins.get(i) for i in numbers)):
            name, _, way = origin.rpartition(".")
            op = way in ("forward", "backward")
            found.setdefault(f"{way} " if op else "", {})[name if op else origin.partition(":")[0]] = None
        return "; ".join(way + ", ".join(names) for way, names in found.items())
