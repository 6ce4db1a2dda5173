"""Training that is kept on disk as it goes, and resumed from there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vugrad import random as randomness
from vugrad.files import check_writable, held
from vugrad.interchange.tensors import require_safetensors
from vugrad.train.callbacks import Callback, Run
from vugrad.train.checkpoint import Draws, Stateful, file_at, pack, read, write


class Checkpoint(Callback):
    """Writes all that a run needs to go on in the same bits, at the end of every epoch; the last of the callbacks.

    Args:
        path: the file, or the folder that it is to be in.
        resume: whether to go on with the run that is there, if there is one.
        about: what else the manifest is to say, in JSON's types.
    """

    def __init__(self, path: str | Path, resume: bool = False, about: Mapping[str, Any] | None = None) -> None:
        require_safetensors()
        self.path, self.resume, self.about = file_at(path), resume, about or {}

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Be the only one who writes the file."""
        check_writable(self.path)
        with held(self.path):
            yield

    def on_train_begin(self, run: Run) -> None:
        """Resume, if that is asked for; and find out now whether all that is to be kept can be."""
        for name, part in self._parts(run).items():
            pack(name, part.state_dict(), {})
        self._saved = 0
        if self.resume and self.path.is_file():
            self._load(run)

    def on_epoch_end(self, run: Run) -> None:
        """Write the file anew; the one before is there until the new one is whole."""
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
            f"{name} was {before.get(name)!r} and is {now[name]!r}" for name in now if before.get(name) != now[name]
        ]
        if differ:
            raise ValueError(
                f"the run in {self.path} cannot be resumed, since it would not be the same run:\n  "
                + "\n  ".join(differ)
            )
        saved.into(
            {name: part for name, part in self._parts(run).items() if name in saved or not name.startswith("callback.")}
        )
        run.history.epochs[:], run.history.stopped = saved.history.epochs, saved.history.stopped
        run.epoch = self._saved = len(run.history)

    def _parts(self, run: Run) -> dict[str, Stateful]:
        """All that has a state, by name: what every run has, and callbacks, which may come and go."""
        parts: dict[str, Stateful] = {"model": run.model, "optimizer": run.optimizer}
        if run.schedule is not None:
            parts["schedule"] = run.schedule
        parts |= {"order": Draws(run.rng), "random": Draws(randomness.generator())}
        for callback in run.callbacks:
            if callback is not self and callback.state_dict():
                name = f"callback.{type(callback).__name__}"
                same = sum(part == name or part.startswith(f"{name}.") for part in parts)
                parts[f"{name}.{same}" if same else name] = callback
        return parts
