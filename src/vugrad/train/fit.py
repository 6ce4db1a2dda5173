"""The loop that trains."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import time
from collections.abc import Callable, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from vugrad import random as randomness
from vugrad.data import Dataset, Split, batches
from vugrad.graph.op import is_watched
from vugrad.losses import LOSSES, Loss, cross_entropy
from vugrad.nn import Module
from vugrad.optim import Adam, LRScheduler, Optimizer
from vugrad.suggest import choose, near, whole
from vugrad.train.callbacks import Callback, Run
from vugrad.train.evaluate import evaluate
from vugrad.train.history import Epoch, History
from vugrad.train.keeping import Checkpoint, settings_of
from vugrad.train.step import Batch, Step

#: What the instances' losses are multiplied by, given how many there are, to make the number that is minimised.
REDUCTIONS: dict[str, Callable[[int], int]] = {"mean": lambda n: 1, "sum": lambda n: n}


def fit(
    model: Module,
    data: Dataset | tuple[Any, Any] | Any,
    targets: Any = None,
    *,
    loss: Loss = cross_entropy,
    optimizer: Optimizer | None = None,
    epochs: int = 10,
    batch_size: int = 64,
    schedule: LRScheduler | None = None,
    callbacks: Sequence[Callback] = (),
    seed: int | None = None,
    shuffle: bool = True,
    reduction: str = "mean",
    max_norm: float | None = None,
    history: History | None = None,
    checkpoint: str | Path | Checkpoint | None = None,
    resume: bool = False,
    progress: bool = True,
    compile: bool = True,
) -> History:
    """Train a model by mini-batch gradient descent.

    Args:
        model: updated in place.
        data: a :class:`vugrad.data.Dataset`, or a pair of arrays ``(x, y)``, or x alone.
        targets: y, if ``data`` is x alone.
        loss: a function ``(outputs, targets)`` that gives the mean over the batch.
        optimizer: of the model's parameters; Adam with its defaults if not given.
        epochs: how many times to pass the training split.
        batch_size: instances in an update; the last batch of an epoch may be smaller.
        schedule: stepped after every batch, so its arguments count batches.
        callbacks: called at every turn, in order.
        seed: of the order of the instances; by default the generator that ``vg.seed`` sets draws it.
        shuffle: whether each epoch takes the instances in a new order.
        reduction: whether an update follows the batch's mean loss or its "sum".
        max_norm: clip the gradient's 2-norm to this before each update.
        history: of the epochs that the model has behind it, as a checkpoint has it: the training goes on after them,
            up to ``epochs`` in all, and adds to it.
        checkpoint: a folder, for a file to which all that a run needs to go on is written after every epoch, whole or
            not at all (extra ``lab``). One process at a time may train into it; a run that was there and is not
            resumed is kept as ``previous.safetensors``.
        resume: go on with the run in ``checkpoint``, if there is one, after its last whole epoch: with as many
            threads it ends in the same bits as a run that was never interrupted. Everything else is given as it was;
            ``epochs`` may be more, if the schedule goes so far.
        progress: show a live bar (where the extra ``lab`` is installed).
        compile: run as native code, an epoch in one call (see :func:`vugrad.compile`); what cannot be compiled runs
            op by op, and an :class:`EagerWarning` says why.

    A compiled step is recorded once, and looked at again where a callback of your own had its turn at the end of an
    epoch: numbers that ``model`` and ``loss`` take from Python may change there, not between the batches. With a
    callback that has an ``on_batch_end``, batches are run one by one.

    Ctrl-C ends the training like an early stop: the history says so, and the model is as it was then. So does a
    loss that is not a number any more. Raises ``ValueError`` for data, targets or settings that do not fit.

    >>> import numpy as np, vugrad as vg
    >>> x = np.linspace(-1, 1, 64, dtype=np.float32).reshape(-1, 1)
    >>> history = vg.train.fit(vg.nn.Linear(1, 1), (x, 3 * x + 1), loss=vg.losses.mse_loss, epochs=60, progress=False)
    >>> history["loss"][-1] < history["loss"][0]
    True
    """
    epochs, batch_size = whole("fit: epochs", epochs), whole("fit: batch_size", batch_size)
    weight = choose("reduction", reduction, REDUCTIONS)
    _check_model(model)
    data = _dataset(data, targets)
    optimizer = Adam(model.parameters()) if optimizer is None else optimizer
    _check(model, loss, optimizer, schedule, max_norm)
    _check_callbacks(callbacks)
    rng = randomness.generator(None if seed is None else randomness.seeded(seed))
    history = History() if history is None else history
    if not isinstance(history, History):
        raise TypeError(f"fit: history must be the History that an earlier fit returned, got {history!r}")
    history.stopped = None
    if checkpoint is None and resume:
        raise ValueError("fit: resume goes on with the run in a folder: name it, as in fit(…, checkpoint='runs/a')")
    keeper = checkpoint if isinstance(checkpoint, Checkpoint | None) else Checkpoint(checkpoint, resume)
    run = Run(model, data, optimizer, schedule, epochs, history, len(history), rng=rng)
    if keeper is not None:
        own = {"batch_size": batch_size, "shuffle": shuffle, "reduction": reduction, "max_norm": max_norm}
        run.settings = settings_of(model, data, loss, optimizer, schedule, **own)
    # The bar begins last, when nothing can be refused any more, and ends last, to print what the others have said.
    watched = any(callback.every_batch and _overrides(callback, "on_batch_end") for callback in callbacks)
    foreign = any(not type(callback).__module__.startswith("vugrad.") for callback in callbacks)
    callbacks = [*callbacks, *([] if keeper is None else [keeper])]
    run.callbacks = callbacks = [*callbacks, *([_progress_bar()] if progress and _has_rich() else [])]

    step = Step(model, loss, optimizer, weight, max_norm, compile and not is_watched())

    def count(value: float, right: int | None, n: int) -> None:
        before, run.seen = run.seen, run.seen + n
        run.loss += (value - run.loss) * n / run.seen
        if right is not None:
            run.accuracy = ((run.accuracy or 0.0) * before + right) / run.seen

    def one_by_one(split: Split) -> None:
        for x, y in batches(split.x, split.y, batch_size, rng if shuffle else None):
            value, right = step(x, y)
            if not math.isfinite(value):
                stop_at(value)
                return
            count(value, right, len(x))
            if schedule is not None:
                schedule.step()
            for callback in callbacks:
                callback.on_batch_end(run)
            if run.history.stopped:
                return

    def all_at_once(split: Split) -> None:
        def tell(news: list[Batch]) -> None:
            for batch in news:
                count(*batch)
            for callback in callbacks:
                callback.on_batch_end(run)

        order = rng.permutation(len(split.x)) if shuffle else None
        value = step.epoch(split.x, split.y, order, batch_size, schedule, tell)
        if value is not None:
            stop_at(value)

    def stop_at(value: float) -> None:
        run.stop(f"the loss became {value} in epoch {run.epoch}, after {run.seen} instances")

    def one_epoch(split: Split) -> None:
        run.seen, run.loss, run.accuracy = 0, 0.0, None
        model.train()
        step.prepare(split.x, split.y, batch_size, changed=foreign)
        start = time.perf_counter()
        (one_by_one if step.native is None or watched else all_at_once)(split)
        if run.history.stopped:
            return
        seconds = time.perf_counter() - start
        held_out = (
            (None, None) if data.validation is None else evaluate(model, data.validation, loss, forward=step.inference)
        )
        figures = Epoch(
            epoch=run.epoch,
            loss=run.loss,
            accuracy=run.accuracy,
            validation_loss=held_out[0],
            validation_accuracy=held_out[1],
            lr=optimizer.lr,
            seconds=seconds,
            images_per_second=run.seen / seconds,
        )
        run.history.epochs.append(figures)
        for callback in callbacks:
            callback.on_epoch_end(run)

    optimizer.zero_grad()
    with contextlib.ExitStack() as endings:
        if keeper is not None:
            endings.enter_context(keeper.held())
        for callback in callbacks:
            callback.on_train_begin(run)
        for callback in reversed(callbacks):  # a stack: the last one in is the first to run, and all of them do
            endings.callback(callback.on_train_end, run)
        try:
            while run.epoch < epochs and not run.history.stopped:
                run.epoch += 1
                one_epoch(data.train)
        except KeyboardInterrupt:
            run.stop(f"interrupted in epoch {run.epoch}")
    return run.history


def _check_model(model: Any) -> None:
    """Raise ``TypeError`` unless ``model`` is a module."""
    if not isinstance(model, Module):
        given = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise TypeError(f"fit: model must be a vg.nn.Module, such as vg.nn.MLP([784, 100, 10]), got {given}")


def _check(
    model: Module, loss: Loss, optimizer: Optimizer, schedule: LRScheduler | None, max_norm: float | None
) -> None:
    """Raise ``TypeError`` or ``ValueError`` for settings that would not train the model."""
    given: Any = loss, optimizer, schedule
    if not callable(given[0]):
        raise TypeError(f"fit: loss must be a function, such as vg.losses.{_near_loss(given[0])}, got {given[0]!r}")
    if not isinstance(given[1], Optimizer):
        raise TypeError(
            f"fit: optimizer must be made with parameters, as in vg.optim.SGD(model.parameters()), got {optimizer!r}"
        )
    own = {id(parameter) for parameter in model.parameters()}
    if not any(id(parameter) in own for parameter in optimizer.params):
        raise ValueError("fit: the optimizer holds no parameter of this model: make it with model.parameters()")
    if not isinstance(given[2], LRScheduler | None):
        raise TypeError(
            "fit: schedule must be made with the optimizer, as in vg.optim.CosineAnnealingLR(optimizer, T_max), got "
            f"{given[2]!r}"
        )
    if schedule is not None and schedule.optimizer is not optimizer:
        raise ValueError("fit: the schedule sets the rate of another optimizer: make it with the one that is passed")
    norm: Any = max_norm
    if norm is not None and not (isinstance(norm, Real) and float(norm) > 0):
        raise (ValueError if isinstance(norm, Real) else TypeError)(
            f"fit: max_norm={max_norm}: the largest norm of the gradient must be a number above 0"
        )


def _near_loss(name: Any) -> str:
    """The name of the loss function that a name of the command line, or a misspelt name, probably means."""
    functions = LOSSES | {loss.__name__: loss for loss in LOSSES.values()}
    close = near(str(name), functions, 1)
    return functions[close[0]].__name__ if close else "cross_entropy"


def _dataset(data: Any, targets: Any) -> Dataset:
    """The dataset of ``fit(model, data)`` or ``fit(model, x, y)``."""
    if isinstance(data, Dataset):
        if targets is not None:
            raise TypeError("fit: a Dataset has its targets: write fit(model, data)")
        return data
    if targets is None and not isinstance(data, tuple | list):
        raise TypeError(
            "fit: the data must be a pair of arrays, as in fit(model, (x, y)), or a vg.data.Dataset, got "
            f"{type(data).__name__}"
        )
    return Dataset(data if targets is None else (data, targets))


def _check_callbacks(callbacks: Any) -> None:
    """Raise ``TypeError`` unless ``callbacks`` is a list of callbacks."""
    if isinstance(callbacks, Callback):
        raise TypeError(f"fit: callbacks must be a list: write callbacks=[{type(callbacks).__name__}(…)]")
    for callback in [callbacks] if callable(callbacks) else callbacks:
        if isinstance(callback, type) and issubclass(callback, Callback):
            raise TypeError(f"fit: a callback must be an object, not a class: write {callback.__name__}(…)")
        if not isinstance(callback, Callback):
            raise TypeError(
                "fit: a callback must be an object of a subclass of vg.train.Callback, with a method such as "
                f"on_epoch_end(self, run), got {callback!r}"
            )


def _overrides(callback: Callback, name: str) -> bool:
    return getattr(getattr(callback, name), "__func__", None) is not getattr(Callback, name)


def _has_rich() -> bool:
    return importlib.util.find_spec("rich") is not None


def _progress_bar() -> Callback:
    from vugrad.train.progress import ProgressBar  # only here, since rich is in an extra

    return ProgressBar()
