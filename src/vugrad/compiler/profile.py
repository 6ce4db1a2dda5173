"""Where a plan's time goes: the time of each kernel, and what this machine could do at best."""

from __future__ import annotations

import ctypes
import functools
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vugrad.compiler.machine import llvm

if TYPE_CHECKING:
    from vugrad.compiler.plan import Plan

Array = Any
#: How long a measurement takes if nobody says how many steps it has, its most steps, and how often it is repeated. It
#: is short and repeated often, so that one falls between what else the machine does.
SECONDS, MOST, ROUNDS = 0.02, 20_000, 25
#: The edges of the matrices whose product gives the peak, and the bytes of the arrays that are copied.
EDGES, SMALL_COPY, LARGE_COPY = (512, 1024), 128 << 10, 64 << 20
#: The bytes of a thread's nearby cache, its second, where the system says; else so many.
NEAR = 1 << 20

CLOCK = """
declare i64 @llvm.readcyclecounter()
define i64 @now() {
  %x = call i64 @llvm.readcyclecounter()
  ret i64 %x
}
"""


@dataclass(frozen=True)
class Limits:
    """The best that was measured: operations a second by dtype, and bytes a second in a nearby cache and in memory."""

    f32: float
    f64: float
    near: float
    far: float

    def least(self, flop: int, nbytes: int, footprint: int, double: bool = False) -> tuple[float, str]:
        """The least seconds that a kernel can take, and by what: "compute" or "memory"."""
        computing = flop / (self.f64 if double else self.f32)
        moving = nbytes / (self.near if footprint <= _cache() else self.far)
        return (computing, "compute") if computing >= moving else (moving, "memory")


@dataclass
class Profile:
    """The times of one step, in seconds.

    ``seconds`` is the time of the plan itself, ``counted`` that of the copy that counts cycles, and ``kernels`` what
    each kernel (row) took in that copy on each thread (column).
    """

    seconds: float
    counted: float
    kernels: Array
    steps: int

    def time(self, number: int) -> float:
        """The seconds of a kernel on the thread that took longest."""
        return float(self.kernels[number].max())

    def share(self, number: int) -> float:
        """The part of all threads' time that a kernel took."""
        return float(self.kernels[number].mean() / self.counted)

    @property
    def rest(self) -> float:
        """The part of all threads' time that no kernel took: waiting for other threads, and calls."""
        return 1 - float(self.kernels.sum() / self.kernels.shape[1] / self.counted)


@functools.cache
def _cache() -> int:
    """The bytes of one core's second cache."""
    try:  # Linux says it in KiB
        return int(Path("/sys/devices/system/cpu/cpu0/cache/index2/size").read_text().removesuffix("K\n")) << 10
    except (OSError, ValueError):
        return NEAR


def profile(plan: Plan, *arguments: Any, repeats: int | None = None) -> Profile:
    """Time a plan's kernels on copies of its state, so that nothing changes.

    Args:
        plan: what to time.
        arguments: as for ``plan.run``.
        repeats: the steps of a measurement; as many as take about 20 ms if not given.

    The best of 25 measurements counts. Raises ``NotImplementedError`` on processors on which a program may not read the
    cycle counter.
    """
    target = plan.target
    if not target.triple.startswith("x86"):
        raise NotImplementedError(
            f"kernels are timed by the cycle counter of x86 processors, and this is {target.triple}"
        )
    clock = llvm.Code(llvm.compile_text(CLOCK, target), target)
    now = ctypes.CFUNCTYPE(ctypes.c_int64)(clock.address("now"))
    plain, counting = plan.copied(), plan.copied(profile=True)
    if repeats is None:
        once = _best(lambda: plain.repeat(arguments, 1), 4)
        many = max(1, min(MOST, math.ceil(0.005 / once)))
        repeats = max(1, min(MOST, math.ceil(SECONDS * many / _best(lambda: plain.repeat(arguments, many), 2))))
    repeats = min(repeats, max(1, LARGE_COPY // max(1, sum(b.nbytes for b in plan.lowered.outputs.values()))))
    seconds = _best(lambda: plain.repeat(arguments, repeats), ROUNDS) / repeats
    best: tuple[float, Array, float] | None = None
    for _ in range(ROUNDS):
        counting.counters[:] = 0
        first = now()
        took = _timed(lambda: counting.repeat(arguments, repeats))
        ticks = now() - first
        if best is None or took < best[0]:
            best = took, counting.counters.copy(), ticks
    assert best is not None
    took, counters, ticks = best
    kernels = counters.reshape(-1, plan.threads) * (took / max(ticks, 1) / repeats)
    return Profile(seconds, took / repeats, kernels, repeats)


def _best(call: Callable[[], object], times: int) -> float:
    return min(_timed(call) for _ in range(times))


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@functools.cache
def machine(threads: int) -> Limits:
    """The best of this machine, measured by a process of its own, in which BLAS has as many threads as a plan."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "BLIS_NUM_THREADS")
    there = {**os.environ, **dict.fromkeys(names, str(threads)), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    code = f"from vugrad.compiler import profile; profile.report({threads})"
    done = subprocess.run([sys.executable, "-c", code], env=there, capture_output=True, text=True, check=True)
    return Limits(**json.loads(done.stdout))


def report(threads: int) -> None:
    """Print what :func:`measured` finds, for the process that asked."""
    print(json.dumps(asdict(measured(threads))))


def measured(threads: int) -> Limits:
    """Large matrix products, and copies of small and of large arrays."""
    f32, f64 = (max(products(dtype, edge) for edge in EDGES) for dtype in (np.float32, np.float64))
    return Limits(f32, f64, threads * _small_copies(), _large_copies(threads))


def products(dtype: Any, edge: int) -> float:
    """Operations a second in a product of square matrices."""
    a = np.random.default_rng(0).random((edge, edge)).astype(dtype)
    out = np.empty_like(a)
    return 2 * edge**3 / _best(lambda: np.matmul(a, a, out), 2 * ROUNDS)


def _small_copies() -> float:
    """Bytes read and written a second by one thread, whose arrays stay in its cache."""
    source, target = np.ones(SMALL_COPY, np.uint8), np.empty(SMALL_COPY, np.uint8)

    def copies() -> None:
        for _ in range(ROUNDS):
            np.copyto(target, source)

    return 2 * SMALL_COPY * ROUNDS / _best(copies, 2 * ROUNDS)


def _large_copies(threads: int) -> float:
    """Bytes read and written a second by all threads together, of arrays too large for nearby caches."""
    parts = [
        (np.ones(LARGE_COPY // threads, np.uint8), np.empty(LARGE_COPY // threads, np.uint8)) for _ in range(threads)
    ]

    def copy(part: tuple[Array, Array]) -> None:
        np.copyto(part[1], part[0])

    with ThreadPoolExecutor(threads) as pool:
        return 2 * LARGE_COPY / _best(lambda: list(pool.map(copy, parts)), ROUNDS)
