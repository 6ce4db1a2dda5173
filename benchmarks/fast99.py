"""How long it takes from the first step to 99 % on MNIST's test set, and how long the same recipe takes in PyTorch.

    python benchmarks/fast99.py [--seeds N] [--peers N]

Trains the recipe ``fast99`` on all 60,000 training images with one seed after the other, tests each network once, and
prints the time of the training loop; compiling is part of it. The same recipe in PyTorch takes turns with ours, for
the first seeds, each run in a process of its own. MNIST must be there (see README), PyTorch is installed by hand.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

from timing import Spread, apart, spread

Array = Any
#: Seconds of the training loop, and the accuracy on the test set.
Outcome = tuple[float, float]


def vugrad_run() -> Callable[[], Outcome]:
    """One training run after the other, each with the next seed."""
    import vugrad as vg
    from vugrad.train.recipe import RECIPES

    recipe = RECIPES["fast99"]
    data = recipe.build_data()
    seeds = iter(range(1000))

    def run() -> Outcome:
        seed = next(seeds)
        vg.seed(seed)
        model = recipe.build_model(data)
        optimizer = recipe.build_optimizer(model)
        schedule = recipe.build_schedule(optimizer, data)
        start = time.perf_counter()
        recipe.fit(model, data, optimizer, schedule, seed=seed, progress=False)
        seconds = time.perf_counter() - start
        assert data.test is not None
        return seconds, vg.train.evaluate(model, data.test)[1] or 0.0

    return run


def torch_run(data: tuple[Array, ...]) -> Callable[[], Outcome]:
    """The same in PyTorch, as quick as it can be written: data in memory, batches picked by index."""
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy, pad

    torch.set_num_threads(2)
    x, labels, x_test, labels_test = map(torch.from_numpy, data)
    background, pixels, epochs, batch = float(x.min()), torch.arange(28), 4, 128
    seeds = iter(range(1000))

    def shifted(images: Any) -> Any:
        n = len(images)
        wide = pad(images[:, 0], (1, 1, 1, 1), value=background)
        down, across = torch.randint(0, 3, (2, n, 1)) + pixels
        return wide[torch.arange(n)[:, None, None], down[:, :, None], across[:, None, :]][:, None]

    def run() -> Outcome:
        torch.manual_seed(next(seeds))
        first = [nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.MaxPool2d(2), nn.ReLU()]
        model = nn.Sequential(*first, nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
        for layer in model:
            if hasattr(layer, "weight"):
                nn.init.kaiming_normal_(layer.weight)
                nn.init.zeros_(layer.bias)
        rule = {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}
        optimizer = torch.optim.SGD(model.parameters(), 0.1, **rule)
        steps = epochs * -(-len(x) // batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps, cycle_momentum=False)
        start = time.perf_counter()
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(batch):
                optimizer.zero_grad(set_to_none=True)
                cross_entropy(model(shifted(x[rows])), labels[rows]).backward()
                optimizer.step()
                schedule.step()
        seconds = time.perf_counter() - start
        with torch.no_grad():
            return seconds, float((model(x_test).argmax(1) == labels_test).float().mean())

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="training runs")
    parser.add_argument("--peers", type=int, default=3, help="of them with PyTorch beside")
    choice = parser.parse_args()
    from vugrad.train.recipe import RECIPES

    data = RECIPES["fast99"].build_data()
    assert data.test is not None
    arrays = (*data.train, *data.test)
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(apart(vugrad_run, 0))
        theirs = stack.enter_context(apart(partial(torch_run, arrays), 0)) if find_spec("torch") else None
        runs, peers = [], []
        for seed in range(choice.seeds):
            runs.append(ours.result())
            print(f"seed {seed}: {runs[-1][0]:.2f} s, test accuracy {runs[-1][1]:.2%}", end="")
            if theirs is not None and seed < choice.peers:
                peers.append(theirs.result())
                print(f"    PyTorch {peers[-1][0]:.2f} s, {peers[-1][1]:.2%}", end="")
            print(flush=True)
    seconds: Spread = spread([run[0] for run in runs])
    accuracies = [run[1] for run in runs]
    mean, least = statistics.mean(accuracies), min(accuracies)
    print(f"\ntest accuracy: mean {mean:.3%}, least {least:.2%}  (target: mean >= 99 %)")
    print(f"seconds: median {seconds.median:.2f}, quartiles {seconds.low:.2f} - {seconds.high:.2f}  (target: <= 6)")
    if peers:
        pairs = [peer[0] / run[0] for run, peer in zip(runs, peers, strict=False)]
        print(f"PyTorch takes {statistics.median(pairs):.1f} times as long  (target: >= 5)")


if __name__ == "__main__":
    main()
