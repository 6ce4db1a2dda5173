"""Activation functions as modules, for Sequential. Each is its op and nothing else."""

from __future__ import annotations

from typing import Any

from vugrad import ops
from vugrad.nn.module import Module


class Identity(Module):
    """y = x."""

    def forward(self, x: Any) -> Any:
        """Any shape to the same."""
        return x


class Sigmoid(Module):
    """y = 1 / (1 + e⁻ˣ)."""

    def forward(self, x: Any) -> Any:
        """Any shape to the same."""
        return ops.Sigmoid.do_forward(x)


class Tanh(Module):
    """y = tanh x."""

    def forward(self, x: Any) -> Any:
        """Any shape to the same."""
        return ops.Tanh.do_forward(x)


class ReLU(Module):
    """y = max(0, x)."""

    def forward(self, x: Any) -> Any:
        """Any shape to the same."""
        return ops.ReLU.do_forward(x)


class LeakyReLU(Module):
    """y = x where x > 0, else ``negative_slope`` · x."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = float(negative_slope)

    def forward(self, x: Any) -> Any:
        """Any shape to the same."""
        return ops.LeakyReLU.do_forward(x, negative_slope=self.negative_slope)


class ELU(Module):
    """y = x where x > 0, else ``alpha`` (eˣ − 1)."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = float(alpha)

    def forward(self, x: Any) -> Any:
        """Any shape to the same."""
        return ops.ELU.do_forward(x, alpha=self.alpha)


class GELU(Module):
    """y = x Φ(x), Φ the normal distribution's."""

    def forward(self, x: Any) -> Any:
        """Any shape to the same."""
        return ops.GELU.do_forward(x)


class SiLU(Module):
    """y = x / (1 + e⁻ˣ)."""

    def forward(self, x: Any) -> Any:
        """Any shape to the same."""
        return ops.SiLU.do_forward(x)


class Softplus(Module):
    """y = log(1 + eˣ)."""

    def forward(self, x: Any) -> Any:
        """Any shape to the same."""
        return ops.Softplus.do_forward(x)


class Softmax(Module):
    """y = eˣ / Σ eˣ along the axis ``dim``."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Any) -> Any:
        """Any shape to the same."""
        return ops.Softmax.do_forward(x, axis=self.dim)


class LogSoftmax(Module):
    """y = x − log Σ eˣ along the axis ``dim``."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Any) -> Any:
        """Any shape to the same."""
        return ops.LogSoftmax.do_forward(x, axis=self.dim)


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
