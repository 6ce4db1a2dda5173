"""A function on every floor of the compiler: traced, lowered, verified, interpreted twice, and run as native code."""

import warnings

import numpy as np

import vugrad as vg
from vugrad.compiler.arrays import interpret as interpret_arrays
from vugrad.compiler.loops.interpret import interpret as interpret_loops
from vugrad.compiler.loops.verify import verify as verify_loops
from vugrad.compiler.lower import Machine, lower
from vugrad.compiler.plan import Plan
from vugrad.compiler.trace import trace

#: One vector of SSE, AVX2 and AVX-512, with as many registers as there are.
MACHINES = [Machine(16, 16, 1), Machine(32, 16, 2), Machine(64, 32, 3)]


def on_arrays(traced, arguments):
    """What the array program's interpreter gives: the outputs, what is written to the state included, by name."""
    return interpret_arrays(traced.program, inputs(traced, arguments))


def on_loops(traced, arguments, machine, mend=False):
    """The same by the loops, lowered for a machine, verified (every access proved, or mended) and interpreted."""
    lowered = lower(traced.program, machine)
    verify_loops(lowered.loops, mend)
    given = inputs(traced, arguments)
    memory, results = {}, {}
    for buffer in lowered.loops.buffers:
        if buffer.role in ("argument", "state", "scalar"):
            memory[buffer] = given[buffer.name].copy().reshape(-1)
        elif buffer.role == "order":
            memory[buffer] = np.arange(buffer.size)
        elif buffer.role == "output":
            memory[buffer] = np.full(buffer.size, 77, buffer.dtype)
    interpret_loops(lowered.loops, memory)
    for output in traced.program.outputs:
        buffer = lowered.inputs[output.into] if output.into else lowered.outputs[output.name]
        results[output.name] = memory[buffer].reshape(traced.program[output.number].shape)
    return results


def inputs(traced, arguments):
    """The arrays that a program works on, by the names of its inputs."""
    found = {f"argument {i}": np.asarray(getattr(x, "value", x)) for i, x in enumerate(arguments)}
    return found | {slot.name: np.array(slot.get()) for slot in traced.slots}


def check(function, *arguments, machines=MACHINES[2:], native=True, tolerance=None):
    """All floors give what NumPy gives; for a function without state."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        expected = flat(function(*arguments))
    traced = trace(function, arguments)
    assert_same(expected, flat(traced.rebuild(on_arrays(traced, arguments))), tolerance, "the arrays' interpreter")
    for machine in machines:
        results = flat(traced.rebuild(on_loops(traced, arguments, machine)))
        assert_same(expected, results, tolerance, f"the loops' interpreter, {machine}")
    if native:
        assert_same(expected, flat(Plan(traced).run(*arguments)), tolerance, "native code")


def flat(result):
    """All arrays of a function's result, in order."""
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, list | tuple):
        return [array for part in result for array in flat(part)]
    return [np.asarray(result.value if isinstance(result, vg.TensorNode) else result)]


def assert_same(expected, found, tolerance=None, where=""):
    """Equal shapes and dtypes; equal numbers, NaN and infinity included, to the dtype's precision."""
    assert len(expected) == len(found)
    for i, (x, y) in enumerate(zip(expected, found, strict=True)):
        assert (x.shape, x.dtype) == (y.shape, y.dtype), f"{where}, result {i}"
        if x.dtype.kind != "f":
            np.testing.assert_array_equal(y, x, err_msg=f"{where}, result {i}")
        else:
            near = tolerance or {4: 2e-5, 8: 1e-11}[x.dtype.itemsize]
            scale = np.max(np.abs(x[np.isfinite(x)]), initial=0.05)
            np.testing.assert_allclose(y, x, rtol=near, atol=near * scale, err_msg=f"{where}, result {i}")
