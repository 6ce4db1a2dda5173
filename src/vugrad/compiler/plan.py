"""A plan: one program, compiled for one signature of shapes and dtypes, with the memory that it needs."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import functools
import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from vugrad.compiler.arena import Arena, arrange
from vugrad.compiler.arrays import Program
from vugrad.compiler.emit import emit
from vugrad.compiler.emit.driver import Control, driver
from vugrad.compiler.loops.program import Buffer
from vugrad.compiler.loops.verify import verify
from vugrad.compiler.lower import Lowered, Machine, lower
from vugrad.compiler.machine import cache, llvm, threads
from vugrad.compiler.machine.interrupt import HeldBack
from vugrad.compiler.machine.team import hire
from vugrad.compiler.trace import Slot, Trace
from vugrad.graph import TensorNode, as_array
from vugrad.graph.nodes import KeptGradient

if TYPE_CHECKING:
    from vugrad.compiler.profile import Profile

Array = Any
T = TypeVar("T")
#: How often, in seconds, Python reports how far an epoch is, and looks for Ctrl-C.
LOOK = 0.05


class Plan:
    """A compiled program, and the arrays that it works on.

    Args:
        trace: the program and the state that it changes.
        finite: stop before the state is changed where the first result is not finite.
        identified: objects that live as long as the plan, since its key has their identities.

    Raises ``MemoryError``, with the size, if the machine has not so much memory.
    """

    def __init__(self, trace: Trace, finite: bool = False, identified: Sequence[Any] = ()) -> None:
        self.trace, self.target, self.identified = trace, llvm.host(), identified
        machine = Machine(self.target.vector_bytes, self.target.registers, threads.get_threads())
        check = trace.program.outputs[0].name if finite else None
        self._key = (self.target.key, repr(machine), str(check is not None), _version(), trace.fingerprint)
        self.lowered, self.arena = _lowerings.get(self._key, lambda: laid_out(trace.program, machine, check))
        self.threads = self.lowered.loops.threads  # fewer than allowed where there is not so much to share
        _check_memory(self.arena.size)
        self.slots = self.arena.slots
        self._check = None if check is None else self._stage_of(self.lowered.outputs[check])
        #: The cycles of each kernel on each thread, in a copy that counts them.
        self.counters: Array = np.zeros(1, np.int64)
        self._load(self._compiled())
        inputs, program = trace.program.inputs(), trace.program
        self._state = [
            (s, self.lowered.inputs[s.name], program[inputs[s.name]]) for s in trace.slots if s.name in inputs
        ]
        concerned = {*trace.gradients, *trace.reads}
        self._changed = [(s.name, s.node) for s in trace.slots if s.node is not None and s.name in concerned]
        self._expected = {name: program[number] for name, number in program.inputs("argument").items()}
        self._written = {output.into for output in program.outputs}
        self._shapes = {output.name: program[output.number].shape for output in program.outputs}

    def _load(self, code: llvm.Code) -> None:
        """Make machine code ready to run, with memory of its own."""
        self._code = code
        self._entry = self._code.address("run")
        self._run = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64)(self._entry)
        self._memory = _aligned(self.arena.size)
        self._numbers: dict[str, Array] = {}  # of the state, those that are Python numbers
        self._held: dict[Buffer, Array] = {}
        self._pointers = np.zeros(self.arena.table, np.uint64)
        self._pointers[0] = self._memory.ctypes.data
        for buffer in self.slots:
            if buffer.role == "constant":
                self._hold(buffer, np.asarray(buffer.value))
        #: Held while it runs; the thread of Python that holds it, or held it last; and the process they are of.
        self._lock, self._runner, self._process = threading.Lock(), 0, os.getpid()

    # --- compiling

    def text(self, profile: bool = False) -> str:
        """The program as LLVM's text; with ``profile``, kernels count their cycles."""
        kernels = emit(self.lowered.loops, self.arena, profile)
        stages = len(self.lowered.loops.stages)
        return f"{kernels}\n{driver(stages, self.threads, self.arena.table, self._check, self.target.flushes)}"

    def _compiled(self) -> llvm.Code:
        key = cache.key(*self._key)

        def load() -> llvm.Code:
            code = cache.get(key)
            if code is None:
                code = llvm.compile_text(self.text(), self.target)
                cache.put(key, code)
            return llvm.Code(code, self.target)

        return _codes.get(key, load)

    def _stage_of(self, buffer: Buffer) -> tuple[Buffer, int, int]:
        """The buffer, its slot, and the stage that fills it."""
        for number, stage in enumerate(self.lowered.loops.stages):
            for kernel in stage.kernels():
                if buffer in kernel.stores():
                    return buffer, self.slots[buffer], number
        raise AssertionError(f"nothing fills {buffer}")

    # --- looking into it

    def explain(self, *arguments: Any, **options: Any) -> str:
        """The plan as text, floor by floor; with arguments, also where the time goes. See ``explain/`` for options."""
        from vugrad.compiler.explain import explain

        return explain(self, arguments, **options)

    def profile(self, *arguments: Any, repeats: int | None = None) -> Profile:
        """The time of every kernel, measured on copies of the state; see ``profile.py``."""
        from vugrad.compiler.profile import profile

        return profile(self, *arguments, repeats=repeats)

    def copied(self, profile: bool = False) -> Plan:
        """A plan with the same code and a copy of the state; with ``profile``, the code counts its cycles."""
        other, target = copy.copy(self), self.target
        other._load(llvm.Code(llvm.compile_text(self.text(True), target), target) if profile else self._compiled())
        other.counters = np.zeros(self.threads * sum(len(s.kernels()) for s in self.lowered.loops.stages), np.int64)
        other._state, other._changed = [(_apart(slot), buffer, x) for slot, buffer, x in self._state], []
        return other

    def repeat(self, arguments: Sequence[Any], steps: int) -> None:
        """So many steps with the same arguments, in one native call."""
        self._launch([plain(x) for x in arguments], np.arange(self.lowered.batch), steps, 0, {}, None)

    # --- running

    def run(self, *arguments: Any) -> Any:
        """One call of the function: the state is updated in place, the result is returned.

        The arrays must have the shapes and dtypes that the plan was made for.
        """
        return self.trace.rebuild(self.outputs(*arguments))

    def outputs(self, *arguments: Any) -> dict[str, Array]:
        """Run once; return the arrays of the result by name."""
        for i, x in enumerate(arguments):
            if isinstance(x, TensorNode):
                self._leave(f"argument {i}", x)
        arrays = [plain(x) for x in arguments]
        outputs, _ = self._launch(arrays, np.arange(self.lowered.batch), 1, 0, {}, None)
        return {name: array[0] for name, array in outputs.items()}

    def run_epoch(
        self,
        arrays: list[Array],
        order: Array,
        numbers: dict[str, Array],
        progress: Callable[[int, dict[str, Array]], None] | None,
    ) -> tuple[dict[str, Array], int]:
        """Many steps in one native call: the batches are the rows of ``arrays`` that ``order`` names, one by one.

        Args:
            arrays: for each argument an array of any number of rows; those without rows are the same at every step.
            order: positions of rows, as many as the steps need.
            numbers: of the state's numbers those that change from step to step by themselves, one for each step.
            progress: called now and then, and at the end, with the number of steps done and the outputs so far.

        Returns the outputs of all steps and how many were done. ``KeyboardInterrupt`` ends the run after a step.
        """
        steps = len(order) // max(self.lowered.batch, 1)
        return self._launch(arrays, order, steps, self.lowered.batch, numbers, progress)

    def _launch(
        self,
        arguments: list[Array],
        order: Array,
        steps: int,
        stride: int,
        numbers: dict[str, Array],
        progress: Callable[[int, dict[str, Array]], None] | None,
    ) -> tuple[dict[str, Array], int]:
        self._check_free()
        for name, node in self._changed:
            self._leave(name, node)
        with self._lock:
            self._runner = threading.get_ident()
            strides = np.zeros(self.arena.table, np.int64)
            outputs = {}
            for i, x in enumerate(arguments):
                if f"argument {i}" in self.lowered.inputs:
                    array = self._checked(i, as_array(x), order, stride > 0)
                    self._hold(self.lowered.inputs[f"argument {i}"], array)
            self._bind_state(numbers, strides)
            for name, buffer in self.lowered.outputs.items():
                outputs[name] = np.zeros((steps, *self._shapes[name]), buffer.dtype)
                self._hold(buffer, outputs[name])
                strides[self.slots[buffer]] = buffer.nbytes
            if self.lowered.order is not None:
                self._hold(self.lowered.order, np.ascontiguousarray(order, np.int64))
                strides[self.slots[self.lowered.order]] = 8 * stride
            self._pointers[1] = self.counters.ctypes.data
            table = np.array([self._pointers] * self.threads)  # each thread goes on in one of its own
            control = _aligned(8 * Control.SIZE).view(np.int64)
            control[:] = 0
            control[Control.STEPS] = steps
            addresses = (table.ctypes.data, strides.ctypes.data, control.ctypes.data)
            try:
                if stride:
                    self._watch(addresses, control, outputs, progress)
                else:
                    self._call(addresses)
            finally:
                self._unbind_numbers(numbers)
                for buffer in (*self.lowered.inputs.values(), *self.lowered.outputs.values()):
                    if buffer.role in ("argument", "output"):
                        self._held.pop(buffer, None)
            return outputs, int(control[Control.DONE])

    def _check_free(self) -> None:
        """Raise where to wait for the plan would be to wait for oneself; a forked process waits for nobody."""
        if self._process != os.getpid():
            self._process, self._lock = os.getpid(), threading.Lock()
        if self._lock.locked() and self._runner == threading.get_ident():
            raise RuntimeError(
                "this plan is called from its own progress function, but it runs until that has returned"
            )

    def _hold(self, buffer: Buffer, array: Array) -> None:
        """Let a buffer be the memory of an array, which most often is the one of the call before."""
        if self._held.get(buffer) is not array:
            self._held[buffer] = array
            self._pointers[self.slots[buffer]] = array.__array_interface__["data"][0]

    def _checked(self, i: int, x: Array, order: Array, many: bool) -> Array:
        """An argument as the native code reads it: contiguous, and as large as it takes for granted."""
        name = f"argument {i}"
        expected, rows = self._expected[name], many and self.lowered.inputs[name].row > 0
        if x.dtype != expected.dtype or (x.shape[rows:] != expected.shape[rows:]):
            raise ValueError(
                f"this plan was made for {name} of {expected.dtype} and shape {expected.shape}, not {x.dtype} "
                f"{x.shape}: call the compiled function itself, which makes a plan for it"
            )
        if rows and len(order) and not 0 <= order.min() <= order.max() < len(x):
            raise ValueError(f"order holds positions from {order.min()} to {order.max()}, and {name} has {len(x)} rows")
        return np.ascontiguousarray(x).reshape(x.shape)

    def _call(self, addresses: tuple[int, int, int]) -> None:
        """Call the native function on every thread, of which the caller's own is one."""
        if self.threads == 1:
            self._run(*addresses, 0)
            return
        hire(self.threads).team.call(self._entry, addresses)

    def _watch(
        self,
        addresses: tuple[int, int, int],
        control: Array,
        outputs: dict[str, Array],
        progress: Callable[[int, dict[str, Array]], None] | None,
    ) -> None:
        """Let the native function run on a team of threads, and meanwhile report, and look for Ctrl-C."""
        tell = progress or (lambda done, outputs: None)
        stop = control.ctypes.data + 8 * Control.STOP
        with HeldBack() as interrupt:
            lease = hire(self.threads)
            team = lease.team
            try:
                try:
                    team.begin(self._entry, addresses)
                    while not team.wait(LOOK) and not interrupt.came:
                        # One thread counts the steps; the others may still work on the last one counted.
                        tell(max(int(control[Control.DONE]) - 1, 0), outputs)
                finally:  # the threads must finish before the arrays are freed, whatever was raised
                    team.end(stop)
                    del lease  # a kept error would keep this frame, and the lease
            except BaseException:
                with contextlib.suppress(BaseException):  # the first error is the one that is raised
                    tell(int(control[Control.DONE]), outputs)
                raise
            tell(int(control[Control.DONE]), outputs)

    # --- the state

    def _leave(self, name: str, node: TensorNode) -> None:
        """Set a node's gradient as the function leaves it; a gradient that stays inside raises when it is read."""
        if name in self.trace.reads and node._grad is not None and np.any(node.grad):
            raise RuntimeError(
                f"{node.name or name} has a gradient from before this call, which the compiled function cannot add to: "
                "call zero_grad() before the call"
            )
        computed = self.trace.gradients.get(name)
        if computed is not None:
            node._grad = _kept(node.name or name) if computed else None

    def _bind_state(self, numbers: dict[str, Array], strides: Array) -> None:
        """The state's own arrays; Python numbers, which have no place in memory, get one."""
        for slot, buffer, expected in self._state:
            value: Any = slot.get()
            if slot.name in numbers:
                self._hold(buffer, np.ascontiguousarray(numbers[slot.name], buffer.dtype))
                strides[self.slots[buffer]] = buffer.dtype.itemsize
            elif buffer.role == "scalar":
                if slot.name not in self._numbers:
                    self._numbers[slot.name] = np.zeros((), buffer.dtype)
                self._numbers[slot.name][()] = value
                self._hold(buffer, self._numbers[slot.name])
            elif type(value) is not np.ndarray or not value.flags.writeable or value is not self._held.get(buffer):
                if type(value) is not np.ndarray or value.shape != expected.shape or value.dtype != expected.dtype:
                    raise ValueError(
                        f"{slot.name} was {expected.dtype} of shape {expected.shape} when this plan was made, and is "
                        f"{getattr(value, 'dtype', type(value).__name__)} of shape {np.shape(value)} now: make another "
                        "plan"
                    )
                flags = value.flags
                if not flags.c_contiguous or not flags.writeable:
                    fault = "read-only" if flags.c_contiguous else "not contiguous"
                    raise ValueError(
                        f"the array of {slot.name} is {fault}, and a compiled program writes into it: give it an array "
                        "of its own, as in node.value = node.value.copy()"
                    )
                self._hold(buffer, value)

    def _unbind_numbers(self, numbers: dict[str, Array]) -> None:
        for slot, buffer, _ in self._state:
            if buffer.role == "scalar" and slot.name in self._written and slot.name not in numbers:
                slot.set(self._numbers[slot.name].item())


