"""Checks of a trace: shared memory in the state, parameters recorded as constants, and leaked tracers."""

from __future__ import annotations

import gc
import itertools
import sys
import time
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from vugrad.compiler.arrays import Program
from vugrad.compiler.trace.standin import CannotCompileError, Traced
from vugrad.graph import TensorNode

Array = Any
#: Pauses in seconds after which an object that seems to be leaked is looked for again.
PAUSES = (0.0, 0.002, 0.01, 0.05)


def check_apart(arrays: list[tuple[str, Any]]) -> None:
    """Raise if two arrays of the state share memory: a write into one would change the other."""
    apart = [(name, array) for name, array in arrays if isinstance(array, np.ndarray) and array.size]
    ordered = sorted((*np.lib.array_utils.byte_bounds(array), name) for name, array in apart)
    for (_, end, one), (start, _, other) in itertools.pairwise(ordered):
        if start < end:
            raise CannotCompileError(
                f"{one} and {other} share memory. Give one of them an array of its own "
                "(node.value = node.value.copy()), or use one node in both places"
            )


def constants(program: Program) -> list[Array]:
    """The floating-point arrays that were recorded as constants, and their base arrays."""
    arrays = [x.parameters["value"] for x in program.instructions if x.primitive == "constant"]
    arrays = [array for array in arrays if array.dtype.kind == "f" and array.size]
    return arrays + [array.base for array in arrays if isinstance(array.base, np.ndarray)]  # a parameter transposed


def _references(x: weakref.ref[Array]) -> int:
    """How many references an array has."""
    array = x()
    return sys.getrefcount(array)


_one = {"value": np.zeros(1)}
#: What :func:`_references` says of an array that one object holds.
ALONE = _references(weakref.ref(_one["value"]))


def check_constants(recorded: list[weakref.ref[Array]], program: Program) -> None:
    """Raise if the array of a parameter was recorded as a constant: its later values would be ignored.

    An array that only ``program`` refers to belongs to no parameter. For the others, ``gc.get_referrers`` searches all
    objects, which takes 1.5 ms or more.
    """

    def find() -> list[TensorNode]:
        held = set(map(id, constants(program)))
        others = [x for x in recorded if _references(x) > ALONE or id(x()) not in held]
        arrays = [array for x in others if (array := x()) is not None]
        return [
            node
            for node in (gc.get_referrers(*arrays) if arrays else ())
            if isinstance(node, TensorNode) and node.requires_grad
        ]

    for node in _lasting(find):
        name = repr(node.name) if node.name else f"a node of shape {node.shape}"
        if node.source is not None:
            raise CannotCompileError(
                f"the function uses {name}, which {node.source.op.__name__} made outside of it, and no gradient would "
                "flow to that graph: pass it as an argument, or use node.detach() for a constant"
            )
        raise CannotCompileError(
            f"the function uses the parameter {name}, which is not in its state: list its module or optimizer, as in "
            "vg.compile(f, state=[model, optimizer]); for an export, make it an attribute of the model; or give it "
            "requires_grad=False to make it a constant"
        )


def check_kept(recorded: weakref.ref[Program]) -> None:
    """Raise if the function has leaked a tracer: in later calls it would have no value."""

    def find() -> list[Traced]:
        program = recorded()
        return [] if program is None else [x for x in gc.get_referrers(program) if isinstance(x, Traced)]

    for x in _lasting(find):
        raise CannotCompileError(
            f"the function keeps an array of its own ({x.program[x.number].type}) after its end, in a list, a dict, an "
            "attribute or a gradient, which a compiled program would not do again. Return what you want to see; put "
            "what the next call needs into a TensorNode in the state, as in vg.compile(f, state=[model, velocity]). "
            "An exported model can keep nothing from one call to the next"
        )


def _lasting(find: Callable[[], list[Any]]) -> list[Any]:
    """The objects that ``find`` still finds after garbage collection and after pauses.

    The pauses let go of objects that a profiler holds for a moment, through this thread's frames.
    """
    for pause in PAUSES:
        if not find():  # the result is not kept: that would keep the objects alive
            return []
        gc.collect()
        time.sleep(pause)
    return find()
