"""Writes optim.npz: what PyTorch's optimizers, schedules and clipping do in the cases below.

    pip install torch==2.13.0 numpy
    python tests/reference/make_optim.py

PyTorch is needed here and nowhere else: the tests read the cases from this file and PyTorch's answers from the
archive. A case is a function of a module, called with ``torch.optim`` here and with ``vugrad.optim`` there.
"""

from __future__ import annotations

import functools
import math
import pathlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

ARCHIVE = pathlib.Path(__file__).with_name("optim.npz")
CHECKPOINTS = (1, 2, 3, 10, 30, 100)  # the steps after which parameters are stored
THAW = 20  # the number of steps for which the cases in LATE leave the second parameter frozen

OPTIMIZERS: dict[str, Callable[[Any, Any], Any]] = {
    "sgd": lambda o, p: o.SGD(p, lr=0.02),
    "sgd-decay": lambda o, p: o.SGD(p, lr=0.02, weight_decay=0.3),
    "sgd-momentum": lambda o, p: o.SGD(p, lr=0.02, momentum=0.9),
    "sgd-dampening": lambda o, p: o.SGD(p, lr=0.05, momentum=0.8, dampening=0.5, weight_decay=0.1),
    "sgd-nesterov": lambda o, p: o.SGD(p, lr=0.02, momentum=0.9, weight_decay=0.1, nesterov=True),
    "adam": lambda o, p: o.Adam(p, lr=0.05),
    "adam-all": lambda o, p: o.Adam(p, lr=0.05, betas=(0.7, 0.95), eps=1e-2, weight_decay=0.2),
    "adamw": lambda o, p: o.AdamW(p, lr=0.05),
    "adamw-all": lambda o, p: o.AdamW(p, lr=0.05, betas=(0.7, 0.95), eps=1e-2, weight_decay=0.5),
    "rmsprop": lambda o, p: o.RMSprop(p),
    "rmsprop-all": lambda o, p: o.RMSprop(p, lr=0.004, alpha=0.9, eps=0.1, weight_decay=0.1, momentum=0.6),
    "adagrad": lambda o, p: o.Adagrad(p, lr=0.2),
    "adagrad-all": lambda o, p: o.Adagrad(p, lr=0.5, lr_decay=0.1, weight_decay=0.1, eps=1e-2),
    "late-sgd": lambda o, p: o.SGD(p, lr=0.05, momentum=0.8, dampening=0.5),
    "late-adam": lambda o, p: o.Adam(p, lr=0.05),
    "late-adagrad": lambda o, p: o.Adagrad(p, lr=0.5, lr_decay=0.1),
}
LATE = ("late-sgd", "late-adam", "late-adagrad")

BASE_LR = 0.5
SCHEDULES: dict[str, tuple[int, Callable[[Any, Any], Any]]] = {  # how many rates to compare, and the schedule
    "step": (20, lambda s, o: s.StepLR(o, step_size=3, gamma=0.7)),
    "step-default": (12, lambda s, o: s.StepLR(o, 5)),
    "cosine": (30, lambda s, o: s.CosineAnnealingLR(o, T_max=12)),
    "cosine-floor": (30, lambda s, o: s.CosineAnnealingLR(o, 7, eta_min=0.1)),
    "linear": (10, lambda s, o: s.LinearLR(o)),
    "linear-down": (10, lambda s, o: s.LinearLR(o, start_factor=0.9, end_factor=0.2, total_iters=4)),
    "one-cycle": (50, lambda s, o: s.OneCycleLR(o, max_lr=0.3, total_steps=50)),
    "one-cycle-linear": (
        11,
        lambda s, o: s.OneCycleLR(
            o, 0.3, 11, pct_start=0.5, anneal_strategy="linear", div_factor=5, final_div_factor=10
        ),
    ),
    "one-cycle-no-rise": (8, lambda s, o: s.OneCycleLR(o, 0.3, total_steps=8, pct_start=0.0)),
    "warm-up": (
        25,
        lambda s, o: s.SequentialLR(o, [s.LinearLR(o, 0.1, total_iters=5), s.CosineAnnealingLR(o, 15)], [5]),
    ),
    "three": (
        20,
        lambda s, o: s.SequentialLR(o, [s.LinearLR(o), s.StepLR(o, 2, 0.5), s.CosineAnnealingLR(o, 6)], [4, 11]),
    ),
}

