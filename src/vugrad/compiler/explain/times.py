"""Where the time goes, beside what the machine could do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vugrad.compiler import profile as timing
from vugrad.compiler.explain.about import MINOR, About, Section
from vugrad.compiler.explain.tables import Paper, amount, bar, seconds
from vugrad.compiler.explain.work import Work

#: A kernel that is so many times as quick as the largest products says that those were measured badly.
BEATEN = 1.5


def times(about: About, arguments: Sequence[Any]) -> Section:
    """The time of every kernel beside the least that it could be."""
    title, threads, paper = "5  Time", about.plan.threads, about.paper
    if not arguments and about.program.inputs("argument"):
        return Section(title, paper.paragraph("Not measured: give the arguments of a call, which then runs on copies."))
    try:
        found = timing.profile(about.plan, *arguments)
    except NotImplementedError as error:
        return Section(title, paper.paragraph(f"Not measured: {error}."))
    best = timing.machine(threads)
    lines = _summary(found, best, sum(w.flop for w in about.works), threads, paper)
    rows, rest, beaten = [], list[Work](), False
    for w in about.works:
        if not about.full and found.share(w.number) < 5 * MINOR:
            rest.append(w)
            continue
        took = found.time(w.number)
        double = any(b.dtype == "f8" and b.size > 1 for b in (*w.reads, *w.writes))
        least, by = best.least(w.flop, w.nbytes, w.footprint(threads), double)
        reached = least / took if took else 0.0
        beaten |= by == "compute" and reached > BEATEN
        figures = [seconds(took), f"{found.share(w.number):.1%}", amount(w.flop / took if took else 0)]
        rows.append([str(w.number), w.kernel.name, about.purpose([w]), *figures, by, f"{bar(reached)} {reached:4.0%}"])
    if rest:
        share = sum(found.share(w.number) for w in rest)
        rows.append(["", f"{len(rest)} others", "", "", f"{share:.1%}", "", "", ""])
    rows.append(["", "waiting, calls", "", "", f"{max(found.rest, 0):.1%}", "", "", ""])
    why = "for" if about.origins else "results"
    heads = [">kernel", "computes", "?" + why, ">time", ">share", "?>FLOP/s", "?limit", "of the limit"]
    busy = "Kernels beat the matrix product by far: something else kept the machine busy while it was measured."
    return Section(title, [*lines, "", *paper.table(heads, rows), *(["", *paper.paragraph(busy)] if beaten else [])])


def _summary(found: timing.Profile, best: timing.Limits, flop: int, threads: int, paper: Paper) -> list[str]:
    """The whole step, the machine, and how to read the table."""
    slowed = max(found.counted / found.seconds - 1, 0)
    whole = paper.paragraph(
        f"A step takes {seconds(found.seconds)}, {amount(flop / found.seconds, 'FLOP/s')} (best of {timing.ROUNDS} "
        f"× {found.steps:,} steps on copies of the state); {slowed:.0%} more with a counter of cycles around every "
        "kernel, by which the table was made."
    )
    limits = paper.paragraph(
        f"This machine, measured, on {threads} thread{'s' * (threads > 1)}: {amount(best.f32, 'FLOP/s')} in a large "
        f"float32 matrix product, {amount(best.f64, 'FLOP/s')} in float64; copies move {amount(best.near, 'B/s')} "
        f"within a nearby cache and {amount(best.far, 'B/s')} beyond. No kernel should be quicker than its FLOP "
        "at the one rate, or its bytes at the other, whichever takes longer, the limit; the last column is the part "
        "of the limit's speed that it reaches. (Above 100% it beats the matrix product, or finds more in its cache.) "
        "Times are those of the slowest thread; shares are of all threads' time."
    )
    return [*whole, *limits]
