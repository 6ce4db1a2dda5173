"""The array functions that NumPy lacks. Op bodies call them like NumPy's own, on whatever NumPy's own work on.

Each is plain NumPy on arrays; a node or a tracer that follows NumPy's ``__array_function__`` protocol
answers for itself, just as it does for ``np.sum``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from vugrad.graph.backward import below_where

__all__ = [
    "chain",
    "contract",
    "erf",
    "fold",
    "pick",
    "random_bits",
    "scatter",
    "unfold",
]

Array = Any


def primitive(function: Callable[..., Array]) -> Callable[..., Array]:
    """Let arguments that are not NumPy's arrays answer for ``function`` through ``__array_function__``."""

    @functools.wraps(function)
    def dispatching(*args: Any, **options: Any) -> Array:
        for x in args:
            if type(x) is not np.ndarray and hasattr(type(x), "__array_function__"):
                return x.__array_function__(dispatching, (type(x),), args, options)
        return function(*args, **options)

    return dispatching


def chain(go: Array, d: Array) -> Array:
    """``go · d``, the chain rule's product; below an ``np.where``, 0 where ``go`` is 0 though ``d`` be infinite or NaN.

    So nothing comes back from the branch that ``np.where`` did not take, not even 0 · ∞ = NaN.
    """
    g = go * d
    return np.where((go == 0) & ~np.isfinite(d), 0, g) if below_where() else g


@primitive
def erf(x: Array) -> Array:
    """The error function, 2/√π ∫₀ˣ exp(−t²) dt, element by element, to 1e-15.

    ``erfc(|x|) = t · exp(−x² + P(t))`` with ``t = 2 / (2 + |x|)`` and ``P`` a Chebyshev series, the form of
    Press et al., *Numerical Recipes*, §6.2; the coefficients are a fit of ours (``tests/test_primitives.py``
    makes them again).
    """
    z = np.abs(x)
    t = 2 / (2 + z)
    u = 4 * t - 2
    b, b_next = 0 * t, 0 * t
    for c in ERF_COEFFICIENTS[:0:-1]:
        b, b_next = u * b - b_next + c, b
    return np.sign(x) * (1 - t * np.exp(-z * z + 0.5 * u * b - b_next + ERF_COEFFICIENTS[0]))


@primitive
def sigmoid(x: Array) -> Array:
    """The logistic function, 1 / (1 + e⁻ˣ), element by element."""
    with np.errstate(over="ignore"):  # e⁻ˣ = ∞ gives 0, the right value
        return 1 / (1 + np.exp(-x))


def pick(x: Array, index: Any) -> Array:
    """``x[index]``; if ``x`` is a plain array and the index holds a tracer, the tracer records the indexing.

    >>> import numpy as np
    >>> pick(np.array([1.0, 2.0, 3.0]), np.array([2, 0]))
    array([3., 1.])
    """
    if type(x) is np.ndarray:
        for part in index if isinstance(index, tuple) else (index,):
            if type(part) is not np.ndarray and hasattr(type(part), "__array_function__"):
                return part.__array_function__(pick, (type(part),), (x, index), {})
    return x[index]


@primitive
def scatter(values: Array, index: Any, shape: tuple[int, ...]) -> Array:
    """Zeros of ``shape`` with ``values`` added at ``index``: the adjoint of ``x[index]``.

    >>> import numpy as np
    >>> scatter(np.array([1.0, 2.0, 3.0]), np.array([0, 2, 2]), (4,))
    array([1., 0., 5., 0.])
    """
    z = np.zeros(shape, values.dtype)
    if is_advanced(index):
        np.add.at(z, index, values)
    else:
        z[index] = values
    return z


def is_advanced(index: Any) -> bool:
    """Whether an index may name an element twice, as an array of positions can and slices and numbers cannot."""
    parts = index if isinstance(index, tuple) else (index,)
    return not all(part is None or part is ... or isinstance(part, slice | int | np.integer) for part in parts)


