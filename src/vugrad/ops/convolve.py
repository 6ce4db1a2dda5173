"""Windows over images: convolution and pooling, for arrays of shape (batch, channels, rows, columns).

In the einsums: n image, g group of channels, c channel in, o channel out, h w position, i j place in the window.
The results lie in memory with the batch innermost, so that windows are copied, compared and added in long stretches.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from vugrad.graph import Op
from vugrad.graph.backward import Array
from vugrad.graph.op import Context, needs_input_grad
from vugrad.ops.primitives import contract, fold, unfold

__all__ = [
    "AvgPool2d",
    "Conv2d",
    "Fold",
    "MaxPool2d",
    "Unfold",
]

Pair = tuple[int, int]


class Unfold(Op):
    """y = every window of the last two axes, as two more axes;  gx = the windows of go added back."""

    hint = "The windows must fit into the last two axes"

    @staticmethod
    def forward(context: Context, x: Array, kernel: Pair, stride: Pair = (1, 1)) -> Array:
        context.update(size=x.shape[-2:], stride=stride)
        return unfold(x, kernel, stride)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        return fold(go, context["size"], context["stride"])


class Fold(Op):
    """y = windows added back into the last two axes;  gx = the windows of go."""

    @staticmethod
    def forward(context: Context, x: Array, size: Pair, stride: Pair = (1, 1)) -> Array:
        context.update(kernel=x.shape[-2:], count=x.shape[-4:-2], stride=stride)
        return fold(x, size, stride)

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        rows, columns = context["count"]
        return unfold(go, context["kernel"], context["stride"])[..., :rows, :columns, :, :]


def pad_images(x: Array, padding: Pair, value: float = 0.0) -> Array:
    """Rows and columns of ``value`` around each image."""
    if not any(padding):
        return x
    return np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2), constant_values=value)


def check_images(x: Array) -> None:
    """Raise ``ValueError`` unless ``x`` has the four axes of a batch of images."""
    if x.ndim != 4:
        raise ValueError(f"images have four axes, and this array has {x.ndim}")


def crop_images(x: Array, padding: Pair) -> Array:
    """Images without the rows and columns that :func:`pad_images` put around them."""
    rows, columns = padding
    return x[..., rows : x.shape[-2] - rows, columns : x.shape[-1] - columns]


def batch_innermost(x: Array) -> Array:
    """The same images, laid out in memory with the batch innermost."""
    return np.transpose(np.copy(np.transpose(x, (1, 2, 3, 0)), order="C"), (3, 0, 1, 2))


class Conv2d(Op):
    """y[n,o,h,w] = Σ x[n,c,h+i,w+j] k[o,c,i,j] (cross-correlation), within each group of channels.

    gk = Σ go · the windows of x;  gx = go · k, window by window, added back where the windows came from.
    """

    hint = "Images are (batch, channels, rows, columns); weights (out, channels / groups, rows, columns)"

    @staticmethod
    def forward(
        context: Context, x: Array, k: Array, stride: Pair = (1, 1), padding: Pair = (0, 0), groups: int = 1
    ) -> Array:
        check_images(x)
        c = x.shape[1]
        o, per_group, *kernel = k.shape
        if c != per_group * groups or o % groups:
            raise ValueError(f"{c} channels in and {o} out do not make {groups} group(s) of {per_group} in")
        padded = batch_innermost(pad_images(x, padding))
        windows = np.transpose(unfold(padded, tuple(kernel), stride), (1, 2, 3, 4, 5, 0))
        windows = np.reshape(windows, (groups, per_group, *windows.shape[1:]))
        kernels = np.reshape(k, (groups, o // groups, per_group, *kernel))
        context.update(windows=windows, kernels=kernels, kshape=k.shape)
        context.update(size=padded.shape[2:], stride=stride, padding=padding)
        y = contract("gchwijn,gocij->gohwn", windows, kernels)
        return np.transpose(np.reshape(y, (o, *y.shape[2:])), (3, 0, 1, 2))

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        windows, kernels, kshape = context["windows"], context["kernels"], context["kshape"]
        groups, per_group, rows, columns, *kernel, n = windows.shape
        go = np.reshape(np.transpose(go, (1, 2, 3, 0)), (groups, kernels.shape[1], rows, columns, n))
        gx = gk = None
        if needs_input_grad(context, 0):
            g = contract("gocij,gohwn->gcijhwn", kernels, go)
            g = np.reshape(g, (groups * per_group, *kernel, rows, columns, n))
            g = np.transpose(g, (5, 0, 3, 4, 1, 2))
            gx = crop_images(fold(g, context["size"], context["stride"]), context["padding"])
        if needs_input_grad(context, 1):
            gk = contract("gchwijn,gohwn->gcijo", windows, go)
            gk = np.reshape(np.transpose(gk, (0, 4, 1, 2, 3)), kshape)
        return gx, gk


class MaxPool2d(Op):
    """y = the largest x of each window;  gx = go at the window's first maximum, 0 elsewhere."""

    hint = "The windows must fit into the last two axes of images of shape (batch, channels, rows, columns)"

    @staticmethod
    def forward(context: Context, x: Array, kernel: Pair, stride: Pair, padding: Pair = (0, 0)) -> Array:
        check_images(x)
        padded = pad_images(x, padding, -np.inf)
        windows = unfold(padded, kernel, stride)
        y = functools.reduce(np.maximum, (windows[..., i, j] for i, j in np.ndindex(*kernel)))
        context.update(windows=windows, y=y, kernel=kernel)
        context.update(size=padded.shape[2:], stride=stride, padding=padding)
        return y

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        windows, y, kernel = context["windows"], context["y"], context["kernel"]
        go = batch_innermost(go)  # whatever comes from a Flatten lies in another order
        free = np.ones_like(y, dtype=bool)
        parts = []
        for i, j in np.ndindex(*kernel):
            hit = free & (windows[..., i, j] == y)
            free = free & ~hit
            parts.append(go * hit)
        g = np.reshape(np.transpose(np.stack(parts), (1, 2, 3, 4, 0)), (*go.shape, *kernel))
        return crop_images(fold(g, context["size"], context["stride"]), context["padding"])


class AvgPool2d(Op):
    """y = the mean of x over each window, of k places;  gx = go / k, added back to each place."""

    hint = MaxPool2d.hint

    @staticmethod
    def forward(context: Context, x: Array, kernel: Pair, stride: Pair, padding: Pair = (0, 0)) -> Array:
        check_images(x)
        padded = pad_images(x, padding)
        windows = unfold(padded, kernel, stride)
        context.update(kernel=kernel, size=padded.shape[2:], stride=stride, padding=padding)
        return sum(windows[..., i, j] for i, j in np.ndindex(*kernel)) / (kernel[0] * kernel[1])

    @staticmethod
    def backward(context: Context, go: Array) -> Any:
        kernel = context["kernel"]
        g = np.broadcast_to(go[..., None, None] / (kernel[0] * kernel[1]), (*go.shape, *kernel))
        return crop_images(fold(g, context["size"], context["stride"]), context["padding"])
