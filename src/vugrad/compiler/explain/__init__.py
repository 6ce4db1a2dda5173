"""A plan as text that a person can read: what each floor of the compiler made of a function, and its times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vugrad.compiler.explain.about import About, Section
from vugrad.compiler.explain.arrays import arrays
from vugrad.compiler.explain.kernels import loops, text
from vugrad.compiler.explain.memory import memory
from vugrad.compiler.explain.tables import WIDTH, size, some
from vugrad.compiler.explain.times import times
from vugrad.suggest import choose

if TYPE_CHECKING:
    from vugrad.compiler.plan import Plan

#: What ``floor`` may be, besides "all", which is all of these but the last.
FLOORS = ("arrays", "loops", "memory", "time", "llvm")


def explain(plan: Plan, arguments: Sequence[Any] = (), **options: Any) -> str:
    """The print-out; the options are those of :func:`sections`."""
    return "\n\n".join(map(str, sections(plan, arguments, **options)))


def sections(
    plan: Plan,
    arguments: Sequence[Any] = (),
    floor: str = "all",
    kernel: int | None = None,
    full: bool = False,
    name: str = "function",
    origins: Mapping[int, str] | None = None,
    width: int = WIDTH,
) -> list[Section]:
    """The parts of the print-out, in the order in which the compiler works.

    Args:
        plan: what is explained.
        arguments: as for ``plan.run``; without them nothing is timed.
        floor: one of ``FLOORS``, or "all" for all but LLVM's text.
        kernel: show the loops, or LLVM's text, of this kernel alone.
        full: leave out nothing.
        name: of the function.
        origins: of the array program's results, as a trace with ``origins`` records them.
        width: the columns of the text; lines of loops and of LLVM text may be longer.
    """
    choose("floor", floor, dict.fromkeys(("all", *FLOORS)))
    about = About(plan, full, dict(origins or {}), width)
    if kernel is not None and not 0 <= kernel < len(about.works):
        raise ValueError(f"there is no kernel {kernel}: this plan has the kernels 0 to {len(about.works) - 1}")
    makers: dict[str, Callable[[], Section]] = {
        "arrays": lambda: arrays(about),
        "loops": lambda: loops(about, kernel),
        "memory": lambda: memory(about),
        "time": lambda: times(about, arguments),
        "llvm": lambda: text(about, kernel),
    }
    chosen = FLOORS[:-1] if floor == "all" else (floor,)
    return [signature(about, name), *(makers[f]() for f in chosen)]


def signature(about: About, name: str) -> Section:
    """The function, its state, and the machine."""
    plan, program, target, paper = about.plan, about.program, about.plan.target, about.paper
    arguments = ", ".join(f"{program[i].type}" for i in program.inputs("argument").values())
    results = [f"{program[o.number].type}" for o in program.outputs if o.into is None]
    states = [program[i] for i in program.inputs("state").values()]
    state = sum(x.size * x.dtype.itemsize for x in states)
    lanes, batch = plan.lowered.loops.lanes, plan.lowered.batch
    kernels, stages = len(about.works), len(plan.lowered.loops.stages)
    lines = paper.item("function", f"{name}({arguments}) → {', '.join(results) or 'nothing'}")
    if states or program.inputs("scalar"):
        numbers = list(program.inputs("scalar"))
        changed = sum(o.into is not None for o in program.outputs)
        what = f"{len(states)} arrays, {size(state)}" + (f", and {len(numbers)} numbers" if numbers else "")
        lines += paper.item("state", f"{what}; a call updates {changed} of them")
        lines += paper.item("numbers", numbers if about.full else some(numbers, 5)) if numbers else []
    inner = sum(x.family != "source" for x in program.instructions)
    flow = [f"{inner} instructions on arrays", f"{kernels} kernels in {stages} stages", "LLVM", "machine code"]
    lines += paper.item("floors", "Python → " + " → ".join(flow))
    lines += paper.item(
        "threads", f"{plan.threads}" + ", which wait for each other after each stage" * (plan.threads > 1)
    )
    if lanes > 1:
        lines += paper.item("lanes", f"{lanes}: a vector holds {lanes} of the batch's {batch} instances")
    else:
        lines += paper.item("lanes", "not the batch: each kernel fills its vectors along an axis of its own")
    width = target.vector_bytes
    vectors = f"vectors of {width} bytes ({width // 4} float32), {target.registers} registers"
    lines += paper.item("target", f"{target.cpu}, {target.triple}; {vectors}")
    return Section("1  What is compiled", lines)
