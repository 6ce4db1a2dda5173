"""Training with ``vugrad.compile``: the contestants of ``compare.py`` on our side."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from workloads import OPTIMIZERS, Workload

import vugrad as vg

Training = Callable[[], float]


def made(workload: Workload) -> tuple[vg.nn.Module, vg.optim.Optimizer]:
    """The network with the workload's weights, and its optimizer."""
    vg.set_threads(2)
    model = vg.nn.LeNet() if workload.hidden is None else vg.nn.MLP([784, workload.hidden, 10], vg.nn.Sigmoid)
    model.load_state_dict(dict(zip(model.state_dict(), workload.weights(), strict=True)))
    rule = vg.optim.Adam if workload.optimizer == "Adam" else vg.optim.SGD
    return model, rule(model.parameters(), **OPTIMIZERS[workload.optimizer])


def plan_of(workload: Workload) -> Any:
    """The compiled training step."""
    model, optimizer = made(workload)

    def step(x: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = vg.losses.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    return vg.compile(step, state=[model, optimizer])


def compiled_steps(workload: Workload) -> Training:
    """A call of the plan for one step, one call for all of several."""
    plan = plan_of(workload)
    x, labels, order = workload.data()
    if workload.steps == 1:
        x, labels = workload.batches()[0]
        return lambda: float(plan(x, labels))
    return lambda: float(plan.run_epoch(x, labels, order=order, batch_size=workload.batch)[-1])


def fit_epoch(workload: Workload) -> Training:
    """The same through the loop that vugrad's users call."""
    model, optimizer = made(workload)
    x, labels, _ = workload.data()

    def run() -> float:
        history = vg.train.fit(
            model, (x, labels), optimizer=optimizer, epochs=1, batch_size=workload.batch, progress=False
        )
        return float(history["loss"][-1])

    return run


def compile_time(workload: Workload) -> Training:
    """Seconds from the uncompiled step to the end of its first run; to be called once in a process."""
    x, labels = workload.batches()[0]

    def run() -> float:
        start = time.perf_counter()
        plan_of(workload)(x, labels)
        return time.perf_counter() - start

    return run