class Recent(Generic[T]):
    """What was made last, by its key: the networks of many small runs are the same program, made once in a process."""

    def __init__(self, most: int) -> None:
        self._most, self._made, self._lock = most, dict[Any, T](), threading.Lock()

    def get(self, key: Any, make: Callable[[], T]) -> T:
        """What was made for this key, or is made now."""
        with self._lock:
            found = self._made.pop(key, None)
        found = make() if found is None else found
        with self._lock:
            self._made[key] = found  # the last in the order
            while len(self._made) > self._most:
                del self._made[next(iter(self._made))]
        return found


#: Programs and machine codes that a process keeps at hand.
RECENT = 16
_lowerings: Recent[tuple[Lowered, Arena]] = Recent(RECENT)
_codes: Recent[llvm.Code] = Recent(RECENT)


def laid_out(program: Program, machine: Machine, check: str | None = None) -> tuple[Lowered, Arena]:
    """A program as loops that were verified, and where their buffers lie."""
    lowered = lower(program, machine, check)
    verify(lowered.loops, mend=True)
    return lowered, arrange(lowered.loops)


@functools.cache
def _version() -> str:
    """A hash of the compiler's own source, so that no code of an older one is used."""
    total = hashlib.sha256()
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        total.update(file.read_bytes())
    return total.hexdigest()


@functools.lru_cache(1000)
def _kept(name: str) -> KeptGradient:
    return KeptGradient(
        f"the gradient of {name!r} stayed in the compiled function that computed it: call optimizer.step() in that "
        "function too, or return the gradient, as in return loss, weight.grad. To start afresh, call zero_grad()"
    )


def _check_memory(size: int) -> None:
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return
    if size > there:
        raise MemoryError(
            f"this plan needs {size / 2**30:,.1f} GiB for its intermediate results, and the machine has "
            f"{there / 2**30:,.1f} GiB: use smaller batches"
        )


def _aligned(size: int) -> Array:
    """Bytes that begin at a cache line."""
    memory = np.empty(size + 64, np.uint8)
    begin = -memory.ctypes.data % 64
    return memory[begin : begin + size]


def _apart(slot: Slot) -> Slot:
    """A slot of the same name with a copy of what is in it."""
    held = [copy.copy(slot.get())]
    return Slot(slot.name, lambda: held[0], lambda value: held.__setitem__(0, value))


def plain(x: Any) -> Any:
    """The array of a node, and anything else as it is."""
    return x.value if isinstance(x, TensorNode) else x
