"""How compiled vugrad compares with PyTorch and JAX, on two cores: each measured ratio beside its target.

    python benchmarks/compare.py [--quick] [--only TEXT] [--json FILE]

Every contestant lives in a process of its own, makes the same steps from the same weights (a first few losses are
compared), and takes turns with the others; a ratio is the median over the rounds. What is not installed (``pip install
torch jax``) is left out. Without ``vugrad.compile``, or with ``--peers``, only the peers are measured. A missed target
is no error. With ``--quick`` all sizes are tiny, to see that it runs; targets say nothing then.

Meant for an idle machine. Another program that keeps a core busy makes two threads that wait for each other share
the other core, and steps of PyTorch many times slower than they are.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from peers import jax_steps, torch_epoch, torch_steps
from report import Row, arguments, matrix_share, publish
from timing import Seconds, apart, environment, ratio, spread, take_turns
from workloads import Workload

Factory = Callable[[], Callable[[], Any]]
#: Named contestants, each with the calls of a turn.
Field = Mapping[str, tuple[Factory, int]]
OURS = "vugrad"


@dataclass(frozen=True)
class Comparison:
    """Steps of a workload, and how many times as long each peer is to take."""

    workload: Workload
    targets: Mapping[str, float]
    calls: int = 10


COMPARISONS = (
    Comparison(Workload(256, "SGD"), {"PyTorch": 5, "JAX": 8}),
    Comparison(Workload(256, "Adam"), {"PyTorch": 5, "JAX": 8}),
    Comparison(Workload(64, "SGD"), {"PyTorch": 5}),
    Comparison(Workload(64, "Adam"), {"PyTorch": 5}),
    Comparison(Workload(16, "SGD", steps=64), {"PyTorch": 8, "JAX": 5, "JAX scan": 5}, calls=2),
    Comparison(Workload(128, "SGD", 3136), {"PyTorch": 1.5, "JAX": 1.2}),
    Comparison(Workload(128, "momentum", 3136), {"PyTorch": 1.5, "JAX": 1.2}),
    Comparison(Workload(128, "Adam", 3136), {"PyTorch": 1.8, "JAX": 1.2}),
    Comparison(Workload(128, "SGD", 784), {"PyTorch": 2}),
)
EPOCH = Workload(64, "Adam", steps=937)
#: Has glibc keep freed memory. It is a matter of luck otherwise how much of it a process gives back to the kernel and
#: takes again in each step, and that makes PyTorch's up to one and a half times as long in one run as in the next.
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(1 << 30), "MALLOC_MMAP_THRESHOLD_": str(1 << 25)}
MODULES = {"PyTorch": "torch", "JAX": "jax", "JAX scan": "jax"}


@dataclass(frozen=True)
class Scale:
    """The sizes of a run."""

    turns: int
    epochs: int
    starts: int
    matrix: int
    largest: Workload

    def fit(self, workload: Workload) -> Workload:
        """The workload, or a smaller one."""
        most = self.largest
        hidden = workload.hidden and min(workload.hidden, most.hidden or 0)
        batch, steps = min(workload.batch, most.batch), min(workload.steps, most.steps)
        return replace(workload, batch=batch, hidden=hidden, steps=steps)


FULL = Scale(turns=15, epochs=3, starts=5, matrix=1024, largest=Workload(256, hidden=3136, steps=937))
QUICK = Scale(turns=1, epochs=1, starts=1, matrix=256, largest=Workload(8, hidden=32, steps=3))


def measure(field: Field, rounds: int, same: bool = True) -> dict[str, Seconds]:
    """The seconds of each contestant in each round; if they do the same maths, that is checked first."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(environment(**KEEP_MEMORY))
        clocks = {name: stack.enter_context(apart(*contestant)) for name, contestant in field.items()}
        losses = {name: [clock.result() for _ in range(3)] for name, clock in clocks.items()} if same else {}
        for name, values in losses.items():
            if not np.allclose(values, next(iter(losses.values())), rtol=1e-3):
                raise AssertionError(f"{name} does not do the same maths as the others: the losses are {losses}")
        return take_turns(clocks, rounds)


def step_rows(comparison: Comparison, scale: Scale, absent: set[str]) -> Iterator[Row]:
    w, calls = scale.fit(comparison.workload), comparison.calls
    field = {
        OURS: (partial(ours, "compiled_steps", w), calls),
        "PyTorch": (partial(torch_steps, w), calls),
        "JAX": (partial(jax_steps, w), calls),
        "JAX scan": (partial(jax_steps, w, scan=True), calls),
    }
    wanted = {OURS, *comparison.targets} - absent
    seconds = measure({name: contestant for name, contestant in field.items() if name in wanted}, scale.turns)
    yield from versus(str(w), seconds, comparison.targets, 1e3 / w.steps, "ms")


def versus(name: str, seconds: Mapping[str, Seconds], targets: Mapping[str, float], per: float, unit: str) -> list[Row]:
    """A row for each peer: its time over ours; or plain times, where ours or every peer is missing."""
    times = {who: spread([per * s for s in each]) for who, each in seconds.items()}
    peers = [who for who in targets if who in seconds]
    if OURS not in seconds or not peers:
        return [Row(f"{name}: {who}", times[who], unit) for who in (OURS, *peers) if who in seconds]
    note = f"{OURS} {times[OURS].median:.3g}, {{}} {{:.3g}} {unit}"
    return [
        Row(
            f"{name}: {who}",
            ratio(seconds[who], seconds[OURS]),
            "x",
            targets[who],
            True,
            note.format(who, times[who].median),
        )
        for who in peers
    ]


