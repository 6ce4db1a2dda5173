"""Whether a long run stays as it began: memory and time of a million small steps, many fits, many compiled functions.

    python benchmarks/endurance.py [--quick] [--json FILE] [NAME ...]

Each endurance is a small piece of work done many times over, in a process of its own. Its line shows the memory that
the process holds at first, after a tenth and at the end, and the time of a piece in the first and in the last of ten
parts: the one that a tenth of the pieces stay below, on which others on the machine have the least say. What grows, or
becomes slower, shows here. With ``--quick`` the counts are a thousandth.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import vugrad as vg

Piece = Callable[[], object]
PARTS = 10


def network() -> tuple[vg.nn.MLP, vg.optim.Adam]:
    """Two features, four hidden, two classes."""
    model = vg.nn.MLP([2, 4, 2], rng=np.random.default_rng(0))
    return model, vg.optim.Adam(model.parameters(), lr=1e-4)


def batch() -> tuple[np.ndarray, np.ndarray]:
    """Eight instances."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((8, 2)).astype(np.float32), np.arange(8) % 2


def step() -> tuple[Callable[[np.ndarray, np.ndarray], object], list[object]]:
    """An update of a network, and what it changes."""
    model, optimizer = network()

    def update(x: np.ndarray, y: np.ndarray) -> object:
        loss = vg.losses.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return update, [model, optimizer]


def eager_step() -> Piece:
    (update, _), (x, y) = step(), batch()
    return lambda: update(x, y)


def compiled_step() -> Piece:
    (update, state), (x, y) = step(), batch()
    native = vg.compile(update, state=state)
    return lambda: native(x, y)


def eager_prediction() -> Piece:
    (model, _), (x, _) = network(), batch()
    return lambda: vg.train.predict(model, x)


def compiled_prediction() -> Piece:
    (model, _), (x, _) = network(), batch()
    native = vg.compile(model)
    return lambda: vg.train.predict(model, x, forward=native)


def eager_fit() -> Piece:
    return lambda: vg.train.fit(network()[0], batch(), epochs=5, progress=False, compile=False)


def compiled_fit() -> Piece:
    return lambda: vg.train.fit(network()[0], batch(), epochs=5, progress=False)


def another_function() -> Piece:
    """A function that none before it is like, compiled, called once, and dropped."""
    numbers = iter(range(10**9))

    def piece() -> object:
        n = next(numbers)
        return vg.compile(lambda x: np.tanh(x * (n + 0.5)).sum(axis=1))(np.ones((8, 2)))

    return piece


def another_size() -> Piece:
    """One compiled function, called with batches of every size there is."""
    native = vg.compile(lambda x: np.tanh(x).sum(axis=1))
    sizes = iter(range(1, 10**9))
    return lambda: native(np.ones((next(sizes), 2)))


#: What is done, and how often.
ENDURANCES: dict[str, tuple[Callable[[], Piece], int]] = {
    "eager step": (eager_step, 1_000_000),
    "compiled step": (compiled_step, 1_000_000),
    "eager prediction": (eager_prediction, 100_000),
    "compiled prediction": (compiled_prediction, 100_000),
    "eager fit": (eager_fit, 1_000),
    "compiled fit": (compiled_fit, 1_000),
    "another function": (another_function, 1_000),
    "another size": (another_size, 1_000),
}


@dataclass(frozen=True)
class Outcome:
    """What an endurance held and took: before and after each of ten parts, and within each."""

    count: int
    megabytes: list[float]
    microseconds: list[float]
    threads: list[int]

    def line(self, name: str) -> str:
        """One line of the table."""
        m, t, k = self.megabytes, self.microseconds, self.threads
        return (
            f"{name:20} {self.count:>9,}   {m[0]:7.1f} {m[1]:7.1f} {m[-1]:7.1f} MB   "
            f"{t[0]:10.1f} {t[-1]:10.1f} us   {k[0]} {k[1]} {k[-1]}"
        )


def megabytes() -> float:
    """What the process holds in memory now, as Linux counts it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def threads() -> int:
    """Python's threads and all others."""
    return len(os.listdir("/proc/self/task"))


def endure(name: str, count: int) -> Outcome:
    """Do it so often, here."""
    piece = ENDURANCES[name][0]()
    seconds = np.zeros(count // PARTS)
    held, counts, times = [megabytes()], [threads()], []
    for _ in range(PARTS):
        for i in range(len(seconds)):
            start = time.perf_counter()
            piece()
            seconds[i] = time.perf_counter() - start
        times.append(1e6 * float(np.quantile(seconds, 0.1)))
        held.append(megabytes())
        counts.append(threads())
    return Outcome(count, held, times, counts)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure whether long runs stay as they began.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ENDURANCES)}; all by default")
    parser.add_argument("--quick", action="store_true", help="a thousandth of the counts, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all ten parts there")
    options = parser.parse_args()
    names = options.names or list(ENDURANCES)
    outcomes = {}
    print(f"{'':20} {'count':>9}   memory: start, a tenth, end       a piece: first, last tenth   threads")
    for name in names:
        count = max(PARTS, ENDURANCES[name][1] // (1000 if options.quick else 1))
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            outcomes[name] = pool.apply(endure, (name, count))
        print(outcomes[name].line(name), flush=True)
    if options.json:
        options.json.write_text(json.dumps({name: asdict(outcome) for name, outcome in outcomes.items()}, indent=1))


if __name__ == "__main__":
    main()
