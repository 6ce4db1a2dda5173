"""Python's operators as NumPy's functions, which then ask whoever the operands are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np


class NumPyOperators:
    """What makes ``x + y`` mean ``np.add(x, y)``, for what follows NumPy's protocols and is no array itself."""

    __slots__ = ()
    __hash__ = object.__hash__

    if TYPE_CHECKING:  # then NumPy's functions take it

        def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any: ...

    # fmt: off
    def __add__(self, other: Any) -> Any: return np.add(self, other)
    def __radd__(self, other: Any) -> Any: return np.add(other, self)
    def __sub__(self, other: Any) -> Any: return np.subtract(self, other)
    def __rsub__(self, other: Any) -> Any: return np.subtract(other, self)
    def __mul__(self, other: Any) -> Any: return np.multiply(self, other)
    def __rmul__(self, other: Any) -> Any: return np.multiply(other, self)
    def __truediv__(self, other: Any) -> Any: return np.divide(self, other)
    def __rtruediv__(self, other: Any) -> Any: return np.divide(other, self)
    def __pow__(self, other: Any) -> Any: return np.power(self, other)
    def __rpow__(self, other: Any) -> Any: return np.power(other, self)
    def __matmul__(self, other: Any) -> Any: return np.matmul(self, other)
    def __rmatmul__(self, other: Any) -> Any: return np.matmul(other, self)
    def __and__(self, other: Any) -> Any: return np.bitwise_and(self, other)
    def __rand__(self, other: Any) -> Any: return np.bitwise_and(other, self)
    def __or__(self, other: Any) -> Any: return np.bitwise_or(self, other)
    def __ror__(self, other: Any) -> Any: return np.bitwise_or(other, self)
    def __xor__(self, other: Any) -> Any: return np.bitwise_xor(self, other)
    def __rxor__(self, other: Any) -> Any: return np.bitwise_xor(other, self)
    def __lshift__(self, other: Any) -> Any: return np.left_shift(self, other)
    def __rshift__(self, other: Any) -> Any: return np.right_shift(self, other)
    def __mod__(self, other: Any) -> Any: return np.remainder(self, other)
    def __rmod__(self, other: Any) -> Any: return np.remainder(other, self)
    def __floordiv__(self, other: Any) -> Any: return np.floor_divide(self, other)
    def __rfloordiv__(self, other: Any) -> Any: return np.floor_divide(other, self)
    def __invert__(self) -> Any: return np.invert(self)
    def __neg__(self) -> Any: return np.negative(self)
    def __pos__(self) -> Any: return self
    def __abs__(self) -> Any: return np.abs(self)
    def __lt__(self, other: Any) -> Any: return np.less(self, other)
    def __le__(self, other: Any) -> Any: return np.less_equal(self, other)
    def __gt__(self, other: Any) -> Any: return np.greater(self, other)
    def __ge__(self, other: Any) -> Any: return np.greater_equal(self, other)
    def __eq__(self, other: object) -> Any: return np.equal(self, other)  # type: ignore[call-overload]
    def __ne__(self, other: object) -> Any: return np.not_equal(self, other)  # type: ignore[call-overload]
    # fmt: on
