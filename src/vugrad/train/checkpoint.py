"""Checkpoints: everything a run needs to go on, in one safetensors file with a manifest (extra ``lab``).

The arrays are tensors of the file under names such as ``model.0.weight``. The manifest is JSON in its metadata: all
that is no array, with ``{"tensor": name}`` in the place of each that is, and a hash of everything, so that a damaged
file is never taken for another one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vugrad.interchange.tensors import Array, read_tensors, storable, write_tensors
from vugrad.interchange.weights import CHECKPOINT, NAME, check_kept
from vugrad.nn import Module
from vugrad.optim import LRScheduler, Optimizer
from vugrad.train.history import History

FORMAT = f"{CHECKPOINT} 1"


class Stateful(Protocol):
    """What can be kept: its state is numbers, text, arrays, and lists and dicts of them."""

    def state_dict(self) -> Mapping[str, Any]:
        """The state, for :meth:`load_state_dict`."""

    def load_state_dict(self, state: Any, /) -> Any:
        """Take a state over, all of it or nothing."""


class Draws:
    """The state of a random generator, as a part of a checkpoint."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def state_dict(self) -> Mapping[str, Any]:
        """What it draws next follows from this."""
        return self.rng.bit_generator.state

    def load_state_dict(self, state: Any, /) -> None:
        """Draw from now on what it drew then."""
        self.rng.bit_generator.state = state


def file_at(path: str | Path) -> Path:
    """The checkpoint that is meant by a file, or by the folder that it is in."""
    path = Path(path)
    return path if path.suffix == ".safetensors" and not path.is_dir() else path / NAME


def save_checkpoint(
    path: str | Path,
    model: Module,
    optimizer: Optimizer | None = None,
    schedule: LRScheduler | None = None,
    history: History | None = None,
    rng: np.random.Generator | None = None,
) -> None:
    """Write the state of a run of your own to a file, whole or not at all; ``fit(checkpoint=…)`` does so by itself.

    Args:
        path: the file; one that is there stays until the new one is complete.
        model: its ``state_dict``.
        optimizer: its ``state_dict``, if given.
        schedule: its ``state_dict``, if given.
        history: the epochs so far, if given.
        rng: the state of a random generator, as of the one that :func:`vugrad.seed` sets, if given.
    """
    if optimizer is not None:
        check_kept(model, optimizer.params)
    write(Path(path), _parts(model, optimizer, schedule, rng), History() if history is None else history)


def load_checkpoint(
    path: str | Path,
    model: Module,
    optimizer: Optimizer | None = None,
    schedule: LRScheduler | None = None,
    rng: np.random.Generator | None = None,
) -> History:
    """Read a checkpoint, or the one in a folder, into a model (and optimizer, schedule, rng) of the same make.

    Returns the history saved with it. Raises ``FileNotFoundError``, or ``ValueError`` for a file that is not a
    whole checkpoint or is of another architecture; nothing is changed then.
    """
    saved = read(path)
    saved.into(_parts(model, optimizer, schedule, rng))
    return saved.history


def _parts(
    model: Module, optimizer: Optimizer | None, schedule: LRScheduler | None, rng: np.random.Generator | None
) -> dict[str, Stateful]:
    draws = None if rng is None else Draws(rng)
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule, "order": draws}
    return {name: part for name, part in parts.items() if part is not None}


def write(path: Path, parts: Mapping[str, Stateful], history: History, **more: Any) -> None:
    """Write a checkpoint of the parts by their names; ``more`` is what else its manifest is to say."""
    tensors: dict[str, Array] = {}
    states = {name: pack(name, part.state_dict(), tensors) for name, part in parts.items()}
    said = pack("manifest", {**more, "history": history.as_dict()}, {})
    manifest = json.dumps({**said, "parts": states})
    write_tensors(path, tensors, {"format": FORMAT, "manifest": manifest, "sha256": digest(manifest, tensors)})


