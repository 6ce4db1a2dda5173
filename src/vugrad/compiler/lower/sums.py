"""Long float32 sums in parts, which limits their rounding error.

The rounding error of a float32 sum grows with its number of terms. Each lane therefore adds at most :data:`TERMS` terms
(:data:`LONG` in products with many accumulators) in float32; the sums of these parts are added in float64.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vugrad.compiler.loops.index import Index, Var, of
from vugrad.compiler.loops.program import Loop

#: The most terms that are added in float32 before their sum goes to the float64 total.
TERMS = 64
#: A contraction with at least ``MANY_SUMS`` accumulators is split only above ``LONG`` terms: its float64 totals do not
#: fit in registers.
MANY_SUMS, LONG = 3, 1024
TOTAL = np.dtype(np.float64)


def in_parts(
    loops: list[Loop], most: int, fresh: Callable[[str, int], Var]
) -> tuple[list[Loop], list[Loop], dict[Var, Index]]:
    """Split nested loops into outer and inner ones, such that the inner ones make at most ``most`` turns together.

    There are no outer loops if all turns fit. One loop may itself be split into two: the third result then gives its
    variable in terms of the new loops' variables.
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
        parts = next((p for p in range(parts, 2 * parts) if n % p == 0), parts)  # equal parts, if possible
        size = -(-n // parts)
        outer, inner = fresh(loop.var.name, parts), fresh(loop.var.name, size)
        upper = () if n % parts == 0 else (n - of(outer) * size,)
        values = {loop.var: of(outer) * size + of(inner)}
        for x in loops[k + 1 :]:
            x.lower = tuple(i.substitute(values) for i in x.lower)
            x.upper = tuple(i.substitute(values) for i in x.upper)
        return [*loops[:k], Loop(outer, [])], [Loop(inner, [], "serial", (), upper), *loops[k + 1 :]], values
    return [], loops, {}
