"""Element-wise arithmetic and functions. Arrays broadcast; what was broadcast is summed on the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vugrad.graph import Op
from vugrad.graph.backward import Array
from vugrad.graph.op import Context, needs_input_grad
from vugrad.ops.primitives import chain, erf
from vugrad.ops.shape import sum_to

__all__ = [
    "Abs",
    "Add",
    "Arccos",
    "Arcsin",
    "Arctan",
    "Cast",
    "Cos",
    "Cosh",
    "Divide",
    "Erf",
    "Exp",
    "Expm1",
    "Id",
    "Log",
    "Log1p",
    "Log2",
    "Log10",
    "Maximum",
    "Minimum",
    "Multiply",
    "Negative",
    "Power",
    "Reciprocal",
    "Sin",
    "Sinh",
    "Sqrt",
    "Square",
    "Sub",
    "Tan",
    "Tanh",
    "Where",
    "elementwise",
]

BROADCAST = "Shapes must be equal or broadcast: give the smaller array axes of extent 1, as in y[:, None] or y.T"


class Add(Op):
    """z = x + y;  gx = go,  gy = go."""

    hint = BROADCAST

    @staticmethod
    def forward(context: Context, x: Array, y: Array) -> Array:
        context.update(xshape=x.shape, yshape=y.shape)
        return x + y

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return sum_to(go, context["xshape"]), sum_to(go, context["yshape"])


class Sub(Op):
    """z = x − y;  gx = go,  gy = −go."""

    hint = BROADCAST

    @staticmethod
    def forward(context: Context, x: Array, y: Array) -> Array:
        context.update(xshape=x.shape, yshape=y.shape)
        return x - y

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return sum_to(go, context["xshape"]), sum_to(-go, context["yshape"])


class Multiply(Op):
    """z = x · y;  gx = go · y,  gy = go · x."""

    hint = BROADCAST

    @staticmethod
    def forward(context: Context, x: Array, y: Array) -> Array:
        context.update(x=x, y=y)
        return x * y

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        x, y = context["x"], context["y"]
        return sum_to(chain(go, y), x.shape), sum_to(chain(go, x), y.shape)


class Divide(Op):
    """z = x / y;  gx = go / y,  gy = −go · x / y²."""

    hint = BROADCAST

    @staticmethod
    def forward(context: Context, x: Array, y: Array) -> Array:
        context.update(x=x, y=y)
        return x / y

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        x, y = context["x"], context["y"]
        return sum_to(chain(go, 1 / y), x.shape), sum_to(chain(go, -(x / y**2)), y.shape)


class Power(Op):
    """z = xʸ;  gx = go · y · xʸ⁻¹,  gy = go · xʸ · log x (and 0 at x = 0)."""

    hint = BROADCAST

    @staticmethod
    def forward(context: Context, x: Array, y: Array) -> Array:
        context.update(x=x, y=y)
        return x**y

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        x, y = context["x"], context["y"]
        gx = sum_to(chain(go, y * x ** np.where(y == 0, 1, y - 1)), x.shape)
        if not needs_input_grad(context, 1):  # the logarithm is costly, and the exponent mostly a number
            return gx, None
        base = np.where(x == 0, 1, x).astype(go.dtype, copy=False)  # the logarithm of bytes has half precision
        return gx, sum_to(chain(go, x**y * np.log(base)), y.shape)


class Negative(Op):
    """y = −x;  gx = −go."""

    @staticmethod
    def forward(context: Context, x: Array) -> Array:
        return -x

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return -go


class Maximum(Op):
    """z = max(x, y);  gx = go where x ≥ y,  gy = go elsewhere. A tie goes to the first."""

    hint = BROADCAST

    @staticmethod
    def forward(context: Context, x: Array, y: Array) -> Array:
        context.update(x=x, y=y)
        return np.maximum(x, y)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        x, y = context["x"], context["y"]
        first = x >= y
        return sum_to(go * first, x.shape), sum_to(go * ~first, y.shape)


class Minimum(Op):
    """z = min(x, y);  gx = go where x ≤ y,  gy = go elsewhere. A tie goes to the first."""

    hint = BROADCAST

    @staticmethod
    def forward(context: Context, x: Array, y: Array) -> Array:
        context.update(x=x, y=y)
        return np.minimum(x, y)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        x, y = context["x"], context["y"]
        first = x <= y
        return sum_to(go * first, x.shape), sum_to(go * ~first, y.shape)


class Where(Op):
    """z = x where the condition holds, else y;  gx = go where it holds,  gy = go elsewhere."""

    hint = BROADCAST
    masks = True

    @staticmethod
    def forward(context: Context, condition: Array, x: Array, y: Array) -> Array:
        context.update(condition=condition, xshape=x.shape, yshape=y.shape)
        return np.where(condition, x, y)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        condition = context["condition"]
        gx = sum_to(np.where(condition, go, 0), context["xshape"])
        return None, gx, sum_to(np.where(condition, 0, go), context["yshape"])


class Id(Op):
    """y = x;  gx = go."""

    @staticmethod
    def forward(context: Context, x: Array) -> Array:
        return x

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return go


class Cast(Op):
    """y = x in another dtype;  gx = go in x's dtype."""

    @staticmethod
    def forward(context: Context, x: Array, dtype: Any) -> Array:
        context["dtype"] = x.dtype
        return x.astype(dtype)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return go.astype(context["dtype"])