CLIPS: dict[str, tuple[float, float]] = {  # max_norm and norm_type, for gradients with a 2-norm of about 7
    "clip-2": (1.5, 2.0),
    "clip-1": (1.5, 1.0),
    "clip-3": (1.5, 3.0),
    "clip-largest": (0.5, math.inf),
    "clip-nothing": (100.0, 2.0),
    "clip-infinite": (1.5, 2.0),
    "clip-nan": (1.5, 2.0),
}


def gradients(a: Any, w: Any, b: Any) -> tuple[Any, Any]:
    """The gradients of ½·tr(wᵀ a w) + ¼·Σ w⁴ + ½·Σ (Σᵢ wᵢ − b)²: curved, and each depends on both parameters."""
    miss = w.sum(0, keepdims=True) - b
    return a @ w + w * w * w + miss, -miss


def clip_inputs(case: str) -> list[Any]:
    """Two gradients, made unfit where the case is about that."""
    g = [np.array([[3.0, -1.0, 0.5], [2.0, -2.0, 0.1]], np.float32), np.array([[-5.0, 0.0, 1.0]], np.float32)]
    g[0][0, 0] = {"clip-infinite": math.inf, "clip-nan": math.nan}.get(case, g[0][0, 0])
    return g


def main() -> None:
    import torch

    def parameters(*arrays: Any) -> list[Any]:
        return [torch.nn.Parameter(torch.from_numpy(array.copy())) for array in arrays]

    rng = np.random.default_rng(0)
    root = rng.standard_normal((4, 4))
    start = {"a": root @ root.T + np.eye(4), "w": rng.standard_normal((4, 3)), "b": rng.standard_normal((1, 3))}
    stored: dict[str, Any] = dict(start)
    for case, make in OPTIMIZERS.items():
        for dtype in ("float64", "float32"):
            a, w, b = (array.astype(dtype) for array in start.values())
            params = parameters(w, b)
            optimizer, path = make(torch.optim, params), []
            for step in range(1, max(CHECKPOINTS) + 1):
                for p, g in zip(params, gradients(a, *[p.detach().numpy() for p in params]), strict=True):
                    p.grad = torch.from_numpy(g)
                if case in LATE and step <= THAW:
                    params[1].grad = None
                optimizer.step()
                if step in CHECKPOINTS:
                    path.append(np.concatenate([p.detach().numpy().ravel() for p in params]))
            stored[f"{case}/{dtype}"] = np.stack(path)
    schedulers = SimpleNamespace(**vars(torch.optim.lr_scheduler))
    schedulers.OneCycleLR = functools.partial(schedulers.OneCycleLR, cycle_momentum=False)
    for case, (count, make) in SCHEDULES.items():
        optimizer = torch.optim.SGD(parameters(np.zeros(1)), lr=BASE_LR)
        schedule, rates = make(schedulers, optimizer), []
        for _ in range(count):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        stored[case] = np.array(rates)
    for case, (max_norm, norm_type) in CLIPS.items():
        arrays = clip_inputs(case)
        params = parameters(*arrays)
        for p, g in zip(params, arrays, strict=True):
            p.grad = torch.from_numpy(g)
        stored[f"{case}/norm"] = torch.nn.utils.clip_grad_norm_(params, max_norm, norm_type).numpy()
        for i, p in enumerate(params):
            stored[f"{case}/{i}"] = p.grad.numpy()
    np.savez_compressed(ARCHIVE, **stored)


if __name__ == "__main__":
    main()
