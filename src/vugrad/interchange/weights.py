"""A module's weights in the files of PyTorch's world: safetensors, read and written, and ``torch.save``'s, read."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from vugrad.graph import TensorNode
from vugrad.interchange.tensors import Array, read_tensors, write_tensors
from vugrad.interchange.torchfile import read_torch
from vugrad.nn import Module
from vugrad.nn.module import Unmatched, called_the_same
from vugrad.nn.norm import Random

#: A count that PyTorch's batch normalisation keeps for an average over all batches, which ours does not have.
COUNT = "num_batches_tracked"
#: How the format of a checkpoint of ours begins, the names of the model's arrays in it, and its own name in a folder.
CHECKPOINT, MODEL, NAME = "vugrad checkpoint", "model.", "checkpoint.safetensors"


def load_state(model: Module, path: str | Path, strict: bool = True) -> Unmatched:
    """Load a file's weights into a model of the same architecture, in place.

    Args:
        model: whose parameters and buffers have the names that they have in PyTorch, their paths.
        path: a safetensors file, a checkpoint of :func:`vugrad.train.fit` or its folder, whose model is taken, or what
            ``torch.save(model.state_dict(), path)`` wrote; its content tells which.
        strict: whether the file must have every array of the model, and no other.

    Numbers of another width are converted, bfloat16 too. PyTorch's ``num_batches_tracked`` and the ``key`` of our
    layers that draw random numbers are neither asked for nor missed. No code in a file is run.

    Returns the names that are not in the file, and those that are not in the model: none, unless ``strict=False``.
    Raises ``FileNotFoundError``, ``ImportError`` where a safetensors file is given and that package is missing, and
    ``ValueError`` for another kind of file, or that lists all that does not fit; nothing is loaded then.

    >>> import pathlib, tempfile, vugrad as vg
    >>> net, other = vg.nn.Linear(3, 2), vg.nn.Linear(3, 2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     vg.save_state(net, pathlib.Path(folder) / "linear.safetensors")
    ...     vg.load_state(other, pathlib.Path(folder) / "linear.safetensors")
    Unmatched(missing_keys=[], unexpected_keys=[])
    >>> bool((net.weight.value == other.weight.value).all())
    True
    """
    check_order("load_state", model, path)
    path = Path(path) / NAME if Path(path).is_dir() else Path(path)
    state = _read(path)
    names = {name for paths, _ in model.named_arrays() for name in paths}
    state = {name: array for name, array in state.items() if name in names or name.rpartition(".")[2] != COUNT}
    try:
        return model.load_state_dict(_keys(model) | state, strict)
    except ValueError as error:
        raise ValueError(f"{path}: {error}{_hint(names, state)}") from None


def save_state(model: Module, path: str | Path) -> None:
    """Write a model's weights to a safetensors file, which a model of the same architecture in PyTorch loads.

    Args:
        model: whose parameters and buffers are written, but for the ``key`` of the layers that draw random numbers.
        path: the file; one that is there stays until the new one is complete.

    What is shared is written under each of its names. In PyTorch:
    ``model.load_state_dict(safetensors.torch.load_file(path))``.

    Raises ``ImportError`` where the package safetensors is missing, ``ValueError`` for a dtype that the format lacks, a
    parameter that the state_dict lacks, and a path that ends as those of ``torch.save``.
    """
    check_order("save_state", model, path)
    if Path(path).suffix in (".pt", ".pth"):
        raise ValueError(f"save_state writes safetensors, and {path} ends as torch.save's files: call it .safetensors")
    check_kept(model, model.parameters())
    keys = _keys(model)
    arrays: dict[str, Array] = {}
    for name, array in (
        (name, array) for paths, array in model.named_arrays() if paths[0] not in keys for name in paths
    ):
        if name in arrays:
            raise called_the_same(name)
        arrays[name] = array
    write_tensors(Path(path), arrays, {"format": "pt"})


def check_kept(model: Module, parameters: Iterable[TensorNode]) -> None:
    """Raise ``ValueError`` for parameters that would not be saved with a model, since its state_dict has them not."""
    saved = {id(array) for _, array in model.named_arrays()}
    lost = [p.name or f"number {i}" for i, p in enumerate(parameters) if id(p.value) not in saved]
    if lost:
        raise ValueError(
            f"{', '.join(lost)} would be lost: it is trained, and not in the state_dict of {type(model).__name__}. "
            "Keep each parameter in an attribute of the model, with no underscore before its name"
        )


def _keys(model: Module) -> dict[str, Array]:
    """The buffers that PyTorch's layers do not have, by name."""
    keys = {id(module.key) for _, module in model.named_modules() if isinstance(module, Random)}
    return {paths[0]: array for paths, array in model.named_arrays() if id(array) in keys}


def _read(path: Path) -> dict[str, Array]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    with path.open("rb") as file:
        head = file.read(16)
    if head[:2] in (b"PK", b"\x80\x02"):
        return read_torch(path)
    if head[8:9] == b"{":
        arrays, metadata = read_tensors(path)
        if not metadata.get("format", "").startswith(CHECKPOINT):
            return arrays
        return {name.removeprefix(MODEL): array for name, array in arrays.items() if name.startswith(MODEL)}
    raise ValueError(f"{path} is neither a safetensors file nor one of torch.save's: it begins with {head!r}")


def _hint(own: Collection[str], found: Collection[str]) -> str:
    """What to write if one's names are the other's behind a prefix, as those of a model in a wrapper are."""
    if path := _prefix(found, own):
        if path.isidentifier() and path[0] != "_":
            cure = f"outer = vg.nn.Module(); outer.{path} = model; vg.load_state(outer, path)"
        else:
            cure = f"in PyTorch: torch.save(model.get_submodule({path!r}).state_dict(), path)"
        return f"\nAll names in the file begin with '{path}.', as those of a model in a wrapper do. Write {cure}"
    if path := _prefix(own, found):
        return f"\nAll names in the module begin with '{path}.', and behind it are the file's: load that part alone"
    return ""


def _prefix(longer: Collection[str], shorter: Collection[str]) -> str:
    """The path that stands before all of the longer names, if most are the shorter ones behind it; else nothing."""
    first = next(iter(longer), "")
    for end in (i for i, letter in enumerate(first) if letter == "."):
        bare = {name[end + 1 :] for name in longer if name.startswith(first[: end + 1])}
        if len(bare) == len(longer) and 2 * len(bare & set(shorter)) > len(longer):
            return first[:end]
    return ""


def check_order(name: str, model: Any, path: Any) -> None:
    """Raise ``TypeError`` unless the arguments are a module and a path, in this order."""
    if not isinstance(model, Module) or not isinstance(path, str | os.PathLike):
        raise TypeError(
            f"{name} takes a module and the path of a file, as in vg.{name}(net, 'net.safetensors'), got "
            f"{type(model).__name__} and {type(path).__name__}"
        )
