"""A plan as text that a person can read: what each floor of the compiler made of the function, and where the time goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vugrad.compiler.arrays.program import SHORT, Instruction, Program
from vugrad.compiler.loops.program import text
from vugrad.compiler.machine import llvm
from vugrad.compiler.memory_map import memory_map
from vugrad.compiler.tables import WIDTH, amount, bar, cut, item, paragraph, seconds, size, some, table
from vugrad.compiler.work import Work, work
from vugrad.suggest import choose

if TYPE_CHECKING:
    from vugrad.compiler.plan import Plan

#: What ``floor`` may be, besides "all", which is all of these but the last.
FLOORS = ("arrays", "loops", "memory", "time", "llvm")
#: Of a long program so many instructions are shown, of which the last are so many; and the loops of so many kernels.
SHOWN, LAST, LOOPS = 48, 8, 4
#: A kernel with less than this part of the operations, bytes or time is not shown by itself.
MINOR = 0.002


@dataclass
class Section:
    """A part of the print-out."""

    title: str
    lines: list[str]

    def __str__(self) -> str:
        return "\n".join([self.title, *self.lines])


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
    """
    choose("floor", floor, dict.fromkeys(("all", *FLOORS)))
    about = _About(plan, full, dict(origins or {}))
    if kernel is not None and not 0 <= kernel < len(about.works):
        raise ValueError(f"there is no kernel {kernel}: this plan has the kernels 0 to {len(about.works) - 1}")
    makers: dict[str, Callable[[], Section]] = {
        "arrays": about.arrays,
        "loops": lambda: about.loops(kernel),
        "memory": lambda: Section("4  Memory", memory_map(plan, about.works, full)),
        "time": lambda: about.time(arguments),
        "llvm": lambda: about.llvm(kernel),
    }
    chosen = FLOORS[:-1] if floor == "all" else (floor,)
    return [about.signature(name), *(makers[f]() for f in chosen)]


