"""What can be added to training without changing its loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vugrad.data import Dataset
from vugrad.nn import Module
from vugrad.optim import LRScheduler, Optimizer
from vugrad.random import generator
from vugrad.suggest import choose
from vugrad.train.history import Epoch, History


@dataclass
class Run:
    """One training run as its callbacks see it.

    ``epoch`` counts from 1; ``loss`` and ``accuracy`` are the running means of the epoch, ``seen`` the instances
    they are over. ``rng`` draws the order of the instances, ``settings`` are what else decides an update, and
    ``callbacks`` is everyone who sees this.
    """

    model: Module
    data: Dataset
    optimizer: Optimizer
    schedule: LRScheduler | None
    epochs: int
    history: History = field(default_factory=History)
    epoch: int = 0
    seen: int = 0
    loss: float = 0.0
    accuracy: float | None = None
    rng: np.random.Generator = field(default_factory=generator)
    settings: Mapping[str, Any] = field(default_factory=dict)
    callbacks: Sequence[Callback] = ()

    def stop(self, reason: str) -> None:
        """End the training after the batch or epoch at hand, and say why in the history."""
        self.history.stopped = reason


class Callback:
    """Something to do at the turns of training; every method does nothing unless it is overridden."""

    #: Whether ``on_batch_end`` has to come after every batch; if not, it comes about twenty times a second.
    every_batch = True

    def on_train_begin(self, run: Run) -> None:
        """Before the first epoch."""

    def on_batch_end(self, run: Run) -> None:
        """After every update."""

    def on_epoch_end(self, run: Run) -> None:
        """After every epoch, with its figures at the end of ``run.history``."""

    def on_train_end(self, run: Run) -> None:
        """After the last epoch, an early stop or an interrupt."""

    def state_dict(self) -> Mapping[str, Any]:
        """What a run that is resumed needs of it: numbers, text, arrays, and lists and dicts of them; or nothing."""
        return {}

    def load_state_dict(self, state: Any, /) -> None:
        """Take over what :meth:`state_dict` gave; comes after ``on_train_begin``."""

    def on_resume(self, run: Run) -> None:
        """After ``on_train_begin``, where a run goes on that has epochs behind it, with all states loaded."""


#: What can be watched, and whether more of it is better.
MONITORS: dict[str, tuple[Callable[[Epoch], float | None], bool]] = {
    "validation_accuracy": (lambda epoch: epoch.validation_accuracy, True),
    "validation_loss": (lambda epoch: epoch.validation_loss, False),
    "loss": (lambda epoch: epoch.loss, False),
}


class EarlyStopping(Callback):
    """Stop when a figure has not improved for a number of epochs, and go back to the best weights.

    Args:
        patience: how many epochs without a new best.
        monitor: "validation_accuracy", "validation_loss" or "loss".
        restore_best: whether the model ends with the weights of its best epoch.
    """

    def __init__(self, patience: int, monitor: str = "validation_accuracy", restore_best: bool = True) -> None:
        if not isinstance(patience, int | np.integer) or patience < 1:
            raise ValueError(f"EarlyStopping: patience is a number of epochs, at least 1, got {patience!r}")
        self.patience, self.monitor, self.restore_best = patience, monitor, restore_best
        self._figure, self._more = choose("monitor", monitor, MONITORS)

    def on_train_begin(self, run: Run) -> None:
        """Forget earlier runs."""
        if self.monitor.startswith("validation") and run.data.validation is None:
            raise ValueError(f"EarlyStopping watches {self.monitor!r}, but the data has no validation split")
        self._best, self._best_epoch = -float("inf"), 0
        self._weights = run.model.state_dict()
        #: The weights in place of which the best ones are in the model since the end.
        self._last: dict[str, Any] | None = None

    def on_epoch_end(self, run: Run) -> None:
        """Compare with the best so far."""
        figure = self._figure(run.history.epochs[-1])
        if figure is None:
            raise ValueError(f"EarlyStopping watches {self.monitor!r}, but the targets are not classes")
        score = figure if self._more else -figure
        if score > self._best:
            self._best, self._best_epoch = score, run.epoch
            self._weights = run.model.state_dict()
        self._judge(run)

    def on_resume(self, run: Run) -> None:
        """End a run that had ended; one that is to be longer goes on with the weights that it had."""
        if self._last is not None:
            run.model.load_state_dict(self._last)
            self._last = None
        self._judge(run)

    def _judge(self, run: Run) -> None:
        if run.epoch - self._best_epoch >= self.patience:
            run.stop(f"no better {self.monitor} than in epoch {self._best_epoch} for {self.patience} epochs")
        if self.restore_best and (run.history.stopped or run.epoch >= run.epochs):
            self._last = run.model.state_dict()
            run.model.load_state_dict(self._weights)

    def state_dict(self) -> Mapping[str, Any]:
        """The best epoch so far: its number, its figure and its weights."""
        best = {"best": self._best, "best_epoch": self._best_epoch, "weights": self._weights, "last": self._last}
        return {"monitor": self.monitor, **best}

    def load_state_dict(self, state: Any, /) -> None:
        """Go on from the best epoch of the run that is resumed; ``ValueError`` if it watched something else."""
        if state["monitor"] != self.monitor:
            raise ValueError(f"EarlyStopping watched {state['monitor']!r}, and is to watch {self.monitor!r} now")
        self._best, self._best_epoch, self._weights = (state[name] for name in ("best", "best_epoch", "weights"))
        self._last = state["last"]
