"""Checkpoints: everything a run needs to go on, in one safetensors file (extra ``lab``)."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np

from vugrad.files import write_whole
from vugrad.nn import Module
from vugrad.optim import LRScheduler, Optimizer
from vugrad.train.history import History

FORMAT = "vugrad 1"


def save_checkpoint(
    path: str | Path,
    model: Module,
    optimizer: Optimizer | None = None,
    schedule: LRScheduler | None = None,
    history: History | None = None,
    rng: np.random.Generator | None = None,
) -> None:
    """Write the state of a run to a file, whole or not at all.

    Args:
        path: the file; one that is there stays until the new one is complete.
        model: its ``state_dict``.
        optimizer: its ``state_dict``, if given.
        schedule: its ``state_dict``, if given.
        history: the epochs so far, if given.
        rng: the state of a random generator, as of the one that :func:`vugrad.seed` sets, if given.
    """
    from safetensors.numpy import save

    tensors = {f"model.{name}": array for name, array in model.state_dict().items()}
    record: dict[str, Any] = {"history": None if history is None else history.as_dict()}
    if optimizer is not None:
        state = optimizer.state_dict()
        tensors |= {f"optimizer.{name}": array for name, array in state.pop("state").items()}
        record["optimizer"] = state
    if schedule is not None:
        record["schedule"] = schedule.state_dict()
    if rng is not None:
        record["rng"] = rng.bit_generator.state
    content = save(
        {name: np.ascontiguousarray(array) for name, array in tensors.items()},
        {"format": FORMAT, "record": json.dumps(record)},
    )
    write_whole(Path(path), content)


def load_checkpoint(
    path: str | Path,
    model: Module,
    optimizer: Optimizer | None = None,
    schedule: LRScheduler | None = None,
    rng: np.random.Generator | None = None,
) -> History:
    """Read a file that :func:`save_checkpoint` wrote into a model (and optimizer, schedule, rng) of the same make.

    Returns the history saved with it. Raises ``FileNotFoundError``, or ``ValueError`` for a file that is not a
    whole checkpoint or is of another architecture; the model is unchanged then.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if metadata.get("format") != FORMAT:
            raise ValueError(f"its format is {metadata.get('format')!r}, not {FORMAT!r}")
        record = json.loads(metadata["record"])
        history = History() if record["history"] is None else History.from_dict(record["history"])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a whole checkpoint of vugrad: {error}") from error
    for name, given in (("optimizer", optimizer), ("schedule", schedule), ("rng", rng)):
        if given is not None and name not in record:
            raise ValueError(f"{path} was saved without the state of the {name}")
    before = model.state_dict()
    try:
        model.load_state_dict(_under("model.", tensors))
        if optimizer is not None:
            optimizer.load_state_dict({**record["optimizer"], "state": _under("optimizer.", tensors)})
        if schedule is not None:
            schedule.load_state_dict(record["schedule"])
        if rng is not None:
            rng.bit_generator.state = record["rng"]
    except (ValueError, TypeError, KeyError) as error:
        model.load_state_dict(before)
        raise ValueError(f"{path} does not fit what it is loaded into: {error}") from error
    return history


def require_safetensors() -> None:
    """Raise ``ImportError`` that says what to install if checkpoints cannot be written."""
    if importlib.util.find_spec("safetensors") is None:
        raise ImportError("checkpoints need the package safetensors: pip install 'vugrad[lab]'")


def _under(prefix: str, tensors: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
