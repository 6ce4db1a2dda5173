"""Activation functions as modules, for Sequential. Each is its op and nothing else."""

from __future__ import annotations

import operator
from typing import Any, ClassVar

from vugrad import ops
from vugrad.graph import Op
from vugrad.nn.module import Module


class Identity(Module):
    """y = x."""

    def forward(self, x: Any) -> Any:
        """Any shape to the same."""
        return x


class Activation(Module):
    """An op of one array as a module; what its ``__init__`` is given are the op's constants."""

    op: ClassVar[type[Op]]

    def __init__(self, *inputs: Any, **constants: Any) -> None:
        if inputs:
            name = type(self).__name__
            raise TypeError(f"{name} is a layer: make it first, then call it on its input: write {name}()(x)")
        super().__init__()
        self.constants = constants

    def forward(self, x: Any) -> Any:
        """Any shape to the same."""
        return self.op.do_forward(x, **self.constants)

    def extra_repr(self) -> str:
        """The constants."""
        return ", ".join(f"{name}={value}" for name, value in self.constants.items())


class Sigmoid(Activation):
    """y = 1 / (1 + e⁻ˣ)."""

    op = ops.Sigmoid


class Tanh(Activation):
    """y = tanh x."""

    op = ops.Tanh


class ReLU(Activation):
    """y = max(0, x)."""

    op = ops.ReLU


class GELU(Activation):
    """y = x Φ(x), Φ the normal distribution's."""

    op = ops.GELU


class SiLU(Activation):
    """y = x / (1 + e⁻ˣ)."""

    op = ops.SiLU


class Softplus(Activation):
    """y = log(1 + eˣ)."""

    op = ops.Softplus


class LeakyReLU(Activation):
    """y = x where x > 0, else ``negative_slope`` · x."""

    op = ops.LeakyReLU

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__(negative_slope=float(negative_slope))


class ELU(Activation):
    """y = x where x > 0, else ``alpha`` (eˣ − 1)."""

    op = ops.ELU

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__(alpha=float(alpha))


class Softmax(Activation):
    """y = eˣ / Σ eˣ along the axis ``dim``."""

    op = ops.Softmax

    def __init__(self, dim: int = -1) -> None:
        super().__init__(axis=operator.index(dim))


class LogSoftmax(Activation):
    """y = x − log Σ eˣ along the axis ``dim``."""

    op = ops.LogSoftmax

    def __init__(self, dim: int = -1) -> None:
        super().__init__(axis=operator.index(dim))


#: By the names that command-line flags and studies use.
ACTIVATIONS: dict[str, type[Module]] = {
    "sigmoid": Sigmoid,
    "relu": ReLU,
    "tanh": Tanh,
    "leaky_relu": LeakyReLU,
    "elu": ELU,
    "gelu": GELU,
    "silu": SiLU,
    "softplus": Softplus,
}