class Saved:
    """A checkpoint that was read.

    ``history`` is the run's, ``manifest`` all that is no array.
    """

    def __init__(self, path: Path, manifest: dict[str, Any], tensors: dict[str, Array]) -> None:
        self.path, self.manifest, self.tensors = path, manifest, tensors
        self.history = History.from_dict(manifest["history"])
        self._states = {name: _unpack(state, tensors) for name, state in manifest["parts"].items()}

    def __contains__(self, part: str) -> bool:
        return part in self._states

    def into(self, parts: Mapping[str, Stateful]) -> None:
        """Load the parts; ``ValueError`` if one is not there or does not fit, and all are as they were then."""
        for name in parts:
            if name not in self:
                raise ValueError(f"{self.path} was saved without the state of the {name}")
        before = {name: part.state_dict() for name, part in parts.items()}
        try:
            for name, part in parts.items():
                part.load_state_dict(self._states[name])
        except BaseException as error:  # an optimizer, a schedule or a callback of somebody's own may raise anything
            for name, part in parts.items():
                part.load_state_dict(before[name])
            if not isinstance(error, Exception):
                raise
            why = f"{type(error).__name__} {error}" if isinstance(error, LookupError) else error
            raise ValueError(f"{self.path} does not fit what it is loaded into: {why}") from error


def read(path: str | Path) -> Saved:
    """A checkpoint, or the one in a folder.

    Raises ``FileNotFoundError``, or ``ValueError`` for a file that is not a whole checkpoint.
    """
    path = Path(path) if Path(path).is_file() else file_at(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        tensors, metadata = read_tensors(path)
        if metadata.get("format") != FORMAT:
            raise ValueError(f"its format is {metadata.get('format')!r}, not {FORMAT!r}")
        text = metadata["manifest"]
        if digest(text, tensors) != metadata["sha256"]:
            raise ValueError("it is damaged: what is in it has another hash than what was saved")
        return Saved(path, json.loads(text), tensors)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is not a whole checkpoint of vugrad: {error}") from error


def pack(name: str, state: Any, tensors: dict[str, Array]) -> Any:
    """A state for JSON; its arrays go to ``tensors`` under names that begin with ``name``."""
    if isinstance(state, np.ndarray):
        while name in tensors:  # where a key with a dot in it is another's path
            name += "'"
        tensors[name] = storable(name, state)
        return {"tensor": name}
    if isinstance(state, Mapping):
        if state.keys() == {"tensor"} and isinstance(state["tensor"], str):
            raise TypeError(f"{name} is {state!r}, which stands for an array in a checkpoint: give it another key")
        return {_text(name, key): pack(f"{name}.{key}", value, tensors) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [pack(f"{name}.{i}", value, tensors) for i, value in enumerate(state)]
    if isinstance(state, np.generic):
        return state.item()
    if state is None or isinstance(state, bool | int | float | str):
        return state
    raise TypeError(
        f"{name} is a {type(state).__name__}, and a checkpoint keeps numbers, text, arrays, and lists and dicts of "
        "them: leave it out of the state_dict, or turn it into these"
    )


def _text(name: str, key: Any) -> str:
    if isinstance(key, str):
        return key
    raise TypeError(f"{name} has the key {key!r}, and the keys of a state are text")


def _unpack(state: Any, tensors: Mapping[str, Array]) -> Any:
    if isinstance(state, dict):
        if state.keys() == {"tensor"} and isinstance(state["tensor"], str):
            return tensors[state["tensor"]]
        return {key: _unpack(value, tensors) for key, value in state.items()}
    return [_unpack(value, tensors) for value in state] if isinstance(state, list) else state


def digest(manifest: str, tensors: Mapping[str, Array]) -> str:
    """The hash that says that manifest and tensors are those that were saved."""
    total = hashlib.sha256(manifest.encode())
    for name in sorted(tensors):
        total.update(f"{name} {tensors[name].dtype.str} {tensors[name].shape}".encode())
        total.update(np.ascontiguousarray(tensors[name]).tobytes())
    return total.hexdigest()