def epoch_rows(scale: Scale, absent: set[str]) -> Iterator[Row]:
    """Ours by ``run_epoch`` and by ``fit``, PyTorch's with its DataLoader."""
    w = scale.fit(EPOCH)
    name = f"epoch of {w.images} images, CNN batch {w.batch}, {w.optimizer}"
    field = {
        OURS: (partial(ours, "compiled_steps", w), 1),
        "fit": (partial(ours, "fit_epoch", w), 1),
        "PyTorch": (partial(torch_epoch, w), 1),
        "matrices": (partial(products, scale.matrix), 20),
    }
    left_out = {*absent, "fit"} if OURS in absent else absent
    seconds = measure({who: field[who] for who in field if who not in left_out}, scale.epochs, same=False)
    yield from versus(name, seconds, {"PyTorch": 10}, 1, "s")
    if OURS in seconds:
        fit = {OURS: seconds.pop("fit")} | {who: seconds[who] for who in seconds if who == "PyTorch"}
        yield from versus(f"{name}, by vg.train.fit", fit, {"PyTorch": 10}, 1, "s")
        yield matrix_share(name, (seconds[OURS], w.useful_flop()), (seconds["matrices"], 2 * scale.matrix**3), 60)


def perceptron_share(scale: Scale) -> Row:
    w, n = scale.fit(Workload(128, "SGD", 3136)), scale.matrix
    field = {OURS: (partial(ours, "compiled_steps", w), 10), "matrices": (partial(products, n), 20)}
    seconds = measure(field, scale.turns, same=False)
    return matrix_share(str(w), (seconds[OURS], w.useful_flop()), (seconds["matrices"], 2 * n**3), 85)


def compile_rows(scale: Scale) -> Iterator[Row]:
    """Compiling and the first step, in fresh processes: with an empty cache, then with what that one left there."""
    w = scale.fit(Workload(256, "SGD"))
    cold, warm = [], []
    for _ in range(scale.starts):
        with tempfile.TemporaryDirectory() as folder, environment(VUGRAD_CACHE=folder):
            for seconds in (cold, warm):
                with apart(partial(ours, "compile_time", w), 1) as contestant:
                    seconds.append(contestant.result())
    yield Row(f"compile, {w}: cold", spread(cold), "s", 2)
    yield Row(f"compile, {w}: from the disk cache", spread(warm), "s", 0.2)


def memory_row(scale: Scale) -> Row:
    """The largest resident size of the process, interpreter and imports included."""
    w = scale.fit(Workload(256, "SGD"))
    peaks = {}
    for name, factory in ((OURS, partial(ours, "compiled_steps", w)), ("PyTorch", partial(torch_steps, w))):
        with apart(factory, 1) as contestant:
            for _ in range(20):
                contestant.result()
            peaks[name] = contestant.peak_memory()
    note = ", ".join(f"{name} {peak / 1024:.0f} MB" for name, peak in peaks.items())  # Linux counts in KiB
    return Row(f"peak memory, {w}: over PyTorch's", spread([peaks[OURS] / peaks["PyTorch"]]), "x", 0.5, note=note)


def ours(name: str, workload: Workload) -> Callable[[], float]:
    """A contestant of ``compiled.py``, which the peers' processes do not import."""
    import compiled

    return getattr(compiled, name)(workload)


def products(n: int) -> Callable[[], object]:
    from convnet import matrix_product

    return matrix_product(n)[0]


def missing(only_peers: bool) -> set[str]:
    """The contestants that cannot take part; a line says why."""
    absent = {name for name, module in MODULES.items() if find_spec(module) is None}
    for module in sorted({MODULES[name] for name in absent}):
        print(f"{module} is not installed: left out")
    import vugrad

    if only_peers or not hasattr(vugrad, "compile"):
        print("only the peers are measured" if only_peers else "vugrad.compile is not there: only the peers")
        absent.add(OURS)
    return absent


def main() -> None:
    parser = arguments("Measure compiled vugrad against PyTorch and JAX.")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the parts whose name holds this text")
    parser.add_argument("--peers", action="store_true", help="measure PyTorch and JAX alone")
    options = parser.parse_args()
    scale = QUICK if options.quick else FULL
    if hasattr(os, "sched_setaffinity"):  # inherited by every contestant's process
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    print(f"load before the run: {os.getloadavg()[0]:.1f} (on an idle machine about 0)")
    absent = missing(options.peers)
    parts: dict[str, Callable[[], Any]] = {str(c.workload): partial(step_rows, c, scale, absent) for c in COMPARISONS}
    parts["epoch"] = partial(epoch_rows, scale, absent)
    if OURS not in absent:
        parts["share"] = lambda: [perceptron_share(scale)]
        parts["compile"] = partial(compile_rows, scale)
        if "PyTorch" not in absent:
            parts["memory"] = lambda: [memory_row(scale)]
    publish([row for name, part in parts.items() if options.only in name for row in part()], options)


if __name__ == "__main__":
    main()