@primitive
def contract(subscripts: str, x: Array, y: Array) -> Array:
    """``np.einsum`` of two arrays as one matrix product (or a stack of them), which einsum often misses.

    Each index is in the output, in both arrays, or both; none stands twice in one array. The array whose index
    is last in the output becomes the right factor, so the order asked for decides what has to be copied.

    >>> import numpy as np
    >>> contract("bij,bkj->bik", np.ones((2, 1, 3)), np.ones((2, 4, 3))).shape
    (2, 1, 4)
    """
    terms, output = subscripts.split("->")
    a, b = terms.split(",")
    if output and output[-1] in a:
        x, y, a, b = y, x, b, a
    size = dict(zip(a + b, x.shape + y.shape, strict=True))
    stacked = [i for i in output if i in a and i in b]
    rows, columns = [i for i in output if i not in b], [i for i in output if i not in a]
    summed = [i for i in a if i not in output]
    axes = stacked + rows + columns

    def matrices(array: Array, term: str, first: list[str], second: list[str]) -> Array:
        extents = [math.prod([size[i] for i in part]) for part in (first, second)]
        order = [term.index(i) for i in stacked + first + second]
        return array.transpose(order).reshape([size[i] for i in stacked] + extents)

    z = np.matmul(matrices(x, a, rows, summed), matrices(y, b, summed, columns))
    return z.reshape([size[i] for i in axes]).transpose([axes.index(i) for i in output])


@primitive
def unfold(x: Array, kernel: tuple[int, int], stride: tuple[int, int] = (1, 1)) -> Array:
    """Every window of the last two axes, as two more axes: (…, H, W) to (…, H', W', kh, kw). A view.

    >>> import numpy as np
    >>> unfold(np.arange(9.0).reshape(3, 3), (2, 2))[0, 1]
    array([[1., 2.],
           [4., 5.]])
    """
    return sliding_window_view(x, kernel, axis=(-2, -1))[..., :: stride[0], :: stride[1], :, :]


@primitive
def fold(windows: Array, size: tuple[int, int], stride: tuple[int, int] = (1, 1)) -> Array:
    """Add windows back where :func:`unfold` took them: (…, H', W', kh, kw) to (…, H, W). Its adjoint.

    >>> import numpy as np
    >>> fold(np.ones((2, 2, 2, 2)), (3, 3))
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    *batch, rows, columns, kh, kw = windows.shape
    x = np.zeros_like(windows[..., 0, 0], shape=(*batch, *size))  # laid out like the windows
    for i in range(kh):
        for j in range(kw):
            x[..., i : i + stride[0] * rows : stride[0], j : j + stride[1] * columns : stride[1]] += windows[..., i, j]
    return x


@primitive
def random_bits(key: Array, shape: tuple[int, ...]) -> Array:
    """Uniform 32-bit integers that depend on the key and the position alone, in any order and on any machine.

    Each position is hashed twice, with a word of the key mixed in before each round (the 32-bit hash found by
    C. Wellons, *Prospecting for hash functions*, 2018).

    Args:
        key: two uint32 words, shape (2,); change either for another sequence.
        shape: of the result, uint32.
    """
    position = np.arange(math.prod(shape), dtype=np.uint32)
    return _mix(_mix(position ^ _mix(key[:1])) + _mix(key[1:])).reshape(shape)


def _mix(x: Array) -> Array:
    x = (x ^ (x >> 16)) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * np.uint32(0x846CA68B)
    return x ^ (x >> 16)


# Of log(erfc(x) · exp(x²) / t) in Chebyshev polynomials of 2t − 1, for t = 2 / (2 + x) in (0, 1].
# fmt: off
ERF_COEFFICIENTS = (
    -0.6513268598908547, 0.6419697923564902, 0.019476473204185836, -0.009561514786808632,
    -0.0009465953444820369, 0.00036683949785276145, 4.252332480690777e-05, -2.0278578112534242e-05,
    -1.6242900046470256e-06, 1.3036558355805232e-06, 1.5626441722066142e-08, -8.523809591492654e-08,
    6.5290544390988515e-09, 5.059343495551469e-09, -9.91364156493033e-10, -2.273651222931836e-10,
    9.646791102015527e-11, 2.3940380830391146e-12, -6.886027526497553e-12, 8.944879273090725e-13,
    3.130921399342958e-13, -1.1270822361367252e-13, 3.810905255189232e-16, 7.106097613609237e-15,
    -1.5230282014571043e-15,
)
# fmt: on
