"""Writes losses.npz: what PyTorch's losses and their gradients are in the cases below.

    pip install torch==2.13.0 numpy
    python tests/reference/make_losses.py

PyTorch is needed here and nowhere else: the tests read the cases from this file and PyTorch's answers from the
archive. A case is a function of a module, called with ``torch.nn.functional`` here and with ``vugrad.losses`` there.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

ARCHIVE = pathlib.Path(__file__).with_name("losses.npz")
REDUCTIONS = ("mean", "sum", "none")

LOSSES: dict[str, tuple[str, Callable[..., Any]]] = {  # on which of the samples below, and the loss
    "cross_entropy": ("logits", lambda f, *args, **options: f.cross_entropy(*args, **options)),
    "cross_entropy-extreme": ("extreme", lambda f, *args, **options: f.cross_entropy(*args, **options)),
    "nll": ("logits", lambda f, *args, **options: f.nll_loss(*args, **options)),
    "hinge": ("logits", lambda f, *args, **options: f.hinge_loss(*args, **options)),
    "hinge-margin": ("logits", lambda f, *args, **options: f.hinge_loss(*args, margin=2.5, **options)),
    "hinge-extreme": ("extreme", lambda f, *args, **options: f.hinge_loss(*args, **options)),
    "mse": ("numbers", lambda f, *args, **options: f.mse_loss(*args, **options)),
    "l1": ("numbers", lambda f, *args, **options: f.l1_loss(*args, **options)),
    "huber": ("numbers", lambda f, *args, **options: f.huber_loss(*args, **options)),
    "huber-delta": ("numbers", lambda f, *args, **options: f.huber_loss(*args, delta=0.3, **options)),
    "bce": ("shares", lambda f, *args, **options: f.binary_cross_entropy_with_logits(*args, **options)),
    "bce-extreme": ("extreme shares", lambda f, *args, **options: f.binary_cross_entropy_with_logits(*args, **options)),
}


def samples() -> dict[str, tuple[Any, Any]]:
    """Outputs and targets of each kind."""
    rng = np.random.default_rng(0)
    extreme = np.array([[800, -800, 0], [1e4, 0, -1e4], [-1e4, -1e4, 1e4], [-800, -800, -800], [1e4, 1e4, -1e4]], float)
    wide = np.array([-1e4, -800, -100, -30, 0, 30, 100, 800, 1e4])
    return {
        "logits": (rng.standard_normal((6, 5)), np.array([0, 4, 2, 2, 1, 3])),
        "extreme": (extreme, np.array([1, 0, 0, 2, 1])),
        "numbers": (rng.standard_normal((4, 3)), rng.standard_normal((4, 3))),
        "shares": (rng.standard_normal((4, 3)), np.array([[0, 1, 0.5], [0.25, 1, 0], [0.9, 0.1, 1], [0, 0, 1]])),
        "extreme shares": (np.repeat(wide[:, None], 3, axis=1), np.repeat([[0, 0.5, 1]], len(wide), axis=0)),
    }


def upstream(shape: tuple[int, ...]) -> Any:
    """The gradient with which each element of an unreduced loss is multiplied."""
    return np.asarray(1 + np.arange(np.prod(shape, dtype=int), dtype=float).reshape(shape))


def main() -> None:
    import torch

    functional = SimpleNamespace(**vars(torch.nn.functional))
    functional.hinge_loss = functional.multi_margin_loss
    stored: dict[str, Any] = {}
    for kind, (outputs, targets) in samples().items():
        stored |= {f"{kind}/outputs": outputs, f"{kind}/targets": targets}
    for case, (kind, loss) in LOSSES.items():
        for dtype in ("float64", "float32"):
            outputs, targets = stored[f"{kind}/outputs"], stored[f"{kind}/targets"]
            t = torch.from_numpy(targets if targets.dtype.kind == "i" else targets.astype(dtype))
            for reduction in REDUCTIONS:
                x = torch.from_numpy(outputs.astype(dtype)).requires_grad_()
                y = loss(functional, x, t, reduction=reduction)
                y.backward(torch.from_numpy(upstream(y.shape)).to(y.dtype))
                stored[f"{case}/{dtype}/{reduction}"] = y.detach().numpy()
                stored[f"{case}/{dtype}/{reduction}/gx"] = x.grad.numpy()
    np.savez_compressed(ARCHIVE, **stored)


if __name__ == "__main__":
    main()
