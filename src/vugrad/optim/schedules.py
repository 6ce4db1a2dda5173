"""Learning-rate schedules: each is one function from the number of steps taken to the rate.

A schedule sets ``optimizer.lr`` when it is made and at each call of its ``step``. What ``T_max``, ``step_size`` and
the like count is calls of ``step``: ``vugrad.train.fit`` makes one after every batch, so there they count batches.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from numbers import Integral
from typing import Any

from vugrad.optim.base import Optimizer, number
from vugrad.suggest import choose


class LRScheduler:
    """What all schedules share; a subclass writes ``lr_at``.

    ``base_lr`` is the optimizer's rate when its first schedule was made, so schedules made for one
    :class:`SequentialLR` share it; set ``optimizer.initial_lr`` to start a later one from another rate.

    Args:
        optimizer: the one whose ``lr`` is to be set.

    Raises ``TypeError`` where that is no optimizer.

    >>> import vugrad as vg
    >>> class InverseLR(vg.optim.LRScheduler):
    ...     def lr_at(self, step):
    ...         return self.base_lr / (1 + step)
    >>> optimizer = vg.optim.SGD([vg.TensorNode([1.0])], lr=0.6)
    >>> schedule = InverseLR(optimizer)
    >>> schedule.step(); schedule.step()
    >>> round(optimizer.lr, 6)
    0.2
    """

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{type(self).__name__} sets the rate of an optimizer, not of a {type(optimizer).__name__}: make the "
                "optimizer first, as in StepLR(SGD(model.parameters(), lr=0.1), 30)"
            )
        self.optimizer = optimizer
        if optimizer.initial_lr is None:
            optimizer.initial_lr = optimizer.lr
        self._go_to(0)

    @property
    def base_lr(self) -> float:
        """The rate that the schedule is relative to."""
        assert self.optimizer.initial_lr is not None
        return self.optimizer.initial_lr

    def lr_at(self, step: int) -> float:
        """The rate after ``step`` calls of :meth:`step`."""
        raise NotImplementedError(f"{type(self).__name__} has no rate: define lr_at(self, step)")

    def step(self) -> None:
        """Go on to the next rate: call it after ``optimizer.step()``."""
        self._go_to(self.last_step + 1)

    def get_last_lr(self) -> list[float]:
        """The rate in force, in a list as in PyTorch."""
        return [self.optimizer.lr]

    def state_dict(self) -> dict[str, int]:
        """How many steps were taken; all else is the constructor's and the optimizer's."""
        return {"step": self.last_step}

    def load_state_dict(self, state_dict: Mapping[str, int]) -> None:
        """Go where the schedule that gave ``state_dict`` was; ``ValueError`` if that is nowhere."""
        if set(state_dict) != {"step"} or type(state_dict["step"]) is not int or state_dict["step"] < 0:
            raise ValueError(f"not the state_dict of a schedule, such as {{'step': 3}}: {dict(state_dict)}")
        self._go_to(state_dict["step"])

    def _go_to(self, step: int) -> None:
        # The rate comes first: where there is none, nothing has changed.
        self.optimizer.lr = float(self.lr_at(step))
        self.last_step = step


class StepLR(LRScheduler):
    """The rate times γ every ``step_size`` steps: ``lr = base · γ^⌊t / step_size⌋``.

    Args:
        optimizer: the one whose ``lr`` is to be set.
        step_size: calls of ``step`` between two changes.
        gamma: γ.

    Raises ``ValueError`` for a number out of range.

    >>> import vugrad as vg
    >>> schedule = StepLR(vg.optim.SGD([vg.TensorNode([1.0])], lr=0.8), step_size=2, gamma=0.5)
    >>> [schedule.lr_at(t) for t in range(5)]
    [0.8, 0.8, 0.4, 0.4, 0.2]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self.step_size, self.gamma = _count("step_size", step_size), number("gamma", gamma)
        super().__init__(optimizer)

    def lr_at(self, step: int) -> float:
        """The rate after ``step`` steps."""
        return self.base_lr * self.gamma ** (step // self.step_size)


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the base rate to ``eta_min`` (Loshchilov & Hutter 2017, without restarts).

    ``lr = η + (base − η) · (1 + cos(π·t / T_max)) / 2``; beyond ``T_max`` it rises again by the same formula.

    Args:
        optimizer: the one whose ``lr`` is to be set.
        T_max: calls of ``step`` on the way down.
        eta_min: η.

    Raises ``ValueError`` for a number out of range.

    >>> import vugrad as vg
    >>> schedule = CosineAnnealingLR(vg.optim.SGD([vg.TensorNode([1.0])], lr=0.8), T_max=4)
    >>> [round(schedule.lr_at(t), 3) for t in range(5)]
    [0.8, 0.683, 0.4, 0.117, 0.0]
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0) -> None:
        self.T_max, self.eta_min = _count("T_max", T_max), number("eta_min", eta_min)
        super().__init__(optimizer)

    def lr_at(self, step: int) -> float:
        """The rate after ``step`` steps."""
        return _cosine(self.base_lr, self.eta_min, step / self.T_max)


