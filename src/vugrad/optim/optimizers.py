"""The optimizers: each is one update rule, written once, over a parameter, its gradient and its state.

The rules are array expressions and augmented assignments only. An augmented assignment writes into an array, and
rebinds the name of a tracer. The compiler puts tracers in place of values, state, learning rate and step count.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from vugrad.graph import TensorNode
from vugrad.optim.base import Optimizer, State, number
from vugrad.optim.parameters import Array


class SGD(Optimizer):
    """Gradient descent, with momentum on request (Polyak 1964; Nesterov's as in Sutskever et al. 2013).

    ``v ← μ·v + (1 − τ)·g`` (the first time ``v ← g``), then ``p ← p − lr·v``; with ``nesterov``,
    ``p ← p − lr·(g + μ·v)``; without momentum, ``p ← p − lr·g``.

    Args:
        params: the TensorNodes to train.
        lr: the learning rate.
        momentum: μ.
        dampening: τ.
        weight_decay: λ, for g ← g + λ·p before all else.
        nesterov: whether to look ahead; needs momentum, and no dampening.

    >>> import vugrad as vg
    >>> x = vg.TensorNode([1.0, 2.0])
    >>> (x * x).sum().backward()
    >>> vg.optim.SGD([x], lr=0.25).step()
    >>> x.value
    array([0.5, 1. ])
    """

    def __init__(
        self,
        params: Iterable[TensorNode],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        self.momentum = number("momentum", momentum)
        self.dampening = number("dampening", dampening)
        self.nesterov = nesterov
        if nesterov and (not momentum or dampening):
            raise ValueError(
                f"nesterov=True with momentum={momentum} and dampening={dampening}: it needs a momentum, as in "
                "SGD(params, momentum=0.9, nesterov=True), and no dampening"
            )

    def buffers(self) -> tuple[str, ...]:
        """``momentum_buffer``, the velocity v, where there is momentum."""
        return ("momentum_buffer",) if self.momentum else ()

    def update(self, p: TensorNode, g: Array, state: State) -> None:
        """One step of the rule above."""
        if self.momentum:
            state["momentum_buffer"] *= self.momentum
            if self.dampening:
                # From the second step on; a comparison in place of a branch, since a compiler's count has no value.
                state["momentum_buffer"] += (1 - self.dampening * (state["step"] > 1)) * g
            else:
                state["momentum_buffer"] += g
            v = state["momentum_buffer"]
            g = g + self.momentum * v if self.nesterov else v
        p.value -= self.lr * g


class Adam(Optimizer):
    """Steps scaled by running means of the gradient and of its square (Kingma & Ba 2015).

    ``m ← β₁·m + (1 − β₁)·g``, ``v ← β₂·v + (1 − β₂)·g²``, and at the t-th step
    ``p ← p − lr·m̂ / (√v̂ + ε)`` where ``m̂ = m / (1 − β₁ᵗ)`` and ``v̂ = v / (1 − β₂ᵗ)``.

    Args:
        params: the TensorNodes to train.
        lr: the learning rate.
        betas: β₁ and β₂, each in [0, 1).
        eps: ε.
        weight_decay: λ, for g ← g + λ·p before all else.

    >>> import vugrad as vg
    >>> x = vg.TensorNode([1.0, 200.0])
    >>> (x * x).sum().backward()
    >>> vg.optim.Adam([x], lr=0.5).step()
    >>> x.value
    array([  0.5, 199.5])
    """

    def __init__(
        self,
        params: Iterable[TensorNode],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise TypeError(f"betas must be two numbers, as in (0.9, 0.999), got {betas!r}")
        self.betas = number("betas[0]", betas[0], below=1), number("betas[1]", betas[1], below=1)
        self.eps = number("eps", eps)

    def buffers(self) -> tuple[str, ...]:
        """``exp_avg``, the running mean m, and ``exp_avg_sq``, that of the squares v."""
        return ("exp_avg", "exp_avg_sq")

    def update(self, p: TensorNode, g: Array, state: State) -> None:
        """One step of the rule above."""
        (beta1, beta2), t = self.betas, state["step"]
        state["exp_avg"] *= beta1
        state["exp_avg"] += (1 - beta1) * g
        state["exp_avg_sq"] *= beta2
        state["exp_avg_sq"] += (1 - beta2) * g * g
        rate, scale = self.lr / (1 - beta1**t), (1 - beta2**t) ** 0.5
        p.value -= rate * state["exp_avg"] / (np.sqrt(state["exp_avg_sq"]) / scale + self.eps)


class AdamW(Adam):
    """:class:`Adam` with the weights shrunk directly, not by way of the gradient (Loshchilov & Hutter 2019).

    ``p ← p − lr·λ·p``, then Adam's rule with the gradient as it is.

    Args:
        params: the TensorNodes to train.
        lr: the learning rate.
        betas: β₁ and β₂, each in [0, 1).
        eps: ε.
        weight_decay: λ.

    >>> import vugrad as vg
    >>> x = vg.TensorNode([100.0])
    >>> vg.optim.AdamW([x], lr=0.1).step()  # without a gradient, only the shrinking is left
    >>> x.value
    array([99.9])
    """

    def __init__(
        self,
        params: Iterable[TensorNode],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def decay(self, p: TensorNode, g: Array) -> Array:
        """Shrink the weights, and leave the gradient as it is."""
        p.value *= 1 - self.lr * self.weight_decay
        return g


class RMSprop(Optimizer):
    """Steps divided by a running root mean square of the gradient (Tieleman & Hinton 2012, lecture 6.5).

    ``v ← α·v + (1 − α)·g²``, ``s = g / (√v + ε)``, then ``p ← p − lr·s``; with momentum ``b ← μ·b + s`` and
    ``p ← p − lr·b``.

    Args:
        params: the TensorNodes to train.
        lr: the learning rate.
        alpha: α, in [0, 1).
        eps: ε.
        weight_decay: λ, for g ← g + λ·p before all else.
        momentum: μ.

    >>> import vugrad as vg
    >>> x = vg.TensorNode([1.0, 200.0])
    >>> (x * x).sum().backward()
    >>> vg.optim.RMSprop([x], lr=0.05).step()
    >>> x.value.round(3)
    array([  0.5, 199.5])
    """

    def __init__(
        self,
        params: Iterable[TensorNode],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        self.alpha = number("alpha", alpha, below=1)
        self.eps = number("eps", eps)
        self.momentum = number("momentum", momentum)

    def buffers(self) -> tuple[str, ...]:
        """``square_avg``, the running mean v, and ``momentum_buffer``, b, where there is momentum."""
        return ("square_avg", "momentum_buffer") if self.momentum else ("square_avg",)

    def update(self, p: TensorNode, g: Array, state: State) -> None:
        """One step of the rule above."""
        state["square_avg"] *= self.alpha
        state["square_avg"] += (1 - self.alpha) * g * g
        s = g / (np.sqrt(state["square_avg"]) + self.eps)
        if self.momentum:
            state["momentum_buffer"] *= self.momentum
            state["momentum_buffer"] += s
            s = state["momentum_buffer"]
        p.value -= self.lr * s


class Adagrad(Optimizer):
    """Steps divided by the root of the sum of all squared gradients so far (Duchi et al. 2011).

    ``v ← v + g²``, and at the t-th step ``p ← p − lr / (1 + (t − 1)·η) · g / (√v + ε)``.

    Args:
        params: the TensorNodes to train.
        lr: the learning rate.
        lr_decay: η.
        weight_decay: λ, for g ← g + λ·p before all else.
        eps: ε.

    >>> import vugrad as vg
    >>> x = vg.TensorNode([1.0, 200.0])
    >>> (x * x).sum().backward()
    >>> vg.optim.Adagrad([x], lr=0.5).step()
    >>> x.value
    array([  0.5, 199.5])
    """

    def __init__(
        self,
        params: Iterable[TensorNode],
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        eps: float = 1e-10,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        self.lr_decay = number("lr_decay", lr_decay)
        self.eps = number("eps", eps)

    def buffers(self) -> tuple[str, ...]:
        """``sum``, of the squared gradients: v."""
        return ("sum",)

    def update(self, p: TensorNode, g: Array, state: State) -> None:
        """One step of the rule above."""
        state["sum"] += g * g
        rate = self.lr / (1 + (state["step"] - 1) * self.lr_decay)
        p.value -= rate * g / (np.sqrt(state["sum"]) + self.eps)
