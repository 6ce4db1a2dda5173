"""Training that is kept on disk as it goes, and resumed from there."""

from __future__ import annotations

import textwrap
import zlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from vugrad import random as randomness
from vugrad.data import Dataset
from vugrad.files import held, write_whole
from vugrad.interchange.tensors import require_safetensors
from vugrad.interchange.weights import check_kept
from vugrad.losses import Loss
from vugrad.nn import Module
from vugrad.optim import LRScheduler, Optimizer
from vugrad.train.callbacks import Callback, Run
from vugrad.train.checkpoint import Draws, Stateful, file_at, pack, read, write

#: The run that was in the folder before, unless it was resumed.
PREVIOUS = "previous.safetensors"


class Checkpoint(Callback):
    """Writes all that a run needs to go on in the same bits, at the end of every epoch; the last of the callbacks.

    Args:
        path: the file, or the folder that it is to be in.
        resume: whether to go on with the run that is there, if there is one; if not, it is moved aside.
        about: what else the manifest is to say, in JSON's types.
    """

    def __init__(self, path: str | Path, resume: bool = False, about: Mapping[str, Any] | None = None) -> None:
        require_safetensors()
        self.path, self.resume, self.about = file_at(path), resume, about or {}

    def held(self) -> AbstractContextManager[None]:
        """Be the only one who writes the file, which stays where it is now, wherever the process goes."""
        self.path = self.path.absolute()
        return held(self.path)

    def on_train_begin(self, run: Run) -> None:
        """Resume, if that is asked for; and find out now whether all that is to be kept can be."""
        check_kept(run.model, run.optimizer.params)
        for name, part in self._parts(run).items():
            pack(name, part.state_dict(), {})
        self._saved = 0
        if self.resume and self.path.is_file():
            self._load(run)

    def on_epoch_end(self, run: Run) -> None:
        """Write the file anew; the one before is there until the new one is whole."""
        if not self._saved and self.path.is_file():
            write_whole(self.path.with_name(PREVIOUS), self.path.read_bytes())
        steps = len(run.history) * -(-run.settings["instances"] // run.settings["batch_size"])
        more = {"epoch": run.epoch, "step": steps, "settings": dict(run.settings), "about": dict(self.about)}
        write(self.path, self._parts(run), run.history, **more)
        self._saved = run.epoch

    def on_train_end(self, run: Run) -> None:
        """Tell an interrupted run where its last whole epoch is."""
        if run.history.stopped and run.history.stopped.startswith("interrupted") and self._saved:
            run.history.stopped += f"; epoch {self._saved} is saved in {self.path}"

    def _load(self, run: Run) -> None:
        saved = read(self.path)
        before, now = saved.manifest.get("settings"), run.settings
        if not isinstance(before, dict):
            raise ValueError(f"{self.path} was not written by fit, and cannot be resumed: load_checkpoint reads it")
        differ = [
            f"{name} was {_short(before.get(name))} and is {_short(now[name])}"
            for name in now
            if before.get(name) != pack(name, now[name], {})
        ]
        if differ:
            raise ValueError(
                f"the run in {self.path} cannot be resumed, since it would not be the same run:\n  "
                + "\n  ".join(differ)
            )
        saved.into(
            {name: part for name, part in self._parts(run).items() if name in saved or not name.startswith("callback.")}
        )
        run.history.epochs[:] = saved.history.epochs
        run.epoch = self._saved = len(run.history)
        for callback in run.callbacks:
            callback.on_resume(run)

    def _parts(self, run: Run) -> dict[str, Stateful]:
        """All that has a state, by name: what every run has, and callbacks, which may come and go."""
        parts: dict[str, Stateful] = {"model": run.model, "optimizer": run.optimizer}
        if run.schedule is not None:
            parts["schedule"] = run.schedule
        parts |= {"order": Draws(run.rng), "random": Draws(randomness.generator())}
        for callback in run.callbacks:
            if type(callback).state_dict is not Callback.state_dict:
                name = f"callback.{type(callback).__name__}"
                same = sum(part == name or part.startswith(f"{name}.") for part in parts)
                parts[f"{name}.{same}" if same else name] = callback
        return parts


def settings_of(
    model: Module, data: Dataset, loss: Loss, optimizer: Optimizer, schedule: LRScheduler | None, **others: Any
) -> dict[str, Any]:
    """What decides the updates of a run, to tell whether another is the same."""
    x, y = data.train
    some = np.ascontiguousarray(x[:: max(1, len(x) // 1000)])  # of a large array, enough to know it by
    numbers = {
        name: value
        for name, value in sorted(vars(optimizer).items())
        if name not in ("lr", "initial_lr") and isinstance(value, bool | int | float | tuple)
    }
    return {
        "instances": len(x),
        "data": f"{zlib.crc32(np.ascontiguousarray(y).data, zlib.crc32(some.data)):08x}",
        **others,
        "model": repr(model),
        "loss": getattr(loss, "__qualname__", type(loss).__name__),
        "optimizer": f"{type(optimizer).__name__} {numbers}",
        "schedule": None if schedule is None else type(schedule).__name__,
    }


def _short(value: Any) -> str:
    return textwrap.shorten(str(value), 160, placeholder=" …")
