"""What makes numbers comparable: softmax and its losses, normalisation over rows, batches and layers, dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from vugrad.graph import Op
from vugrad.graph.backward import Array
from vugrad.graph.op import Context
from vugrad.ops.primitives import chain, random_bits
from vugrad.ops.reduce import averaged, count, reduced_axes

__all__ = [
    "BatchNorm",
    "CrossEntropy",
    "Dropout",
    "LayerNorm",
    "LogSoftmax",
    "Normalize",
    "Softmax",
    "log_softmax",
]


class Normalize(Op):
    """yᵢⱼ = xᵢⱼ / sᵢ with sᵢ = Σₖ xᵢₖ, for a matrix x;  gxᵢⱼ = goᵢⱼ / sᵢ − Σₖ goᵢₖ xᵢₖ / sᵢ²."""

    @staticmethod
    def forward(context: Context, x: Array) -> Array:
        s = np.sum(x, axis=1, keepdims=True)
        context.update(x=x, s=s)
        return x / s

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        x, s = context["x"], context["s"]
        return chain(go, 1 / s) - chain(np.sum(chain(go, x), axis=1, keepdims=True), 1 / s**2)


class Softmax(Op):
    """y = eˣ / Σ eˣ along an axis, computed around the maximum;  gx = y · (go − Σ go y)."""

    @staticmethod
    def forward(context: Context, x: Array, axis: int = -1) -> Array:
        axis = reduced_axes(x.ndim, axis)[0]
        e = np.exp(x - np.max(x, axis=axis, keepdims=True))
        y = e / np.sum(e, axis=axis, keepdims=True)
        context.update(y=y, axis=axis)
        return y

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        y = context["y"]
        return chain(go - np.sum(chain(go, y), axis=context["axis"], keepdims=True), y)


class LogSoftmax(Op):
    """y = x − log Σ eˣ along an axis, computed around the maximum;  gx = go − eʸ Σ go."""

    @staticmethod
    def forward(context: Context, x: Array, axis: int = -1) -> Array:
        axis = reduced_axes(x.ndim, axis)[0]
        z = x - np.max(x, axis=axis, keepdims=True)
        y = z - np.log(np.sum(np.exp(z), axis=axis, keepdims=True))
        context.update(y=y, axis=axis)
        return y

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return go - chain(np.sum(go, axis=context["axis"], keepdims=True), np.exp(context["y"]))


class CrossEntropy(Op):
    """yᵢ = log Σⱼ e^xᵢⱼ − xᵢₜ, t the row's target class;  gxᵢⱼ = goᵢ · (softmax(x)ᵢⱼ − [j = t])."""

    hint = "Logits are (batch, classes), targets (batch,) whole numbers"

    @staticmethod
    def forward(context: Context, x: Array, targets: Array) -> Array:
        if x.ndim != 2 or targets.shape != x.shape[:1]:
            raise ValueError("one target for each row of logits is needed")
        hit = targets[:, None] == np.arange(x.shape[1])
        z = x - np.max(x, axis=1, keepdims=True)
        logp = z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))
        context.update(hit=hit, logp=logp)
        return -np.sum(np.where(hit, logp, 0), axis=1)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return chain(go[:, None], np.exp(context["logp"]) - context["hit"]), None


class BatchNorm(Op):
    """x̂ = (x − m) / s, y = w x̂ + b, with each channel's mean m and s = √(v + ε) over the other axes.

    Three outputs: y, and m and v for running averages.  With g = go w and averages over the batch,
    gx = (g − mean g − x̂ mean(g x̂)) / s + (gm + 2 (x − m) gv) / n;  gw = Σ go x̂;  gb = Σ go
    (Ioffe & Szegedy, 2015).
    """

    hint = "Channels are axis 1 of x; weight and bias have one element each for them"

    @staticmethod
    def forward(context: Context, x: Array, w: Array, b: Array, eps: float = 1e-5) -> Array:
        if x.ndim < 2 or w.shape != x.shape[1:2] or b.shape != w.shape:
            raise ValueError("one weight and one bias for each channel are needed")
        axes = (0, *range(2, x.ndim))
        averaged(x.shape, axes)
        m = np.mean(x, axis=axes, keepdims=True)
        v = np.mean((x - m) ** 2, axis=axes, keepdims=True)
        s = np.sqrt(v + eps)
        xhat = (x - m) / s
        per_channel = (1, -1) + (1,) * (x.ndim - 2)
        w = np.reshape(w, per_channel)
        context.update(xhat=xhat, w=w, s=s, axes=axes, per_channel=per_channel)
        return xhat * w + np.reshape(b, per_channel), np.reshape(m, (-1,)), np.reshape(v, (-1,))

    @staticmethod
    def backward(context: Context, go: Array, gm: Array, gv: Array) -> Any:
        xhat, s, axes, per_channel = (context[key] for key in ("xhat", "s", "axes", "per_channel"))
        g = go * context["w"]
        gx = g - np.mean(g, axis=axes, keepdims=True) - xhat * np.mean(g * xhat, axis=axes, keepdims=True)
        gm, gv = np.reshape(gm, per_channel), np.reshape(gv, per_channel)
        gx = gx / s + (gm + 2 * xhat * s * gv) / count(xhat.shape, axes)
        return gx, np.sum(go * xhat, axis=axes), np.sum(go, axis=axes)


class LayerNorm(Op):
    """x̂ = (x − m) / √(v + ε), y = w x̂ + b, with mean and variance over the axes that w has, the last ones.

    With g = go w and averages over those axes, gx = (g − mean g − x̂ mean(g x̂)) / s;  gw = Σ go x̂;
    gb = Σ go, summed over the others (Ba et al., 2016).
    """

    hint = "Weight and bias have the shape of the last axes of x"

    @staticmethod
    def forward(context: Context, x: Array, w: Array, b: Array, eps: float = 1e-5) -> Array:
        if not w.ndim or w.shape != x.shape[max(x.ndim - w.ndim, 0) :] or b.shape != w.shape:
            raise ValueError("one weight and one bias for each element of the last axes are needed")
        axes = tuple(range(x.ndim - w.ndim, x.ndim))
        centred = x - np.mean(x, axis=axes, keepdims=True)
        s = np.sqrt(np.mean(centred**2, axis=axes, keepdims=True) + eps)
        xhat = centred / s
        context.update(xhat=xhat, w=w, s=s, axes=axes)
        return xhat * w + b

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        xhat, s, axes = (context[key] for key in ("xhat", "s", "axes"))
        g = go * context["w"]
        gx = g - np.mean(g, axis=axes, keepdims=True) - xhat * np.mean(g * xhat, axis=axes, keepdims=True)
        others = tuple(range(axes[0]))
        return gx / s, np.sum(go * xhat, axis=others), np.sum(go, axis=others)


class Dropout(Op):
    """y = x / (1 − p) where the key's random bits keep it, else 0;  gx = go likewise (Srivastava et al., 2014)."""

    @staticmethod
    def forward(context: Context, x: Array, key: Array, p: float) -> Array:
        if not 0 <= p < 1:
            raise ValueError(f"p is the share of elements dropped, 0 <= p < 1, got {p}")
        keep = random_bits(key, x.shape) >= np.uint32(p * 2**32)
        mask = context["mask"] = keep.astype(x.dtype) / (1 - p)
        return x * mask

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return go * context["mask"], None


# As functions of nodes, where NumPy has none.
log_softmax = LogSoftmax.do_forward
