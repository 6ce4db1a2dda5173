"""The non-linear functions of neural networks, element by element."""

from __future__ import annotations

from typing import Any

import numpy as np

from vugrad.graph import Op
from vugrad.graph.backward import Array
from vugrad.graph.op import Context
from vugrad.ops.primitives import chain, erf, sigmoid

__all__ = [
    "ELU",
    "GELU",
    "LeakyReLU",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "elu",
    "gelu",
    "leaky_relu",
    "relu",
    "silu",
    "softplus",
]


class Sigmoid(Op):
    """y = 1 / (1 + e⁻ˣ);  gx = go · y · (1 − y)."""

    @staticmethod
    def forward(context: Context, x: Array) -> Array:
        y = context["y"] = sigmoid(x)
        return y

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        y = context["y"]
        return chain(go, y * (1 - y))


class ReLU(Op):
    """y = max(0, x);  gx = go where x > 0, else 0."""

    @staticmethod
    def forward(context: Context, x: Array) -> Array:
        context["x"] = x
        return np.maximum(x, 0)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return chain(go, context["x"] > 0)


class LeakyReLU(Op):
    """y = x where x > 0, else slope · x;  gx = go, or slope · go."""

    @staticmethod
    def forward(context: Context, x: Array, negative_slope: float = 0.01) -> Array:
        d = context["d"] = np.where(x > 0, 1, negative_slope).astype(x.dtype)
        return x * d

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return chain(go, context["d"])


class ELU(Op):
    """y = x where x > 0, else α (eˣ − 1);  gx = go, or go · α eˣ (Clevert et al., 2016)."""

    @staticmethod
    def forward(context: Context, x: Array, alpha: float = 1.0) -> Array:
        e = alpha * np.expm1(np.minimum(x, 0))
        context.update(x=x, e=e, alpha=alpha)
        return np.where(x > 0, x, e)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return chain(go, np.where(context["x"] > 0, 1, context["e"] + context["alpha"]))


class GELU(Op):
    """y = x Φ(x), Φ the normal distribution's;  gx = go · (Φ(x) + x φ(x)) (Hendrycks & Gimpel, 2016)."""

    @staticmethod
    def forward(context: Context, x: Array) -> Array:
        p = 0.5 * (1 + erf(x * 0.5**0.5))
        context.update(x=x, p=p)
        return x * p

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        x, p = context["x"], context["p"]
        return chain(go, p + x * np.exp(-0.5 * x**2) / (2 * np.pi) ** 0.5)


class SiLU(Op):
    """y = x s with s = 1 / (1 + e⁻ˣ);  gx = go · (s + y (1 − s)) (Elfwing et al., 2018)."""

    @staticmethod
    def forward(context: Context, x: Array) -> Array:
        s = sigmoid(x)
        y = x * s
        context.update(s=s, y=y)
        return y

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        s = context["s"]
        return chain(go, s + context["y"] * (1 - s))


class Softplus(Op):
    """y = log(1 + eˣ), as max(x, 0) + log(1 + e^−|x|) so that nothing overflows;  gx = go / (1 + e⁻ˣ)."""

    @staticmethod
    def forward(context: Context, x: Array) -> Array:
        context["x"] = x
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return chain(go, sigmoid(context["x"]))


# As functions of nodes, where NumPy has none.
relu = ReLU.do_forward
leaky_relu = LeakyReLU.do_forward
elu = ELU.do_forward
gelu = GELU.do_forward
silu = SiLU.do_forward
softplus = Softplus.do_forward
