"""Layers that keep activations in range, or a network from learning by heart: normalisation, dropout, shifts."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np

from vugrad import ops, random as randomness
from vugrad.graph import TensorNode, as_array
from vugrad.nn.arguments import floating, misfit
from vugrad.nn.conv import images
from vugrad.nn.module import Module, parameter
from vugrad.suggest import whole


class _BatchNorm(Module):
    """What the two have in common; ``ndims`` says how many axes each takes."""

    ndims: tuple[int, ...] = ()

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, *, dtype: Any = np.float32) -> None:
        super().__init__()
        num_features = whole(f"{type(self).__name__}: num_features", num_features)
        dtype = floating(type(self).__name__, dtype)
        self.eps, self.momentum = float(eps), float(momentum)
        self.weight = parameter(np.ones(num_features, dtype), "weight")
        self.bias = parameter(np.zeros(num_features, dtype), "bias")
        self.running_mean = np.zeros(num_features, dtype)
        self.running_var = np.ones(num_features, dtype)

    def forward(self, x: Any) -> Any:
        """Any batch with its channels on axis 1, to the same shape."""
        x = as_array(x)
        channels = self.weight.shape[0]
        if len(x.shape) not in self.ndims or x.shape[1] != channels:
            shapes = [f"(N, {channels}{', L' * (n > 2)}{', M' * (n > 3)})" for n in self.ndims]
            instead = "the channels are axis 1"
            if len(x.shape) in self.ndims:
                instead = f"write {type(self).__name__}({x.shape[1]})"
            raise misfit(self, " or ".join(shapes), x, instead)
        if not self.training:
            per_channel = (-1,) + (1,) * (len(x.shape) - 2)
            scale = self.weight / np.sqrt(self.running_var + self.eps)
            shift = self.bias - self.running_mean * scale
            return x * scale.reshape(per_channel) + shift.reshape(per_channel)
        n = math.prod(x.shape) // channels
        if n < 2:
            raise ValueError(
                f"{type(self).__name__}: in train mode the variance of a channel needs more than one value, and the "
                f"batch has shape {tuple(x.shape)}: choose a batch size that leaves no last batch of one instance, or "
                "call model.eval() before predicting"
            )
        y, mean, variance = ops.BatchNorm.do_forward(x, self.weight, self.bias, eps=self.eps)
        unbiased = variance.value * (n / (n - 1))
        self.running_mean = self._averaged(self.running_mean, mean.value)
        self.running_var = self._averaged(self.running_var, unbiased)
        return y

    def _averaged(self, running: Any, new: Any) -> Any:
        return ((1 - self.momentum) * running + self.momentum * new).astype(running.dtype, copy=False)

    def extra_repr(self) -> str:
        """The number of channels."""
        return str(len(self.running_mean))


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of shapes (N, C) and (N, C, L).

    Args:
        num_features: the number of channels, C.
        eps: added to the variance.
        momentum: the share of each new batch in the running averages (the variance without bias, as in PyTorch).
        dtype: of the parameters.

    In train mode each channel is normalised by the mean and variance of the batch, in eval mode by their running
    averages, then scaled by ``weight`` and shifted by ``bias``. Source: Ioffe & Szegedy, 2015.
    """

    ndims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of images, (N, C, H, W); arguments and source as in :class:`BatchNorm1d`."""

    ndims = (4,)


class LayerNorm(Module):
    """Normalise each instance over its last axes, then scale and shift each element.

    Args:
        normalized_shape: the extents of those axes; one number for one axis.
        eps: added to the variance.
        dtype: of the parameters.

    Source: Ba et al., *Layer Normalization*, 2016.
    """

    def __init__(self, normalized_shape: int | tuple[int, ...], eps: float = 1e-5, *, dtype: Any = np.float32) -> None:
        super().__init__()
        self.eps, dtype = float(eps), floating("LayerNorm", dtype)
        extents = normalized_shape if isinstance(normalized_shape, tuple | list) else (normalized_shape,)
        normalized_shape = tuple(whole("LayerNorm: normalized_shape", n) for n in extents)
        self.weight = parameter(np.ones(normalized_shape, dtype), "weight")
        self.bias = parameter(np.zeros(normalized_shape, dtype), "bias")

    def forward(self, x: Any) -> Any:
        """(…, *normalized_shape) to the same shape."""
        x, extents = as_array(x), self.weight.shape
        if x.shape[-len(extents) :] != extents:
            takes = f"(…, {', '.join(map(str, extents))})"
            raise misfit(self, takes, x, f"write LayerNorm({x.shape[-len(extents) :]}), the extents of the last axes")
        return ops.LayerNorm.do_forward(x, self.weight, self.bias, eps=self.eps)

    def extra_repr(self) -> str:
        """The extents it normalises over."""
        return str(self.weight.shape)


class Random(Module):
    """What the layers that draw random numbers share: the buffer ``key``, a seed and a count of batches.

    Args:
        rng: generator from which the layer draws its seed.
    """

    def __init__(self, rng: np.random.Generator | None) -> None:
        super().__init__()
        self.key = np.array([randomness.generator(rng).integers(2**32), 0], np.uint32)

    def next_key(self) -> Any:
        """The key of the next batch; ``forward`` stores it as ``key`` when it succeeds."""
        return self.key + np.array([0, 1], np.uint32)


class Dropout(Random):
    """In train mode set each element to zero with probability ``p`` and scale the rest by 1 / (1 − p).

    Args:
        p: the share of elements dropped, 0 ≤ p < 1.
        rng: generator from which the layer draws its seed.

    What is dropped follows from the buffer ``key``, a seed and a count of batches, alone: a model restored from
    its ``state_dict`` continues with the same masks. Source: Srivastava et al., *Dropout*, 2014.
    """

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | None = None) -> None:
        super().__init__(rng)
        share: Any = p
        if not isinstance(share, Real) or not 0 <= float(share) < 1:
            kind = ValueError if isinstance(share, Real) else TypeError
            raise kind(f"Dropout: p must be the share of dropped elements, 0 <= p < 1, got {share!r}")
        self.p = float(share)

    def forward(self, x: Any) -> Any:
        """Any shape to the same."""
        if not self.training or self.p == 0:
            return x
        key = self.next_key()
        y = ops.Dropout.do_forward(x, key, p=self.p)
        self.key = key
        return y

    def extra_repr(self) -> str:
        """The share that is dropped."""
        return f"p={self.p}"


class RandomShift(Random):
    """In train mode move each image of the batch by up to ``pixels`` rows and columns, each way equally likely.

    Args:
        pixels: the farthest shift, in rows and in columns.
        value: of the pixels that come in at the edges.
        rng: generator from which the layer draws its seed.

    How far follows from the buffer ``key`` alone, as in :class:`Dropout`. Training on shifted images teaches a network
    that where a digit stands does not matter (Simard et al., 2003).
    """

    def __init__(self, pixels: int = 1, value: float = 0.0, *, rng: np.random.Generator | None = None) -> None:
        super().__init__(rng)
        self.pixels, self.value = whole("RandomShift: pixels", pixels, 0), float(value)

    def forward(self, x: Any) -> Any:
        """(N, C, H, W) to the same."""
        x = images(self, x, None, (1, 1), (0, 0))
        if not self.training or self.pixels == 0:
            return x
        key = self.next_key()
        n, channels, rows, columns = x.shape
        # The upper half of the bits, times the number of shifts, has the shift in its own upper half.
        shift = ((ops.random_bits(key, (n, 2)) >> 16) * np.uint32(2 * self.pixels + 1) >> 16).astype(np.int64)
        at_rows = shift[:, 0].reshape(n, 1, 1, 1) + np.arange(rows).reshape(rows, 1)
        at_columns = shift[:, 1].reshape(n, 1, 1, 1) + np.arange(columns)
        border = (self.pixels, self.pixels)
        x = x if isinstance(x, TensorNode) else TensorNode(x, requires_grad=False)
        padded = np.pad(x, ((0, 0), (0, 0), border, border), constant_values=self.value)
        every = np.arange(n).reshape(n, 1, 1, 1), np.arange(channels).reshape(channels, 1, 1)
        y = padded[(*every, at_rows, at_columns)]
        self.key = key
        return y

    def extra_repr(self) -> str:
        """The farthest shift."""
        return f"pixels={self.pixels}, value={self.value:g}"