class _About:
    """What several sections need to know about a plan."""

    def __init__(self, plan: Plan, full: bool, origins: dict[int, str]) -> None:
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

    # --- 1

    def signature(self, name: str) -> Section:
        """The function, its state, and the machine."""
        plan, program, target = self.plan, self.program, llvm.host()
        arguments = ", ".join(f"{program[i].type}" for i in program.inputs("argument").values())
        results = [f"{program[o.number].type}" for o in program.outputs if o.into is None]
        states = [program[i] for i in program.inputs("state").values()]
        state = sum(x.size * x.dtype.itemsize for x in states)
        lanes, batch = plan.lowered.loops.lanes, plan.lowered.batch
        kernels, stages = len(self.works), len(plan.lowered.loops.stages)
        lines = item("function", f"{name}({arguments}) → {', '.join(results) or 'nothing'}")
        if states or program.inputs("scalar"):
            numbers = list(program.inputs("scalar"))
            changed = sum(o.into is not None for o in program.outputs)
            lines += item(
                "state",
                f"{len(states)} arrays, {size(state)}, and {len(numbers)} numbers; a call updates {changed} of them",
            )
            lines += item("numbers", numbers if self.full else some(numbers, 5)) if numbers else []
        inner = sum(x.family != "source" for x in program.instructions)
        flow = [f"{inner} instructions on arrays", f"{kernels} kernels in {stages} stages", "LLVM", "machine code"]
        lines += item("floors", "Python → " + " → ".join(flow))
        lines += item(
            "threads", f"{plan.threads}, which wait for each other after each stage" if plan.threads > 1 else "1"
        )
        if lanes > 1:
            lines += item(
                "lanes", f"{lanes}: so many of the batch's {batch} instances are computed side by side in vectors"
            )
        else:
            lines += item("lanes", "not the batch: each kernel fills its vectors along an axis of its own")
        vectors = (
            f"vectors of {target.vector_bytes} bytes ({target.vector_bytes // 4} float32), {target.registers} registers"
        )
        lines += item("target", f"{target.cpu}, {target.triple}; {vectors}")
        return Section("1  What is compiled", lines)

    # --- 2

    def arrays(self) -> Section:
        """The array program."""
        program = self.program
        inner = [i for i, x in enumerate(program.instructions) if x.family != "source"]
        lines = paragraph(
            "The function ran once on stand-ins for its arrays, which recorded what was done to them (trace.py): one "
            "instruction for each NumPy operation, forward, backward and update alike. The last column names the "
            "kernel that stores the result or, in brackets, those that compute it on the way to others, without storing it."
        )
        lines.append("")
        inputs = [f"%{i} {name} {program[i].type}" for name, i in program.inputs().items()]
        lines += item("inputs", inputs if self.full else some(inputs, 16))
        hidden = inner[SHOWN - LAST : -LAST] if len(inner) > SHOWN + LAST and not self.full else []
        rows = []
        for i in inner:
            if hidden and i == hidden[0]:
                rows.append(["", f"… {len(hidden)} more, which --full shows", "", ""])
            if i not in hidden:
                x = program[i]
                rows.append([f"%{i}", f"{x.type} = {_call(program, x)}", self.origins.get(i, ""), self._where(i)])
        heads = ["", "instruction", "comes from", ">kernel"]
        if not self.origins:
            rows, heads = [[row[0], row[1], row[3]] for row in rows], [heads[0], heads[1], heads[3]]
        lines += ["", *table(heads, rows)]
        returned = [f"{o.into} ← %{o.number}" if o.into else f"{o.name} = %{o.number}" for o in program.outputs]
        lines += ["", *item("return", returned if self.full else some(returned, 12))]
        return Section(f"2  The array program: {len(inner)} instructions", lines)

    def _where(self, number: int) -> str:
        if number in self.home:
            return str(self.home[number])
        inside = [str(k) for k in self.inside.get(number, [])]
        return f"({', '.join(inside if len(inside) < 4 else [*inside[:2], '…'])})"

    # --- 3

    def loops(self, only: int | None) -> Section:
        """The kernels: a table of all, and the loops of the largest."""
        works = self.works
        lines = paragraph(
            "What is stored, and what is computed again where it is used, is settled by lower/: results that are needed at "
            "the same place are fused into one kernel. Threads wait for each other between two stages. Kernels that run by "
            "blocks do one block of the batch after the other, so that what they pass on is still in the cache. FLOP are the "
            "floating-point operations of a step, a multiply-add being two; bytes are all that is read and written, once."
        )
        flop, moved = sum(w.flop for w in works), sum(w.nbytes for w in works)
        rows, small = [], list[Work]()
        for w, following in zip(works, [*works[1:], None], strict=True):
            if self.full or w.flop > MINOR * flop or w.nbytes > MINOR * moved:
                rows.append(self._kernel_row(w))
                continue
            small.append(w)
            last = following is None or following.stage != w.stage
            if last or following.flop > MINOR * flop or following.nbytes > MINOR * moved:  # type: ignore[union-attr]
                rows.append(self._small_row(small) if len(small) > 1 else self._kernel_row(small[0]))
                small = []
        total = ["", "", "", "all", "", amount(flop), size(moved), f"{flop / max(moved, 1):.2g}"]
        heads = [
            ">kernel",
            ">stage",
            "run by",
            "computes",
            "for" if self.origins else "results",
            ">FLOP",
            ">bytes",
            ">FLOP/byte",
        ]
        lines += ["", *table(heads, [*rows, total])]
        largest = sorted(works, key=lambda w: (-w.flop, -w.nbytes))[:LOOPS]
        chosen = [works[only]] if only is not None else works if self.full else sorted(largest, key=lambda w: w.number)
        if len(chosen) < len(works) and only is None:
            lines += [
                "",
                *paragraph(
                    f"The loops of the {len(chosen)} largest kernels (--kernel N shows another, --full all). Loops over lanes happen "
                    "all at once, in vectors; unrolled ones are written out. t is the thread, block the block of the batch; acc and "
                    "what is indexed by unrolled variables alone stays in registers."
                ),
            ]
        for w in chosen:
            lines += ["", *self._kernel(w, self.full or only is not None)]
        return Section(f"3  The kernels: {len(works)} in {len(self.plan.lowered.loops.stages)} stages", lines)

    def _kernel_row(self, w: Work) -> list[str]:
        intensity = f"{w.intensity:.2g}" if w.flop else ""
        return [
            str(w.number),
            str(w.stage),
            w.run_by,
            w.kernel.name,
            self._for([w]),
            amount(w.flop),
            size(w.nbytes),
            intensity,
        ]

    def _for(self, works: list[Work]) -> str:
        """The ops or files that kernels' results come from, or else their numbers."""
        numbers = [i for w in works for i in w.kernel.computes]
        if all(w.kernel.name == "fetch" for w in works):
            return ", ".join(self.program[i].parameters["name"] for i in numbers)
        if not self.origins:
            return cut(", ".join(f"%{i}" for i in numbers), 16)
        found: dict[str, dict[str, None]] = {}
        for i in numbers:
            name, _, direction = self.origins.get(i, ".").partition(":")[0].partition(".")
            ours = direction in ("forward", "backward")
            found.setdefault(f" {direction}" if ours else f".{direction}", {})[name] = None
        return ", ".join(", ".join(names) + ending for ending, names in found.items() if ending != ".")

    def _small_row(self, small: list[Work]) -> list[str]:
        names = ", ".join(dict.fromkeys(w.kernel.name for w in small))
        numbers = f"{small[0].number}–{small[-1].number}"
        flop, moved = sum(w.flop for w in small), sum(w.nbytes for w in small)
        return [
            numbers,
            str(small[0].stage),
            "",
            f"{len(small)} small: {names}",
            self._for(small),
            amount(flop),
            size(moved),
            "",
        ]

    def _kernel(self, w: Work, full: bool) -> list[str]:
        """One kernel: what it computes, what it reads and writes, and its loops."""
        stored, between = self.fused(w)
        lines = [f"  kernel {w.number}: {w.kernel.name}"]
        if stored:
            lines += item("stores", [f"%{i} {self._primitive(i)}" for i in stored], 4, 16)
            lines += item("on the way", [f"%{i} {self._primitive(i)}" for i in between], 4, 16) if between else []
        lines += item("reads", [f"{b.name} ({size(n)})" for b, n in w.reads.items()] or "nothing", 4, 16)
        lines += item("writes", [f"{b.name} ({size(n)})" for b, n in w.writes.items()], 4, 16)
        body = text(w.kernel.body, 3)
        return [*lines, *(body if full else [cut(line, WIDTH) for line in body])]

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

    def _primitive(self, number: int) -> str:
        return self.program[number].primitive

    # --- 5

    def time(self, arguments: Sequence[Any]) -> Section:
        """Where the time goes, beside what the machine could do."""
        from vugrad.compiler import profile as timing

        title = "5  Time"
        if not arguments and self.program.inputs("argument"):
            return Section(
                title, paragraph("Not measured: give explain the arguments of a call, and it runs on copies.")
            )
        try:
            found = timing.profile(self.plan, *arguments)
        except NotImplementedError as error:
            return Section(title, paragraph(f"Not measured: {error}."))
        best = timing.machine(self.plan.threads)
        flop = sum(w.flop for w in self.works)
        slowed = found.counted / found.seconds - 1
        lines = paragraph(
            f"A step takes {seconds(found.seconds)}, {amount(flop / found.seconds, 'FLOP/s')} "
            f"(best of {timing.ROUNDS} × {found.steps:,} steps on copies of the state); {max(slowed, 0):.0%} more with a counter "
            "of cycles around every kernel, by which the table was made."
        )
        lines += paragraph(
            f"This machine, measured, on {self.plan.threads} thread{'s' * (self.plan.threads > 1)}: {amount(best.f32, 'FLOP/s')} in a large float32 matrix "
            f"product, {amount(best.f64, 'FLOP/s')} in float64; copies move {amount(best.near, 'B/s')} within a nearby cache "
            f"and {amount(best.far, 'B/s')} beyond. No kernel should be quicker than its FLOP at the one rate, or its bytes at "
            "the other, whichever takes longer, the limit; the last column is the part of the limit's speed that it reaches. (Above "
            "100% it beats the matrix product, or finds more in its cache.) Times are those of the slowest thread; shares are of "
            "all threads' time."
        )
        rows, rest = [], list[Work]()
        for w in self.works:
            if not self.full and found.share(w.number) < 5 * MINOR:
                rest.append(w)
                continue
            took = found.time(w.number)
            double = any(b.dtype == "f8" and b.size > 1 for b in (*w.reads, *w.writes))
            least, by = best.least(w.flop, w.nbytes, w.footprint(self.plan.threads), double)
            reached = least / took if took else 0.0
            figures = [seconds(took), f"{found.share(w.number):.1%}", amount(w.flop / took if took else 0)]
            rows.append([str(w.number), w.kernel.name, self._for([w]), *figures, by, f"{bar(reached)} {reached:4.0%}"])
        if rest:
            rows.append(
                ["", f"{len(rest)} others", "", "", f"{sum(found.share(w.number) for w in rest):.1%}", "", "", ""]
            )
        rows.append(["", "waiting, calls", "", "", f"{max(found.rest, 0):.1%}", "", "", ""])
        heads = [
            ">kernel",
            "computes",
            "for" if self.origins else "results",
            ">time",
            ">share",
            ">FLOP/s",
            "limit",
            "of the limit",
        ]
        return Section(title, [*lines, "", *table(heads, rows)])

    # --- 6

    def llvm(self, only: int | None) -> Section:
        """LLVM's text of one kernel."""
        number = only if only is not None else max(self.works, key=lambda w: w.flop).number
        _, _, after = self.plan.text().partition(f"define internal void @kernel{number}(")
        body = after.partition("\n}")[0].splitlines()
        hidden = len(body) - 2 * SHOWN if not self.full else 0
        shown = [*body[:SHOWN], f"  … {hidden} more lines, which --full shows", *body[-SHOWN:]] if hidden > 0 else body
        lines = paragraph("As emit.py writes it down, before LLVM's own passes.")
        lines += ["", f"  define internal void @kernel{number}({shown[0]}", *(f"  {line}" for line in shown[1:]), "  }"]
        name = self.works[number].kernel.name
        return Section(
            f"6  LLVM's text of kernel {number}: {name}", lines if self.full else [cut(x, WIDTH) for x in lines]
        )


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
