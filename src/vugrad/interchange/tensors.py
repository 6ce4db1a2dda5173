"""Arrays by name in one safetensors file (extra ``lab``)."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vugrad.files import write_whole

Array = np.ndarray[Any, Any]

#: The format's names of the dtypes that NumPy has.
DTYPES: dict[str, str] = {
    "BOOL": "?",
    **{f"U{8 * n}": f"<u{n}" for n in (1, 2, 4, 8)},
    **{f"I{8 * n}": f"<i{n}" for n in (1, 2, 4, 8)},
    **{f"F{8 * n}": f"<f{n}" for n in (2, 4, 8)},
}


def require_safetensors() -> None:
    """Raise ``ImportError`` that says what to install if such files can be neither read nor written."""
    if importlib.util.find_spec("safetensors") is None:
        raise ImportError("safetensors files need the package safetensors: pip install 'vugrad[lab]'")


def write_tensors(path: Path, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write a file that is there whole or not at all, as by :func:`vugrad.files.write_whole`."""
    require_safetensors()
    from safetensors.numpy import save

    write_whole(path, save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, dict(metadata)))


def read_tensors(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays in a file, and its metadata. BF16 comes as float32, which has all of its numbers.

    Raises ``FileNotFoundError``, or ``ValueError`` for what is not a whole file of the format.
    """
    require_safetensors()
    from safetensors import SafetensorError, deserialize

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    content = path.read_bytes()
    try:
        parts = deserialize(content)  # type: ignore[no-untyped-call]
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return {name: _array(**part) for name, part in parts}, header.get("__metadata__", {})
    except (SafetensorError, ValueError, OverflowError) as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error


def _array(dtype: str, shape: list[int], data: bytearray) -> Array:
    if dtype == "BF16":
        return widened(np.frombuffer(data, "<u2")).reshape(shape)
    if dtype not in DTYPES:
        raise ValueError(f"it holds {dtype}, and NumPy has {', '.join(DTYPES)}")
    return np.frombuffer(data, DTYPES[dtype]).reshape(shape)


def widened(upper: Array) -> Array:
    """Bfloat16, given as the upper halves of float32's bits, as float32.

    >>> widened(np.array([0x3FC0], np.uint16))
    array([1.5], dtype=float32)
    """
    return (upper.astype(np.uint32) << 16).view(np.float32)
