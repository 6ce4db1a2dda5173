"""The order of the kernels: as many as possible between two barriers."""

from __future__ import annotations

from dataclasses import dataclass, field

from vugrad.compiler.lower.groups import Fusion, Group


@dataclass(eq=False)
class Step:
    """What runs between two barriers: groups block by block of the batch, and others that do not need each other."""

    blocked: list[Group] = field(default_factory=list)
    others: list[Group] = field(default_factory=list)


def steps(fusion: Fusion, by_blocks: set[Group]) -> list[Step]:
    """All groups in steps. Those in ``by_blocks`` may follow, for one block of the batch, what they need there."""
    left = list(fusion.groups)
    done: set[int] = set()
    result = []
    while left:
        step = Step()
        for group in left:
            mine = {other.number for other in step.blocked if other.kind != "partial"}
            if group in by_blocks and group.before <= done | mine:
                step.blocked.append(group)
        taken = set(step.blocked)
        step.others = [g for g in left if g not in taken and g not in by_blocks and g.before <= done]
        if not step.blocked and not step.others:
            raise AssertionError("the groups need each other in a circle")
        done |= {g.number for g in (*step.blocked, *step.others)}
        taken |= set(step.others)
        left = [g for g in left if g not in taken]
        result.append(step)
    return result