class Exp(Op):
    """y = eˣ;  gx = go · y."""

    @staticmethod
    def forward(context: Context, x: Array) -> Array:
        y = context["y"] = np.exp(x)
        return y

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return chain(go, context["y"])


class Log(Op):
    """y = log x;  gx = go / x."""

    @staticmethod
    def forward(context: Context, x: Array) -> Array:
        context["x"] = x
        return np.log(x)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return chain(go, 1 / context["x"])


class Sqrt(Op):
    """y = √x;  gx = go / 2y."""

    @staticmethod
    def forward(context: Context, x: Array) -> Array:
        y = context["y"] = np.sqrt(x)
        return y

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return chain(go, 0.5 / context["y"])


class Abs(Op):
    """y = |x|;  gx = go · sign x (0 at 0)."""

    @staticmethod
    def forward(context: Context, x: Array) -> Array:
        context["x"] = x
        return np.abs(x)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return chain(go, np.sign(context["x"]))


class Tanh(Op):
    """y = tanh x;  gx = go · (1 − y²)."""

    @staticmethod
    def forward(context: Context, x: Array) -> Array:
        y = context["y"] = np.tanh(x)
        return y

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return chain(go, 1 - context["y"] ** 2)


class Erf(Op):
    """y = erf x;  gx = go · 2/√π · exp(−x²)."""

    @staticmethod
    def forward(context: Context, x: Array) -> Array:
        context["x"] = x
        return erf(x)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return chain(go, 2 / np.pi**0.5 * np.exp(-(context["x"] ** 2)))


def elementwise(f: Callable[[Any], Any], derivative: Callable[[Any], Any], name: str | None = None) -> type[Op]:
    """An Op of any scalar function: y = f(x);  gx = go · f′(x).

    Both functions may be NumPy code on arrays, or Python code on one number (slower: called for each element).

    >>> import numpy as np, vugrad as vg
    >>> Cube = vg.elementwise(lambda x: x**3, lambda x: 3 * x**2)
    >>> x = vg.TensorNode([1.0, 2.0])
    >>> Cube.do_forward(x).sum().backward()
    >>> x.grad
    array([ 3., 12.])
    """
    on_arrays, derivative_on_arrays = over_arrays(f), over_arrays(derivative)

    class Elementwise(Op):
        """y = f(x);  gx = go · f′(x)."""

        @staticmethod
        def forward(context: Context, x: Array) -> Array:
            context["x"] = x
            return on_arrays(x)

        @staticmethod
        def backward(context: Context, go: Array) -> Any:
            return chain(go, derivative_on_arrays(context["x"]))

    own = getattr(f, "__name__", "<lambda>")
    Elementwise.__name__ = Elementwise.__qualname__ = name or ("Elementwise" if own == "<lambda>" else own)
    return Elementwise


def over_arrays(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``f`` itself if it is array code, else ``f`` applied to each element: it is tried on two numbers."""
    probe = np.array([0.25, 0.75])
    try:
        with np.errstate(all="ignore"):
            if np.shape(f(probe)) == probe.shape:
                return f
    except (TypeError, ValueError, AttributeError):
        pass  # it branches on its argument, or passes it to the math module
    each = np.frompyfunc(f, 1, 1)
    return lambda x: np.asarray(each(x)).astype(x.dtype if x.dtype.kind in "fc" else float)


Sin = elementwise(np.sin, np.cos, "Sin")
Cos = elementwise(np.cos, lambda x: -np.sin(x), "Cos")
Tan = elementwise(np.tan, lambda x: 1 / np.cos(x) ** 2, "Tan")
Arcsin = elementwise(np.arcsin, lambda x: 1 / np.sqrt(1 - x**2), "Arcsin")
Arccos = elementwise(np.arccos, lambda x: -1 / np.sqrt(1 - x**2), "Arccos")
Arctan = elementwise(np.arctan, lambda x: 1 / (1 + x**2), "Arctan")
Sinh = elementwise(np.sinh, np.cosh, "Sinh")
Cosh = elementwise(np.cosh, np.sinh, "Cosh")
Square = elementwise(np.square, lambda x: 2 * x, "Square")
Reciprocal = elementwise(np.reciprocal, lambda x: -1 / x**2, "Reciprocal")
Expm1 = elementwise(np.expm1, np.exp, "Expm1")
Log1p = elementwise(np.log1p, lambda x: 1 / (1 + x), "Log1p")
Log2 = elementwise(np.log2, lambda x: 1 / (x * float(np.log(2))), "Log2")
Log10 = elementwise(np.log10, lambda x: 1 / (x * float(np.log(10))), "Log10")
