"""Many small trainings at once: vugrad's sweep against PyTorch in a process pool, both with two workers.

    python benchmarks/sweep.py [--runs N] [--rounds N] [--quick]

A run trains LeNet for one epoch on mnist5k, tests it, and is another seed each time; ours also write their records. A
pool is started anew in each round, so that its imports and what it compiles are part of it, as in a user's sweep;
vugrad's code cache is filled by the first round, which does not count. PyTorch is installed by hand.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from typing import Any

import numpy as np
from timing import ratio, spread, take_turns

Array = Any
WORKERS, BATCH = 2, 32


def vugrad_sweep(runs: int) -> float:
    """The seconds that the lab takes."""
    from vugrad.lab import Records, Run
    from vugrad.lab.sweep import sweep
    from vugrad.lab.workers import local
    from vugrad.train.recipe import Recipe

    recipe = Recipe(data="mnist5k", model="cnn", epochs=1, batch_size=BATCH)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        found = sweep([Run(recipe, seed) for seed in range(runs)], Records(folder), local(WORKERS))
        seconds = time.perf_counter() - start
    accuracies = [record.test_accuracy or 0.0 for record in found.values()]
    assert np.mean(accuracies) > 0.8, accuracies
    return seconds


def torch_sweep(runs: int, arrays: tuple[Array, ...]) -> float:
    """The seconds that PyTorch takes in as many processes with a thread each."""
    start = time.perf_counter()
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn"), torch_begin, arrays) as pool:
        accuracies = list(pool.map(torch_run, range(runs)))
    seconds = time.perf_counter() - start
    assert np.mean(accuracies) > 0.8, accuracies
    return seconds


DATA: list[Any] = []


def torch_begin(*arrays: Array) -> None:
    """Give a worker its data, once."""
    import torch

    torch.set_num_threads(1)
    DATA[:] = map(torch.from_numpy, arrays)


def torch_run(seed: int) -> float:
    """One epoch under the same recipe, with data in memory and batches picked by index; the test accuracy."""
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy

    x, labels, x_test, labels_test = DATA
    torch.manual_seed(seed)
    convolutions = [nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)]
    linear = [nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)]
    model = nn.Sequential(*convolutions, nn.Flatten(), *linear)
    for layer in model:
        if hasattr(layer, "weight"):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, -(-len(x) // BATCH))
    for rows in torch.randperm(len(x)).split(BATCH):
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(model(x[rows]), labels[rows]).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return float((model(x_test).argmax(1) == labels_test).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=40, help="trainings in a sweep")
    parser.add_argument("--rounds", type=int, default=3, help="sweeps of each contestant")
    parser.add_argument("--quick", action="store_true", help="see that it runs")
    choice = parser.parse_args()
    runs, rounds = (4, 1) if choice.quick else (choice.runs, choice.rounds)
    from vugrad.data import load

    data = load("mnist5k")
    assert data.test is not None
    clocks = {"vugrad": functools.partial(vugrad_sweep, runs)}
    if find_spec("torch"):
        clocks["PyTorch"] = functools.partial(torch_sweep, runs, (*data.train, *data.test))
    vugrad_sweep(2)  # compiles
    seconds = take_turns(clocks, rounds)
    for name, each in seconds.items():
        print(f"{name}: {runs} runs on {WORKERS} workers in {spread(each).median:.2f} s")
    if "PyTorch" in seconds:
        times = ratio(seconds["PyTorch"], seconds["vugrad"])
        print(f"PyTorch takes {times.median:.1f} times as long ({times.low:.1f} - {times.high:.1f})  (target: >= 8)")


if __name__ == "__main__":
    main()
