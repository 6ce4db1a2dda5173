"""One run, from the first epoch or from where it was left, to its record."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vugrad import random as randomness
from vugrad.compiler.alike import alike
from vugrad.compiler.machine.threads import set_threads
from vugrad.data import Dataset
from vugrad.lab.record import Record, Records, Run
from vugrad.nn import Module
from vugrad.train import Callback, History, evaluate, load_checkpoint, save_checkpoint
from vugrad.train.callbacks import Run as Training
from vugrad.train.recipe import Recipe
from vugrad.train.step import inference

#: Datasets that a process holds at once: one under each of the conventions that studies compare.
HELD = 4
#: Settings on which the compiled training step does not depend, at their defaults.
AROUND = {name: getattr(Recipe(), name) for name in ("lr", "init", "schedule", "shuffle", "epochs")}


def program(recipe: Recipe) -> Recipe:
    """The recipe with the settings of :data:`AROUND` reset: recipes with equal results share a compiled step.

    >>> program(Recipe(lr=0.1, epochs=3)) == program(Recipe()), program(Recipe(batch_size=7)) == program(Recipe())
    (True, False)
    """
    return replace(recipe, **AROUND)


def execute(run: Run, records: Records, threads: int = 1, callbacks: Sequence[Callback] = ()) -> Record:
    """Make a run's record, unless it is there; a run that was interrupted goes on after its last whole epoch.

    However often it is interrupted, also by an exception of a callback, the result has the same bits. A run whose loss
    is not finite any more ends there, and its record says so.
    """
    found = records.read(run)
    if found is not None:
        return found
    set_threads(threads)
    recipe, path = run.recipe, records.checkpoint(run)
    data = dataset(recipe.data, recipe.pixels, recipe.final)
    randomness.seed(run.seed)
    rng = randomness.generator()
    model = recipe.build_model(data)
    optimizer = recipe.build_optimizer(model)
    schedule = recipe.build_schedule(optimizer, data)
    history = History()
    if path.is_file():
        history = load_checkpoint(path, model, optimizer, schedule, rng)
    callbacks = [_Keeper(path), *callbacks]
    assert data.test is not None  # every dataset that has a name has one
    with alike(program(recipe)), np.errstate(all="ignore"):  # a run that goes to infinity overflows
        recipe.fit(model, data, optimizer, schedule, callbacks=callbacks, history=history, progress=False)
        if history.stopped and history.stopped.startswith("interrupted"):
            raise KeyboardInterrupt
        test_loss, test_accuracy = evaluate(model, data.test, recipe.build_loss(data), forward=inference(model))
    record = Record(run, history, test_loss, test_accuracy, weights_hash(model), threads, versions())
    records.write(record)
    return record


class _Keeper(Callback):
    """Writes down where the run stands after each epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_epoch_end(self, run: Training) -> None:
        """Replace the checkpoint before, but after the last epoch, which the record follows at once."""
        if run.epoch < run.epochs:
            rng = randomness.generator()
            save_checkpoint(self.path, run.model, run.optimizer, run.schedule, run.history, rng)


@functools.lru_cache(HELD)
def dataset(name: str, pixels: str, final: bool) -> Dataset:
    """A dataset, loaded once in a process."""
    return Recipe(data=name, pixels=pixels, final=final).build_data()


def weights_hash(model: Module) -> str:
    """A hash of the bits of all that a model has learned."""
    total = hashlib.sha256()
    for name, array in model.state_dict().items():
        total.update(name.encode() + array.tobytes())
    return total.hexdigest()[:20]


def versions() -> dict[str, str]:
    """What computes here."""
    found = {"python": platform.python_version(), "machine": f"{platform.machine()} {platform.system()}"}
    for package in ("vugrad", "numpy", "llvmlite"):
        found[package] = importlib.metadata.version(package)
    return found
