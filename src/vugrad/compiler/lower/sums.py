"""Long sums in parts, so that they stay exact to the last bits of float32.

A float32 sum of n terms, one after the other, may be wrong by n roundings. Here a few hundred terms at most are added
up in float32, in each lane, and the sums of those parts in float64.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vugrad.compiler.loops.index import Index, Var, of
from vugrad.compiler.loops.program import Loop

#: So many terms are added up before their sum goes to the total.
TERMS = 64
#: Sums of products of which as many at least are in registers at once, whose totals are not, are cut from so many on.
MANY_SUMS, LONG = 3, 1024
TOTAL = np.dtype(np.float64)


def in_parts(
    loops: list[Loop], most: int, fresh: Callable[[str, int], Var]
) -> tuple[list[Loop], list[Loop], dict[Var, Index]]:
    """Nested loops cut in two: the inner ones have ``most`` turns together; there are no outer ones if all fit in.

    One loop may be cut itself: the third result says what its variable is of those of the two new loops.
    """
    turns = 1
    for k in reversed(range(len(loops))):
        loop, n = loops[k], loops[k].var.extent
        if turns * n <= most:
            turns *= n
            continue
        size = most // turns
        if loop.lower or loop.upper or size < 2:
            cut = k if turns == 1 else k + 1
            return loops[:cut], loops[cut:], {}
        parts = -(-n // size)
        parts = next((p for p in range(parts, 2 * parts) if n % p == 0), parts)  # equal parts, if there are
        size = -(-n // parts)
        outer, inner = fresh(loop.var.name, parts), fresh(loop.var.name, size)
        upper = () if n % parts == 0 else (n - of(outer) * size,)
        values = {loop.var: of(outer) * size + of(inner)}
        for x in loops[k + 1 :]:
            x.lower = tuple(i.substitute(values) for i in x.lower)
            x.upper = tuple(i.substitute(values) for i in x.upper)
        return [*loops[:k], Loop(outer, [])], [Loop(inner, [], "serial", (), upper), *loops[k + 1 :]], values
    return [], loops, {}
