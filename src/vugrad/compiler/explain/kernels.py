"""The kernels: a table of all, the loops of the largest, and LLVM's text of one."""

from __future__ import annotations

from vugrad.compiler.emit import kernel_text
from vugrad.compiler.explain.about import MINOR, About, Section
from vugrad.compiler.explain.tables import WIDTH, amount, cut, size
from vugrad.compiler.explain.work import Work
from vugrad.compiler.loops import program

#: The loops of so many kernels are shown, and so many lines at either end of LLVM's text.
LOOPS, LINES = 4, 48


def loops(about: About, only: int | None) -> Section:
    """The kernels: a table of all, and the loops of the largest."""
    works, paper = about.works, about.paper
    lines = paper.paragraph(
        "What is stored, and what is computed again where it is used, is settled by lower/: results that are needed "
        "at the same place are fused into one kernel. Threads wait for each other between two stages. Kernels run by "
        "blocks do one block of the batch after the other, so that what they pass on is still in the cache. FLOP are "
        "the floating-point operations of a step, a multiply-add being two; bytes are all that is read and written, "
        "once."
    )
    flop, moved = sum(w.flop for w in works), sum(w.nbytes for w in works)
    rows, small = [], list[Work]()
    for w, following in zip(works, [*works[1:], None], strict=True):
        if about.full or w.flop > MINOR * flop or w.nbytes > MINOR * moved:
            rows.append(_kernel_row(about, w))
            continue
        small.append(w)
        last = following is None or following.stage != w.stage
        if last or following.flop > MINOR * flop or following.nbytes > MINOR * moved:  # type: ignore[union-attr]
            rows.append(_small_row(about, small) if len(small) > 1 else _kernel_row(about, small[0]))
            small = []
    total = ["", "", "", "all", "", amount(flop), size(moved), f"{flop / max(moved, 1):.2g}"]
    why = "for" if about.origins else "results"
    heads = [">kernel", "?>stage", "?run by", "computes", why, ">FLOP", ">bytes", "?>FLOP/byte"]
    lines += ["", *paper.table(heads, [*rows, total])]
    largest = sorted(works, key=lambda w: (-w.flop, -w.nbytes))[:LOOPS]
    chosen = [works[only]] if only is not None else works if about.full else sorted(largest, key=lambda w: w.number)
    which = f"of the {len(chosen)} largest kernels (--kernel N shows another, --full all)"
    legend = paper.paragraph(
        f"The loops{f' {which}' if only is None and not about.full else ''}. Those over lanes happen all at once, in "
        "vectors; unrolled ones are written out, and turned ones too: they read or write rows, whose elements change "
        "places with lanes in registers. t is the thread, block the block of the batch; acc, and what is indexed by "
        "such variables alone, stays in registers."
    )
    lines += ["", *legend]
    for w in chosen:
        lines += ["", *_kernel(about, w, about.full or only is not None)]
    return Section(f"3  The kernels: {len(works)} in {len(about.plan.lowered.loops.stages)} stages", lines)


def _kernel_row(about: About, w: Work) -> list[str]:
    intensity = f"{w.intensity:.2g}" if w.flop else ""
    figures = [amount(w.flop), size(w.nbytes), intensity]
    return [str(w.number), str(w.stage), w.run_by, w.kernel.name, about.purpose([w]), *figures]


def _small_row(about: About, small: list[Work]) -> list[str]:
    names = ", ".join(dict.fromkeys(w.kernel.name for w in small))
    numbers = f"{small[0].number}–{small[-1].number}"
    flop, moved = sum(w.flop for w in small), sum(w.nbytes for w in small)
    what = f"{len(small)} small: {names}"
    return [numbers, str(small[0].stage), "", what, about.purpose(small), amount(flop), size(moved), ""]


def _kernel(about: About, w: Work, full: bool) -> list[str]:
    """One kernel: what it computes, what it reads and writes, and its loops."""
    (stored, between), paper = about.fused(w), about.paper
    lines = [f"  kernel {w.number}: {w.kernel.name}"]
    if stored:
        lines += paper.item("stores", [f"%{i} {about.program[i].primitive}" for i in stored], 4, 16)
        if between:
            lines += paper.item("on the way", [f"%{i} {about.program[i].primitive}" for i in between], 4, 16)
    lines += paper.item("reads", [f"{b.name} ({size(n)})" for b, n in w.reads.items()] or "nothing", 4, 16)
    lines += paper.item("writes", [f"{b.name} ({size(n)})" for b, n in w.writes.items()], 4, 16)
    body = program.text(w.kernel.body, 3)
    return [*lines, *(body if full else [cut(line, WIDTH) for line in body])]


def text(about: About, only: int | None) -> Section:
    """LLVM's text of one kernel."""
    number = only if only is not None else max(about.works, key=lambda w: w.flop).number
    kernel = about.works[number].kernel
    thread, block = next(
        (stage.thread, part.var if isinstance(part, program.BlockLoop) else None)
        for stage in about.plan.lowered.loops.stages
        for part in stage.parts
        if kernel in (part.kernels if isinstance(part, program.BlockLoop) else [part])
    )
    body = kernel_text(f"kernel{number}", kernel, thread, block)[0].splitlines()
    hidden = len(body) - 2 * LINES if not about.full else 0
    shown = [*body[:LINES], f"  … {hidden} more lines, which --full shows", *body[-LINES:]] if hidden > 0 else body
    lines = about.paper.paragraph("As emit/ writes it down, before LLVM's own passes.")
    lines += ["", *(f"  {line}" for line in shown)]
    title = f"6  LLVM's text of kernel {number}: {kernel.name}"
    return Section(title, lines if about.full else [cut(x, WIDTH) for x in lines])
