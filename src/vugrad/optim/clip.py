"""Gradient clipping by the norm of all gradients together."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from vugrad.graph import TensorNode
from vugrad.optim.base import number
from vugrad.optim.parameters import checked_parameters, gradient


def clip_grad_norm_(parameters: Iterable[TensorNode], max_norm: float, norm_type: float = 2.0) -> float:
    """Scale all gradients by one factor, so that their norm is at most ``max_norm`` (Pascanu et al. 2013).

    ``g ← g · min(1, max_norm / (‖g‖ + 1e-6))``, where ``‖g‖ = (Σ |gᵢ|^norm_type)^(1/norm_type)`` over every entry
    of every gradient, and the largest ``|gᵢ|`` if ``norm_type`` is infinite.

    Args:
        parameters: the TensorNodes whose ``.grad`` is to be clipped; frozen ones are left out.
        max_norm: the largest norm to allow.
        norm_type: the exponent, above 0.

    Returns the norm before clipping, a float. An infinite norm makes finite gradients zero and infinite ones NaN,
    and a NaN makes all of them NaN, as in PyTorch (NumPy warns): look at what is returned where that can happen.
    Raises what an optimizer raises for wrong parameters, and ``ValueError`` for a number out of range.

    >>> import numpy as np, vugrad as vg
    >>> x = vg.TensorNode(np.array([3.0, 4.0]))
    >>> (x * x / 2).sum().backward()
    >>> float(vg.optim.clip_grad_norm_([x], max_norm=1.0))
    5.0
    >>> x.grad.round(3)
    array([0.6, 0.8])
    """
    max_norm = number("max_norm", max_norm)
    if not norm_type > 0:
        raise ValueError(f"norm_type={norm_type} is out of range: it must be above 0; math.inf is the largest entry")
    trained = [p for p in checked_parameters(parameters) if p.requires_grad]
    sizes = [np.abs(gradient(p)) for p in trained]
    norm: Any
    if norm_type == math.inf:
        norm = functools.reduce(np.maximum, [np.max(size) for size in sizes], np.float64(0))
    else:
        powers = [np.sum(size**norm_type).astype(np.float64) for size in sizes]
        norm = sum(powers, np.float64(0)) ** (1 / norm_type)
    # No branch on the norm, so that a compiler can record this too.
    factor = np.minimum(1.0, max_norm / (norm + 1e-6))
    for p in trained:
        p.grad = gradient(p) * factor.astype(p.value.dtype)
    return norm  # type: ignore[no-any-return]
