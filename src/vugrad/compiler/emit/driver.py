"""The function that runs a whole plan, on each of its threads: stage after stage, step after step.

It is LLVM text like the kernels. A *control block* of 64-bit numbers is shared by all threads and by Python, which may
look at how far it is, and ask it to stop, while it runs.
"""

from __future__ import annotations

from enum import IntEnum

from vugrad.compiler.arrays.program import SHORT
from vugrad.compiler.emit.kernels import DRIVER_ATTRIBUTES
from vugrad.compiler.emit.lines import LLVM
from vugrad.compiler.loops.program import Buffer

#: How often a thread looks for the others before it offers its core to somebody else.
PATIENCE = 2000


class Control(IntEnum):
    """What stands where in the control block. Numbers that different threads write are a cache line apart."""

    STEPS = 0
    STOP = 1
    DONE = 2
    ARRIVED = 8
    ROUND = 16
    DECISION = 24
    SIZE = 32


#: Numbers too small to be normal count as 0 from here on: an x86 processor takes a hundred times as long for them, and
#: what decays, as the means of Adam do where gradients are 0, is such a number for a long time. The caller's own mode,
#: with the exceptions that it has seen, is put back at the end.
FLUSHED = (
    "  %before = alloca i32",
    "  %flushing = alloca i32",
    "  call void @llvm.x86.sse.stmxcsr(ptr %before)",
    "  %mode = load i32, ptr %before",
    "  %changed = or i32 %mode, 32832",
    "  store i32 %changed, ptr %flushing",
    "  call void @llvm.x86.sse.ldmxcsr(ptr %flushing)",
)
RESTORED = ("  call void @llvm.x86.sse.ldmxcsr(ptr %before)",)
MODES = tuple(f"declare void @llvm.x86.sse.{name}(ptr)" for name in ("stmxcsr", "ldmxcsr"))


def driver(stages: int, threads: int, slots: int, check: tuple[Buffer, int, int] | None, flush: bool) -> str:
    """The text of ``run(tables, strides, control, thread)``.

    Each thread has a table of ``slots`` pointers of its own, in which after every step ``strides`` are added. With
    ``check``, a buffer of one number, its slot, and a stage, the run ends after that stage if the number is not finite.
    """
    text = ["declare i32 @sched_yield()"] if threads > 1 else []
    text += MODES if flush else ()
    text += _barrier(threads) if threads > 1 else []
    lines = [
        f"define void @run(ptr %tables, ptr %strides, ptr %control, i64 %thread) {DRIVER_ATTRIBUTES} {{",
        "entry:",
        *(FLUSHED if flush else ()),
        f"  %offset = mul i64 %thread, {slots}",
        "  %table = getelementptr i64, ptr %tables, i64 %offset",
        "  %steps = load i64, ptr %control",
        f"  %stop = getelementptr i64, ptr %control, i64 {Control.STOP.value}",
        f"  %done = getelementptr i64, ptr %control, i64 {Control.DONE.value}",
        f"  %decision = getelementptr i64, ptr %control, i64 {Control.DECISION.value}",
        "  %first = icmp eq i64 %thread, 0",
        "  %any = icmp sgt i64 %steps, 0",
        "  br i1 %any, label %step, label %end",
        "step:",
        "  %number = phi i64 [ 0, %entry ], [ %next, %advanced ]",
    ]
    wait = ["  call void @barrier(ptr %control)"] if threads > 1 else []
    for stage in range(stages):
        lines.append(f"  call void @stage{stage}(ptr %table, i64 %thread)")
        if stage == stages - 1:  # the first thread decides for all whether there is another step
            lines += ["  br i1 %first, label %decide, label %decided", "decide:"]
            lines += ["  %asked = load atomic i64, ptr %stop monotonic, align 8"]
            lines += ["  %left = sub i64 %steps, %number", "  %last = icmp eq i64 %left, 1"]
            lines += ["  %halt = icmp ne i64 %asked, 0", "  %ends = or i1 %last, %halt"]
            lines += [
                "  %word = zext i1 %ends to i64",
                "  store i64 %word, ptr %decision",
                "  %count = add i64 %number, 1",
            ]
            lines += ["  store atomic i64 %count, ptr %done monotonic, align 8", "  br label %decided", "decided:"]
        lines += wait
        if check is not None and check[2] == stage:
            lines += _check(check[0], check[1])
    lines += [
        "  %verdict = load i64, ptr %decision",
        "  %over = icmp ne i64 %verdict, 0",
        "  br i1 %over, label %end, label %advance",
        "advance:",
        "  %next = add i64 %number, 1",
        "  br label %slot",
        "slot:",
        "  %i = phi i64 [ 0, %advance ], [ %j, %slot ]",
        "  %place = getelementptr i64, ptr %table, i64 %i",
        "  %stride = getelementptr i64, ptr %strides, i64 %i",
        "  %old = load i64, ptr %place",
        "  %by = load i64, ptr %stride",
        "  %new = add i64 %old, %by",
        "  store i64 %new, ptr %place",
        "  %j = add i64 %i, 1",
        f"  %more = icmp slt i64 %j, {slots}",
        "  br i1 %more, label %slot, label %advanced",
        "advanced:",
        *wait,  # nobody overtakes the others by a step: the decision must have been read
        "  br label %step",
        "end:",
        *(RESTORED if flush else ()),
        "  ret void",
        "}",
    ]
    return "\n".join([*text, *lines])


def _check(buffer: Buffer, slot: int) -> list[str]:
    """End the run where a number is NaN or infinite: x − x is 0 for all others."""
    kind = LLVM[SHORT[buffer.dtype]]
    return [
        f"  %looked = getelementptr ptr, ptr %table, i64 {slot}",
        "  %where = load ptr, ptr %looked",
        f"  %value = load {kind}, ptr %where",
        f"  %difference = fsub {kind} %value, %value",
        f"  %finite = fcmp oeq {kind} %difference, 0.0",
        "  br i1 %finite, label %goes.on, label %end",
        "goes.on:",
    ]


def _barrier(threads: int) -> list[str]:
    """Wait until all threads are here. The last one to arrive begins a new round, for which the others look."""
    return [
        "define internal void @barrier(ptr %control) noinline {",
        "entry:",
        f"  %arrived = getelementptr i64, ptr %control, i64 {Control.ARRIVED.value}",
        f"  %round = getelementptr i64, ptr %control, i64 {Control.ROUND.value}",
        "  %mine = load atomic i64, ptr %round acquire, align 8",
        "  %before = atomicrmw add ptr %arrived, i64 1 acq_rel",
        f"  %last = icmp eq i64 %before, {threads - 1}",
        "  br i1 %last, label %open, label %look",
        "open:",
        "  store atomic i64 0, ptr %arrived monotonic, align 8",
        "  %new = add i64 %mine, 1",
        "  store atomic i64 %new, ptr %round release, align 8",
        "  ret void",
        "look:",
        "  %tries = phi i64 [ 0, %entry ], [ %following, %again ]",
        "  %now = load atomic i64, ptr %round acquire, align 8",
        "  %opened = icmp ne i64 %now, %mine",
        "  br i1 %opened, label %gone, label %wait",
        "wait:",
        "  %following = add i64 %tries, 1",
        f"  %long = icmp sgt i64 %tries, {PATIENCE}",
        "  br i1 %long, label %yield, label %again",
        "yield:",
        "  %ignored = call i32 @sched_yield()",
        "  br label %again",
        "again:",
        "  br label %look",
        "gone:",
        "  ret void",
        "}",
    ]
