"""Layers over images of shape (batch, channels, rows, columns)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vugrad import initializers
from vugrad.graph import as_array
from vugrad.nn.arguments import initial, misfit
from vugrad.nn.module import Module, parameter
from vugrad.ops import convolve
from vugrad.suggest import whole

Extent = int | tuple[int, int]


def pair(name: str, extent: Extent, least: int) -> tuple[int, int]:
    """(rows, columns) from one whole number for both, or from two; raises unless both are at least ``least``."""
    both = extent if isinstance(extent, tuple | list) else (extent, extent)
    are_whole = all(isinstance(n, int | np.integer) for n in both)
    if not are_whole or len(both) != 2 or min(both) < least:
        kind = ValueError if are_whole else TypeError
        raise kind(f"{name}={extent!r}: it must be a whole number from {least} on, or two, for rows and columns")
    return int(both[0]), int(both[1])


def images(layer: Module, x: Any, channels: int | None, kernel: tuple[int, int], padding: tuple[int, int]) -> Any:
    """``x`` as an array; ``ValueError`` unless it is a batch of images with ``channels`` (``None``: any number).

    The padded images must be at least as large as the ``kernel``.
    """
    x = as_array(x)
    shape, c = x.shape, channels or 1
    if len(shape) == 4 and shape[1] == (channels or shape[1]):
        if all(n + 2 * p >= k for n, p, k in zip(shape[2:], padding, kernel, strict=True)):
            return x
        instead = f"a window of {kernel[0]}x{kernel[1]} does not fit into images of {shape[2]}x{shape[3]}"
    elif len(shape) == 4:
        instead = f"write {type(layer).__name__}({shape[1]}, …) for images of {shape[1]} channels"
        if shape[3] == channels:
            instead = "write x.transpose(0, 3, 1, 2) where the channels are last"
    elif len(shape) == 3:
        instead = "write x[None] for one image, x[:, None] for images without a channel axis"
    else:
        side = math.isqrt(math.prod(shape[1:]) // c)
        instead = "write x[None, None] for one image without a channel axis"
        if c * side * side == math.prod(shape[1:]):
            rows = f"x.reshape(-1, {c}, {side}, {side}) for images that are rows of numbers"
            instead = f"write x[None, None] for one image, {rows}" if c == 1 else f"write {rows}"
    raise misfit(layer, f"(N, {channels or 'C'}, rows, columns)", x, instead)


class Conv2d(Module):
    """Cross-correlation of images with learned kernels, plus a bias for each output channel.

    Args:
        in_channels: channels of the images.
        out_channels: channels of the result.
        kernel_size: rows and columns of a kernel, one number for both or two.
        stride: how far the window moves.
        padding: rows and columns of zeros on every side.
        groups: into how many independent parts the channels fall.
        bias: whether there is one.
        init: the initialiser of the kernels; Glorot's normal one by default.
        rng: generator for the initial kernels.
        dtype: of the parameters.

    ``weight`` has shape (out_channels, in_channels / groups, rows, columns), ``bias`` (out_channels,).

    >>> import numpy as np, vugrad as vg
    >>> vg.nn.Conv2d(1, 6, 5)(np.zeros((2, 1, 28, 28), np.float32)).shape
    (2, 6, 24, 24)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Extent,
        stride: Extent = 1,
        padding: Extent = 0,
        groups: int = 1,
        bias: bool = True,
        *,
        init: initializers.Initializer = initializers.glorot_normal,
        rng: np.random.Generator | None = None,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        in_channels = whole("Conv2d: in_channels", in_channels)
        out_channels = whole("Conv2d: out_channels", out_channels)
        if whole("Conv2d: groups", groups, 0) < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(f"Conv2d: {in_channels} channels in and {out_channels} out cannot form {groups} groups")
        shape = (out_channels, in_channels // groups, *pair("kernel_size", kernel_size, 1))
        self.weight = initial("Conv2d", init, shape, rng, dtype)
        self.bias = parameter(np.zeros(out_channels, dtype), "bias") if bias else None
        self.stride, self.padding, self.groups = pair("stride", stride, 1), pair("padding", padding, 0), groups

    def forward(self, x: Any) -> Any:
        """(N, in_channels, H, W) to (N, out_channels, H′, W′)."""
        _, per_group, *kernel = self.weight.shape
        x = images(self, x, per_group * self.groups, (kernel[0], kernel[1]), self.padding)
        y = convolve.Conv2d.do_forward(x, self.weight, stride=self.stride, padding=self.padding, groups=self.groups)
        return y if self.bias is None else y + self.bias.reshape(-1, 1, 1)

    def extra_repr(self) -> str:
        """The layer's extents."""
        out_channels, per_group, *kernel = self.weight.shape
        return (
            f"{per_group * self.groups}, {out_channels}, {tuple(kernel)}, stride={self.stride}, padding={self.padding}"
        )


class _Pool2d(Module):
    """What the two poolings share: their arguments."""

    def __init__(self, kernel_size: Extent, stride: Extent | None = None, padding: Extent = 0) -> None:
        super().__init__()
        self.kernel_size, self.padding = pair("kernel_size", kernel_size, 1), pair("padding", padding, 0)
        self.stride = pair("stride", kernel_size if stride is None else stride, 1)
        if any(2 * p > k for p, k in zip(self.padding, self.kernel_size, strict=True)):
            raise ValueError(f"padding {self.padding} is more than half of kernel_size {self.kernel_size}")

    def extra_repr(self) -> str:
        """The layer's extents."""
        return f"{self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool2d(_Pool2d):
    """The largest element of each window; its gradient goes to the first of equals.

    Args:
        kernel_size: rows and columns of the window.
        stride: how far it moves; by its own size if not given.
        padding: rows and columns around the image that never win.
    """

    def forward(self, x: Any) -> Any:
        """(N, C, H, W) to (N, C, H′, W′)."""
        x = images(self, x, None, self.kernel_size, self.padding)
        return convolve.MaxPool2d.do_forward(x, kernel=self.kernel_size, stride=self.stride, padding=self.padding)


class AvgPool2d(_Pool2d):
    """The mean of each window.

    Args:
        kernel_size: rows and columns of the window.
        stride: how far it moves; by its own size if not given.
        padding: rows and columns of zeros around the image, which count in the mean.
    """

    def forward(self, x: Any) -> Any:
        """(N, C, H, W) to (N, C, H′, W′)."""
        x = images(self, x, None, self.kernel_size, self.padding)
        return convolve.AvgPool2d.do_forward(x, kernel=self.kernel_size, stride=self.stride, padding=self.padding)
