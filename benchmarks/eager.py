"""How fast and how lean eager vugrad is: each measured ratio beside its target.

    python benchmarks/eager.py [--quick] [--json FILE]

Everything is a ratio of two things measured in turns, round by round, in one run: the median of the rounds and their
quartiles. The few absolute numbers come with a yardstick from the same run. A missed target is no error: the exit
code is 0. With ``--quick`` all sizes are tiny, to see that it runs; targets say nothing then.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from chain import OPS_PER_LINK, SHAPE, numpy_chain, vugrad_chain
from convnet import lenet_step, matrix_product, useful_flop
from course import course_step
from footprint import footprint
from perceptron import Step, numpy_step, problem, vugrad_step
from report import Row, arguments, matrix_share, publish
from startup import import_times
from timing import apart, ratio, settle_heap, spread, take_turns, timed

import vugrad as vg

#: Microseconds of an np.add of 32x32 on a machine like this one whose cores nobody else uses.
UNDISTURBED_ADD = 0.85


@dataclass(frozen=True)
class Scale:
    """The sizes of a run."""

    turns: int
    calls: int
    rounds: int
    mlp: tuple[int, int, int]
    mlp_batch: int
    links: int
    imports: int
    lenet_batch: int
    matrix: int


FULL = Scale(
    turns=12, calls=4, rounds=30, mlp=(784, 3136, 10), mlp_batch=128, links=17, imports=15, lenet_batch=64, matrix=1024
)
QUICK = Scale(
    turns=2, calls=1, rounds=3, mlp=(64, 128, 10), mlp_batch=16, links=2, imports=2, lenet_batch=2, matrix=512
)


def perceptron_rows(scale: Scale) -> Iterator[Row]:
    p = problem(scale.mlp, scale.mlp_batch)
    steps = {"vugrad": vugrad_step, "numpy": numpy_step, "course": course_step}
    losses = {name: after_a_step(step(p)) for name, step in steps.items()}
    if not np.allclose(list(losses.values()), losses["numpy"], rtol=1e-4):
        raise AssertionError(f"the contestants do not do the same maths: their losses are {losses}")
    with contextlib.ExitStack() as stack:
        clocks = {name: stack.enter_context(apart(partial(step, p), scale.calls)) for name, step in steps.items()}
        seconds = take_turns(clocks, scale.turns)
    name = f"MLP {'-'.join(map(str, scale.mlp))} step, batch {scale.mlp_batch}"
    note = ", ".join(f"{key} {1e3 * spread(times).median:.1f} ms" for key, times in seconds.items())
    yield Row(f"{name}: over NumPy by hand", ratio(seconds["vugrad"], seconds["numpy"]), "x", 1.3, note=note)
    yield Row(f"{name}: the course's manner over it", ratio(seconds["course"], seconds["vugrad"]), "x", 6, True)


def after_a_step(step: Step) -> float:
    step()
    return step()


def chain_rows(scale: Scale) -> Iterator[Row]:
    a = np.ones(SHAPE)
    clocks = {
        "vugrad": timed(vugrad_chain(scale.links)),
        "numpy": timed(numpy_chain(scale.links)),
        "np.add": timed(lambda: [np.add(a, a) for _ in range(100)]),
    }
    seconds = take_turns(clocks, 10 * scale.rounds)
    ops = scale.links * OPS_PER_LINK
    beyond = [(v - n) / ops for v, n in zip(seconds["vugrad"], seconds["numpy"], strict=True)]
    adds = [time / 100 for time in seconds["np.add"]]
    name = f"an op on {SHAPE[0]}x{SHAPE[1]}, both ways: beyond NumPy's time"
    own = 1e6 * spread(seconds["numpy"]).median / ops
    note = f"np.add {1e6 * spread(adds).median:.2f} us, NumPy's own time {own:.1f} us"
    yield Row(name, spread([1e6 * time for time in beyond]), "us", 10, note=note)
    in_adds = ratio(beyond, adds)
    note = f"{in_adds.median * UNDISTURBED_ADD:.1f} us where an np.add takes {UNDISTURBED_ADD} us"
    yield Row(f"{name}, in np.add's", in_adds, "x", note=note)


def import_row(scale: Scale) -> Row:
    seconds = import_times(("vugrad", "numpy"), scale.imports)
    note = ", ".join(f"{module} {1e3 * spread(times).median:.0f} ms" for module, times in seconds.items())
    return Row("import vugrad over import numpy", ratio(seconds["vugrad"], seconds["numpy"]), "x", 1.5, note=note)


def memory_rows(scale: Scale) -> Iterator[Row]:
    rng = np.random.default_rng(0)
    for name, model, batch, instance in (
        ("MLP", vg.nn.MLP(scale.mlp, vg.nn.Sigmoid, rng=rng), scale.mlp_batch, scale.mlp[:1]),
        ("LeNet", vg.nn.LeNet(rng=rng), scale.lenet_batch, (1, 28, 28)),
    ):
        peak = footprint(model, rng.random((batch, *instance), np.float32), rng.integers(0, 10, batch))
        yield Row(f"{name} step, batch {batch}: peak memory over what it must hold", spread([peak]), "x", 2)


def lenet_rows(scale: Scale) -> Iterator[Row]:
    product, flop = matrix_product(scale.matrix)
    seconds = take_turns({"LeNet": timed(lenet_step(scale.lenet_batch)), "matrices": timed(product)}, scale.rounds)
    name = f"LeNet step, batch {scale.lenet_batch}"
    yield Row(name, spread([1e3 * s for s in seconds["LeNet"]]), "ms")
    yield matrix_share(name, (seconds["LeNet"], useful_flop(scale.lenet_batch)), (seconds["matrices"], flop))


def main() -> None:
    options = arguments("Measure eager vugrad against its targets.").parse_args()
    scale = QUICK if options.quick else FULL
    settle_heap()
    rows = [*perceptron_rows(scale), *chain_rows(scale), import_row(scale), *memory_rows(scale), *lenet_rows(scale)]
    publish(rows, options)


if __name__ == "__main__":
    main()
