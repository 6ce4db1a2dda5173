"""One update of a model, and many of them: op by op, or as native code."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vugrad.graph import TensorNode
from vugrad.losses import Loss
from vugrad.nn import Module
from vugrad.optim import LRScheduler, Optimizer, clip_grad_norm_
from vugrad.train.evaluate import Forward, hits, loss_of, predict

if TYPE_CHECKING:
    from vugrad.compiler import Compiled

Array = Any
#: What is told of a batch: its loss, how many are right (``None`` where the targets are not classes), and its size.
Batch = tuple[float, int | None, int]


class EagerWarning(UserWarning):
    """A training step could not be compiled, so that it runs op by op: slower, with the same results."""


class Step:
    """Forward, loss, backward and the optimizer's update.

    Args:
        model: in train mode when the step is used.
        loss: a function ``(outputs, targets)``.
        optimizer: of the model's parameters.
        weight: what the loss is multiplied by, given how many instances there are.
        max_norm: of the gradient, if it is to be clipped.
        compile: whether to run as native code.
    """

    def __init__(
        self,
        model: Module,
        loss: Loss,
        optimizer: Optimizer,
        weight: Callable[[int], int],
        max_norm: float | None,
        compile: bool,
    ) -> None:
        self.model, self.loss, self.optimizer, self.weight, self.max_norm = model, loss, optimizer, weight, max_norm
        #: The step, and the model by itself, as native code.
        self.native: Compiled | None = None
        self.inference: Forward | None = None
        self._wanted = compile
        self._obstacle = ""  # why it is not compiled, until that has been said

    # What follows is array code, which the compiler can record.

    def measure(self, x: Array, y: Array) -> tuple[Any, Any]:
        """The loss, and how many are right where the targets are classes."""
        outputs = self.model(x)
        return loss_of(self.loss, outputs, y), hits(outputs.value, y, self.loss)

    def update(self, value: Any, n: int) -> None:
        """Follow the gradient of the loss of ``n`` instances."""
        (value * self.weight(n)).backward()
        if self.max_norm is not None:
            clip_grad_norm_(self.optimizer.params, self.max_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def whole(self, x: Array, y: Array) -> tuple[Any, Any]:
        """All of it."""
        value, right = self.measure(x, y)
        self.update(value, len(x))
        return value, right

    # Running it.

    def prepare(self, x: Array, y: Array, batch_size: int, changed: bool) -> None:
        """Compile for the batches of an epoch, if that can be done.

        With ``changed``, see whether loss and model still compute what they did when they were compiled.
        """
        if not self._wanted:
            return
        from vugrad.compiler import compile

        first = self.native is None
        if self.native is None:
            self.native = compile(self.whole, state=[self.model, self.optimizer], finite=True)
        try:
            sizes = sorted({min(batch_size, len(x)), len(x) % batch_size} - {0})
            for size in sizes:
                (self.native.refresh if changed else self.native.plan)(x[:size], y[:size])
            if first:
                self._check_targets(x, y)
        except Exception as error:  # if it is not the compiler's, the eager step will meet with it too
            self._wanted, self.native, self.inference = False, None, None
            self._obstacle = f"{type(error).__name__}: {textwrap.shorten(str(error), 400)}"
        else:
            if first or changed:
                self.inference = inference(self.model)

    def _check_targets(self, x: Array, y: Array) -> None:
        """Let the loss see the least and the greatest target: native code does not ask whether numbers make sense."""
        rows = y.reshape(len(y), -1)
        extremes = np.array([rows.min(axis=1).argmin(), rows.max(axis=1).argmax()])
        with np.errstate(all="ignore"):
            self.loss(TensorNode(predict(self.model, x[extremes]), requires_grad=False), y[extremes])

    def __call__(self, x: Array, y: Array) -> tuple[float, int | None]:
        """One update, unless the loss is not finite; that loss, and how many were right."""
        if self.native is not None:
            value, right = self.native(x, y)
        else:
            value, right = self.measure(x, y)
            if math.isfinite(value.item()):
                self.update(value, len(x))
            self._warn()
        return value.item(), None if right is None else int(right)

    def _warn(self) -> None:
        """Say, once, why this step was not compiled, though it runs."""
        if self._obstacle:
            message = f"this trains op by op, since its step cannot be compiled: {self._obstacle}"
            self._obstacle = ""
            warnings.warn(message, EagerWarning, stacklevel=6)

    def epoch(
        self,
        x: Array,
        y: Array,
        order: Array | None,
        batch_size: int,
        schedule: LRScheduler | None,
        tell: Callable[[list[Batch]], None],
    ) -> float | None:
        """All batches in one native call, the schedule stepped after each; ``tell`` hears of them some at a time.

        Returns the loss that ended the epoch early because it is not finite, or ``None``.
        """
        assert self.native is not None
        sizes = [min(batch_size, len(x) - i) for i in range(0, len(x), batch_size)]
        rates, states = _ahead(self.optimizer, schedule, len(sizes))
        done = 0

        def told(results: tuple[Any, Any]) -> None:
            nonlocal done
            losses, right = results
            counts = [None] * len(losses.value) if right is None else right.tolist()
            news = list(zip(losses.value.ravel().tolist(), counts, sizes[done:], strict=False))
            done += len(news)
            tell(news)

        try:
            losses, _ = self.native.run_epoch(x, y, order=order, batch_size=batch_size, rates=rates, progress=told)
        finally:
            if schedule is not None:
                schedule.load_state_dict(states[done])
        return None if done == len(sizes) else float(losses.value.ravel()[-1])


def inference(model: Module) -> Forward:
    """The model as native code; op by op where it cannot be compiled."""
    from vugrad.compiler import compile

    native = compile(model)

    def forward(x: Array) -> Any:
        try:
            return native(x)
        except Exception:  # if it is not the compiler's, the model raises it too
            return model(x)

    return forward


def _ahead(optimizer: Optimizer, schedule: LRScheduler | None, steps: int) -> tuple[Sequence[float] | None, list[Any]]:
    """The rates of the next steps, and the schedule's states between them; the schedule is left where it was."""
    if schedule is None:
        return None, []
    rates, states = [], [schedule.state_dict()]
    try:
        for _ in range(steps):
            rates.append(optimizer.lr)
            schedule.step()
            states.append(schedule.state_dict())
    finally:
        schedule.load_state_dict(states[0])
    return rates, states
