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
    """Write a file that is there whole or not at all, as by :func:`vugrad.files.write_whole`.

    Raises ``ValueError`` that names an array of a dtype that the format lacks.
    """
    require_safetensors()
    from safetensors.numpy import save

    write_whole(path, save({name: storable(name, array) for name, array in arrays.items()}, dict(metadata)))


def storable(name: str, array: Array) -> Array:
    """The array as a file holds it; ``ValueError`` for a dtype that the format lacks."""
    dtype = array.dtype.newbyteorder("<")
    if dtype not in map(np.dtype, DTYPES.values()):
        raise ValueError(f"{name} holds {array.dtype}, and a safetensors file holds {', '.join(DTYPES)}")
    return np.asarray(array, dtype, order="C")


def read_tensors(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays in a file, and its metadata. BF16 comes as float32, which has all of its numbers.

    Raises ``FileNotFoundError``, or ``ValueError`` for what is not a whole file of the format.
    """
    require_safetensors()
    from safetensors import SafetensorError, deserialize

    parse: Any = deserialize  # its signature has no types
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    content = path.read_bytes()
    try:
        parts = parse(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return {name: _array(**part) for name, part in parts}, header.get("__metadata__", {})
    except (SafetensorError, ValueError, OverflowError) as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error


def _array(dtype: str, shape: list[int], data: bytearray) -> Array:
    kind = {**DTYPES, "BF16": "<u2", "BOOL": "u1"}.get(dtype)
    if kind is None:
        raise ValueError(f"it holds {dtype}, and NumPy has {', '.join(DTYPES)}")
    array: Array = np.ndarray(len(data) // np.dtype(kind).itemsize, kind, data)
    # In a file, true is any byte but 0; in an array, it is 1.
    array = widened(array) if dtype == "BF16" else array != 0 if dtype == "BOOL" else array
    return array.reshape(shape)


def widened(upper: Array) -> Array:
    """Bfloat16, given as the upper halves of float32's bits, as float32.

    >>> widened(np.array([0x3FC0], np.uint16))
    array([1.5], dtype=float32)
    """
    return (upper.astype(np.uint32) << 16).view(np.float32)
