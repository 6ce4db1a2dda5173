"""The idx format, in which MNIST is stored, for arrays of bytes.

Two zero bytes, the type (8: unsigned byte), the number of axes; each extent in 4 bytes, the most significant
first; then the elements, the last axis fastest.
"""

from __future__ import annotations

import math
import struct

import numpy as np
from numpy.typing import NDArray

MAGIC = b"\x00\x00\x08"


def parse(content: bytes) -> NDArray[np.uint8]:
    """The array in the content of an (unzipped) idx file: a read-only view of ``content``.

    Raises a ``ValueError`` where it is not idx, not of bytes, or shorter or longer than its header says.

    >>> parse(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]))
    array([7, 8, 9], dtype=uint8)
    """
    if content[:3] != MAGIC:
        raise ValueError(f"not an idx file of bytes: it begins with {content[:16]!r}, not with {MAGIC!r}")
    axes = content[3] if len(content) > 3 else 0
    start = 4 + 4 * axes
    if len(content) < start or axes == 0:
        raise ValueError(f"not an idx file: it ends inside its header, after {len(content)} bytes")
    shape = struct.unpack(f">{axes}I", content[4:start])
    expected = start + math.prod(shape)
    if len(content) != expected:
        kind = "shorter" if len(content) < expected else "longer"
        raise ValueError(f"{kind} than its header says: shape {shape} takes {expected} bytes")
    return np.frombuffer(content, np.uint8)[start:].reshape(shape)


def header(shape: tuple[int, ...]) -> bytes:
    r"""What precedes the elements of an array of ``shape`` in an idx file.

    >>> header((3,))
    b'\x00\x00\x08\x01\x00\x00\x00\x03'
    """
    return MAGIC + struct.pack(f">B{len(shape)}I", len(shape), *shape)
