"""What comes in as an array: NumPy's, another library's, a list; and what cannot."""

from __future__ import annotations

from typing import Any

import numpy as np

from vugrad.graph.advice import not_numbers

Array = Any

#: The kinds of dtype of what a node cannot hold: objects, text, dates and times.
NO_NUMBERS = "OUSMm"


def as_array(value: Any) -> Array:
    """Another library's array as NumPy's, of the same memory where it can be shared; numbers and lists as a new one.

    What follows NumPy's protocols (an array of another kind, a tracer, a node) is kept as it is. Raises ``TypeError``
    for an array that NumPy cannot read, as one on another device, for one with an arithmetic of its own, and for one
    of text, dates or objects; ``ValueError`` for lists of unequal lengths.
    """
    kind = type(value)
    if hasattr(kind, "__array_function__"):
        if isinstance(value, np.ndarray) and kind is not np.ndarray:
            check_plain(value)
        return value
    if hasattr(kind, "toarray"):
        raise TypeError(f"this {kind.__name__} is sparse, and nodes are dense: write x.toarray()")
    try:
        by_dlpack = hasattr(kind, "__dlpack__") and not hasattr(kind, "__array__")
        array = np.from_dlpack(value) if by_dlpack else np.asarray(value)
    except (BufferError, RuntimeError) as error:
        raise TypeError(
            f"NumPy cannot read this {kind.__name__} ({error}): move it to the CPU, and give it a dtype that NumPy has"
        ) from error
    except ValueError as error:
        raise ValueError(f"this {kind.__name__} makes no array, as rows of equal lengths would: {error}") from error
    if array.dtype.kind in NO_NUMBERS:
        raise not_numbers(array)
    return array


def check_plain(array: Array) -> None:
    """Raise ``TypeError`` for a subclass of NumPy's array whose meaning would be lost in the graph."""
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(
            "this is a masked array, and its mask would be lost: fill it, as in x.filled(0), or leave masked instances "
            "out; np.where(mask, 0, x) takes a mask into the graph"
        )
    if isinstance(array, np.matrix):
        raise TypeError("this is an np.matrix, whose x * y is a matrix product: write np.asarray(x), and x @ y")


def no_complex(made: str, value: Array) -> TypeError:
    """The error for complex numbers that are to have a gradient; ``made`` says where they are from."""
    return TypeError(
        f"{made} {value.dtype}, and gradients are of real numbers here: compute with the real and the imaginary part "
        "as two real arrays, or write TensorNode(z, requires_grad=False) for a constant"
    )


def is_array(value: Any) -> bool:
    """Whether a value is an array of some library's, which says its dtype, and no list or number."""
    return hasattr(type(value), "__array__") or hasattr(type(value), "__dlpack__")
