"""Conversion of inputs (NumPy's arrays, other libraries' arrays, lists, numbers) to arrays, and checks of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from vugrad.graph.advice import not_numbers

Array = Any

#: The kinds of dtypes that a node cannot hold: objects, text, dates and times.
NO_NUMBERS = "OUSMm"


def as_array(value: Any) -> Array:
    """A value as an array: another library's array shares its memory where possible; numbers and lists are copied.

    A value with ``__array_function__`` (another kind of array, a tracer, a node) is returned unchanged. Raises
    ``TypeError`` for a sparse array, for an array that NumPy cannot read (such as one on another device), for masked
    arrays and ``np.matrix``, and for text, dates and objects; ``ValueError`` for rows of unequal lengths.
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
        raise ValueError(f"this {kind.__name__} is not an array, since its rows differ in length: {error}") from error
    if array.dtype.kind in NO_NUMBERS:
        raise not_numbers(array)
    return array


def check_plain(array: Array) -> None:
    """Raise ``TypeError`` for a subclass of NumPy's array whose meaning would be lost in the graph."""
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(
            "this is a masked array, and its mask would be lost: fill it, as in x.filled(0), or remove masked "
            "instances; np.where(mask, 0, x) takes a mask into the graph"
        )
    if isinstance(array, np.matrix):
        raise TypeError("this is an np.matrix, whose x * y is a matrix product: write np.asarray(x), and x @ y")


def no_complex(made: str, value: Array) -> TypeError:
    """The error for complex numbers that would need a gradient; ``made`` says where they come from."""
    return TypeError(
        f"{made} {value.dtype}, and only real numbers have gradients here: compute with the real and the imaginary "
        "part as two real arrays, or write TensorNode(z, requires_grad=False) for a constant"
    )


def is_array(value: Any) -> bool:
    """Whether a value is an array of NumPy or another library, and not a list or a number."""
    return hasattr(type(value), "__array__") or hasattr(type(value), "__dlpack__")
