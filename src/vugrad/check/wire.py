"""Messages between two processes: plain values and arrays as bytes; reading a message executes no code of it."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from typing import IO, Any

import numpy as np

Array = Any
#: The most bytes of one message.
MOST = 1 << 26
#: The head of a message: the number of bytes of the whole message, and of its JSON text.
HEAD = struct.Struct("<QQ")
#: The kinds of dtypes that can be sent.
KINDS = "fciub"


class BadMessage(ValueError):  # noqa: N818 (the name says what is wrong)
    """The bytes are not a valid message."""


def is_plain(x: Any) -> bool:
    """Whether a value is an array or scalar of NumPy with numbers, which can be sent."""
    return isinstance(x, np.ndarray | np.generic) and x.dtype.kind in KINDS


def send(file: IO[bytes], value: Any) -> None:
    """Write a message: a number, string, None, slice, dtype or numeric array, or a list, tuple or dict of these.

    Raises ``TypeError`` for anything else.
    """
    buffers: list[bytes] = []
    text = json.dumps(_packed(value, buffers)).encode()
    file.write(HEAD.pack(len(text) + sum(map(len, buffers)), len(text)))
    file.write(text)
    for buffer in buffers:
        file.write(buffer)
    file.flush()


def receive(file: IO[bytes], most: int = MOST) -> Any:
    """The next message; raises ``EOFError`` at the end, :class:`BadMessage` for bytes that are not a message."""
    total, length = HEAD.unpack(_exactly(file, HEAD.size))
    if not length <= total <= most:
        raise BadMessage(f"a message of {total} bytes, of which {length} are its text")
    text, data = _exactly(file, length), _exactly(file, total - length)
    try:
        return _unpacked(json.loads(text), data)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, MemoryError) as error:
        raise BadMessage(f"{type(error).__name__}: {error}") from error


def _exactly(file: IO[bytes], n: int) -> bytes:
    found = file.read(n)
    if len(found) < n:
        raise EOFError
    return found


def _packed(value: Any, buffers: list[bytes]) -> Any:
    """A value in JSON's types: lists stay lists; a type that JSON lacks becomes a dict whose one key names the type."""

    def packed(values: Any) -> list[Any]:
        return [_packed(part, buffers) for part in values]

    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, list):
        return packed(value)
    if isinstance(value, tuple):
        return {"tuple": packed(value)}
    if isinstance(value, dict):
        return {"dict": [packed(item) for item in value.items()]}
    if isinstance(value, slice):
        return {"slice": packed((value.start, value.stop, value.step))}
    if value is Ellipsis:
        return {"ellipsis": 0}
    if isinstance(value, complex) and type(value) is complex:
        return {"complex": [value.real, value.imag]}
    if isinstance(value, np.dtype):
        return {"dtype": value.str}
    if is_plain(value):
        place = sum(map(len, buffers))
        buffers.append(np.ascontiguousarray(value).tobytes())
        return {"array": [value.dtype.str, list(value.shape), place]}
    raise TypeError(f"a {type(value).__name__} cannot be sent")


def _unpacked(value: Any, data: bytes) -> Any:
    if isinstance(value, list):
        return [_unpacked(part, data) for part in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    return UNPACKED[kind](content, data)


def _array(content: Any, data: bytes) -> Array:
    name, shape, place = content
    dtype, count = np.dtype(name), math.prod(shape)
    if dtype.kind not in KINDS or place < 0 or any(n < 0 for n in shape):
        raise BadMessage(f"an array of {dtype} and {shape}")
    # A copy, which can be written into.
    return np.frombuffer(data, dtype, count, place).reshape(shape).copy() if count else np.zeros(shape, dtype)


UNPACKED: dict[str, Callable[[Any, bytes], Any]] = {
    "tuple": lambda parts, data: tuple(_unpacked(parts, data)),
    "dict": lambda items, data: {_unpacked(key, data): _unpacked(part, data) for key, part in items},
    "slice": lambda parts, data: slice(*_unpacked(parts, data)),
    "ellipsis": lambda content, data: Ellipsis,
    "complex": lambda parts, data: complex(*parts),
    "dtype": lambda name, data: np.dtype(name),
    "array": _array,
}
