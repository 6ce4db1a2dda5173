"""``vg.doctor``: one dry step of training, and what is amiss in it, with the reason and the cure."""

from __future__ import annotations

import contextlib
import runpy
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vugrad.check.symptoms import AFTER, BEFORE
from vugrad.check.visit import Finding, Visit
from vugrad.graph import TensorNode, as_array, no_grad
from vugrad.graph.backward import below, walk
from vugrad.nn import Module
from vugrad.nn.calls import kept
from vugrad.optim import Optimizer
from vugrad.viewer.watched import recorded


class Findings(list[Finding]):
    """All that was found; an empty list prints as a clean bill."""

    def __str__(self) -> str:
        return "\n".join(map(str, self)) if self else "Nothing amiss was found."

    __repr__ = __str__


def doctor_file(path: Path) -> Findings:
    """The findings for a user's file that defines ``model``, ``loss``, ``batch`` and, optionally, ``optimizer``.

    Raises ``ValueError`` for a file that does not exist, lacks one of the first three, or fails when it runs.
    """
    if not path.is_file():
        raise ValueError(f"{path} is not there: give a file with model, loss and batch")
    try:
        found = runpy.run_path(str(path))
    except (Exception, SystemExit) as error:
        raise ValueError(f"{path} cannot be run: {_told(error, path)}") from error
    missing = [name for name in ("model", "loss", "batch") if name not in found]
    if missing:
        lacks = " and no ".join(missing)
        raise ValueError(f"{path} has no {lacks}: write model = …, loss = … and batch = (x, y) in it")
    try:
        return doctor(found["model"], found["loss"], found["batch"], found.get("optimizer"))
    except Exception as error:
        raise ValueError(f"{path}: {_told(error, path)}") from error


def _told(error: BaseException, path: Path) -> str:
    """An error in words: the line of the file that led to it, its type and its message."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return (f"line {lines[-1]}: " if lines else "") + f"{type(error).__name__}: {error}"


def doctor(
    model: Module,
    loss: Callable[[Any, Any], Any],
    batch: tuple[Any, Any],
    optimizer: Optimizer | None = None,
    training: bool = True,
) -> Findings:
    """What is amiss with a model, its loss and a batch, from one step that changes nothing.

    Args:
        model: in the mode in which it is to be used, before or while it is trained.
        loss: a function ``(outputs, targets)``, which gives one number.
        batch: inputs and targets, as an update takes them.
        optimizer: to see whether it has all parameters.
        training: False if the batch is to be evaluated, and not trained on.

    Each finding says what was seen, why it harms, and what to do; the list is empty if there is none. Parameters,
    gradients and buffers are as before. Raises ``TypeError`` for what is no module, function and pair, and what model
    and loss raise, but for labels that are out of range, which are a finding.

    >>> import numpy as np, vugrad as vg
    >>> x, y = np.random.default_rng(0).normal(size=(32, 4)), np.arange(32) * 7 % 3
    >>> vg.doctor(vg.nn.MLP([4, 16, 3]), vg.losses.cross_entropy, (x, y))
    Nothing amiss was found.
    >>> model = vg.nn.Sequential(vg.nn.Linear(4, 3), vg.nn.Softmax())
    >>> print(vg.doctor(model, vg.losses.cross_entropy, (x, y))[0])
    softmax before cross-entropy in 1: ...
    """
    if not isinstance(model, Module) or not callable(loss) or not isinstance(batch, tuple | list) or len(batch) != 2:
        raise TypeError("doctor takes a module, a loss function and a pair of arrays: vg.doctor(model, loss, (x, y))")
    x, y = (part.value if isinstance(part, TensorNode) else np.asarray(as_array(part)) for part in batch)
    if x.dtype.kind not in "fiub" or not x.ndim or y.dtype.kind not in "fiub" or not y.ndim:
        raise TypeError(
            f"doctor takes arrays of numbers, one row for each instance, and not of {x.dtype} and {y.dtype}"
        )
    names = {node: name for name, node in model.named_parameters()}
    visit = Visit(model, loss, optimizer, training, x, y, names)
    with kept(model), np.errstate(all="ignore"):
        found = Findings(finding for look in BEFORE for finding in look(visit))
        if not any(finding.kind == "labels out of range" for finding in found):
            _step(visit)
            found += [finding for look in AFTER for finding in look(visit)]
        return found


def _step(visit: Visit) -> None:
    """Forward, loss and backward, whose gradients go nowhere; and the loss of the batch twice over."""
    made = []

    def forward() -> Any:
        made.append(visit.model(visit.x))
        return visit.loss(made[0], visit.y)

    value = recorded(forward)
    if not isinstance(value, TensorNode) or value.value.size != 1:
        given = f"a node of shape {value.shape}" if isinstance(value, TensorNode) else type(value).__name__
        raise TypeError(f"the loss gives {given}, and not one number as a node: end it with .mean()")
    visit.outputs, visit.value, visit.ops = made[0], value, below([value])[::-1]
    if value.requires_grad:
        visit.gradients = walk({value: np.ones_like(value.value)})
    visit.model.eval()
    with contextlib.suppress(Exception), no_grad():  # a model may take batches of one size alone
        once, twice = (
            float(visit.loss(visit.model(np.concatenate([visit.x] * n)), np.concatenate([visit.y] * n)).value)
            for n in (1, 2)
        )
        visit.again = once, twice