class LinearLR(LRScheduler):
    """A straight line between two factors of the base rate, then constant: a warm-up (Goyal et al. 2017).

    ``lr = base · (start_factor + (end_factor − start_factor) · min(t / total_iters, 1))``.

    Args:
        optimizer: the one whose ``lr`` is to be set.
        start_factor: the factor at first.
        end_factor: the factor at last.
        total_iters: calls of ``step`` from the one to the other.

    Raises ``ValueError`` for a number out of range.

    >>> import vugrad as vg
    >>> schedule = LinearLR(vg.optim.SGD([vg.TensorNode([1.0])], lr=0.8), start_factor=0.5, total_iters=2)
    >>> [round(schedule.lr_at(t), 3) for t in range(4)]
    [0.4, 0.6, 0.8, 0.8]
    """

    def __init__(
        self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5
    ) -> None:
        self.start_factor = number("start_factor", start_factor)
        self.end_factor = number("end_factor", end_factor)
        self.total_iters = _count("total_iters", total_iters)
        super().__init__(optimizer)

    def lr_at(self, step: int) -> float:
        """The rate after ``step`` steps."""
        return self.base_lr * _line(self.start_factor, self.end_factor, min(step / self.total_iters, 1))


class OneCycleLR(LRScheduler):
    """Up from ``max_lr / div_factor`` to ``max_lr``, then far down (Smith & Topin 2018); momentum stays as it is.

    The rise takes the first ``pct_start · total_steps − 1`` steps, the descent to
    ``max_lr / div_factor / final_div_factor`` the others; the rate is least at the last of the ``total_steps``
    updates, and the ``step`` after that update leaves it there. The optimizer's own rate plays no part.

    Args:
        optimizer: the one whose ``lr`` is to be set.
        max_lr: the rate at the top.
        total_steps: updates in the whole cycle, so the calls of ``step`` too.
        pct_start: the share of the rise, in [0, 1).
        anneal_strategy: ``"cos"`` or ``"linear"``, the shape of both parts.
        div_factor: how much lower than the top it starts.
        final_div_factor: how much lower than the start it ends.

    Raises ``ValueError`` for a number out of range, and from ``step`` when the cycle is over.

    >>> import vugrad as vg
    >>> optimizer = vg.optim.SGD([vg.TensorNode([1.0])])
    >>> schedule = OneCycleLR(optimizer, max_lr=1.0, total_steps=7, pct_start=3 / 7, anneal_strategy="linear")
    >>> [round(schedule.lr_at(t), 3) for t in range(7)]
    [0.04, 0.52, 1.0, 0.75, 0.5, 0.25, 0.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float,
        total_steps: int,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ) -> None:
        self.max_lr = number("max_lr", max_lr)
        self.total_steps = _count("total_steps", total_steps)
        self.pct_start = number("pct_start", pct_start, below=1)
        self.anneal = choose("anneal_strategy", anneal_strategy, ANNEAL)
        if not div_factor > 0 or not final_div_factor > 0:
            raise ValueError(
                f"div_factor={div_factor} and final_div_factor={final_div_factor} divide rates: both must be above 0"
            )
        self.first_lr = self.max_lr / div_factor
        self.final_lr = self.first_lr / final_div_factor
        super().__init__(optimizer)

    def lr_at(self, step: int) -> float:
        """The rate after ``step`` steps."""
        if step > self.total_steps:
            raise ValueError(
                f"OneCycleLR was made for total_steps={self.total_steps}, and this is step {step}: "
                "total_steps is the number of epochs times the batches of an epoch"
            )
        top, end = self.pct_start * self.total_steps - 1, self.total_steps - 1
        step = min(step, end)
        if step < top:
            return self.anneal(self.first_lr, self.max_lr, step / top)
        return self.anneal(self.max_lr, self.final_lr, (step - top) / (end - top))


class SequentialLR(LRScheduler):
    """One schedule after another: from each milestone on the next one, which starts at its own beginning.

    Args:
        optimizer: the one whose ``lr`` is to be set.
        schedulers: the schedules, made for this optimizer.
        milestones: after how many steps each but the first takes over, in rising order.

    Raises ``ValueError`` where these do not fit together.

    >>> import vugrad as vg
    >>> optimizer = vg.optim.SGD([vg.TensorNode([1.0])], lr=0.8)
    >>> warm_up, cosine = LinearLR(optimizer, 0.25, total_iters=3), CosineAnnealingLR(optimizer, T_max=4)
    >>> schedule = SequentialLR(optimizer, [warm_up, cosine], milestones=[3])
    >>> [round(schedule.lr_at(t), 3) for t in range(8)]
    [0.2, 0.4, 0.6, 0.8, 0.683, 0.4, 0.117, 0.0]
    """

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int]) -> None:
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"{len(schedulers)} schedulers and {len(milestones)} milestones: there must be one milestone where "
                "each scheduler but the first takes over"
            )
        if not all(a < b for a, b in pairwise([0, *milestones])):
            raise ValueError(f"milestones={list(milestones)} must be in rising order and above 0")
        for i, scheduler in enumerate(schedulers):
            if scheduler.optimizer is not optimizer:
                raise ValueError(f"schedulers[{i}] was made for another optimizer")
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        super().__init__(optimizer)

    def lr_at(self, step: int) -> float:
        """The rate after ``step`` steps."""
        i = bisect_right(self.milestones, step)
        return self.schedulers[i].lr_at(step - [0, *self.milestones][i])


def _line(start: float, end: float, share: float) -> float:
    return start + (end - start) * share


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


#: How :class:`OneCycleLR` gets from one rate to another.
ANNEAL: dict[str, Callable[[float, float, float], float]] = {"cos": _cosine, "linear": _line}


def _count(name: str, value: Any) -> int:
    if not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name}={value!r} is out of range: it counts steps, so it must be a whole number from 1 on")
    return int(value)
