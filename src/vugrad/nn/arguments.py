"""Checks of layers' arguments and inputs, with errors that name the layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from vugrad.graph import TensorNode, as_array
from vugrad.nn.module import Module, parameter


def initial(layer: str, init: Any, shape: tuple[int, ...], rng: np.random.Generator | None, dtype: Any) -> TensorNode:
    """The parameter ``weight`` with the values of an initialiser; ``TypeError`` if ``init`` is not callable."""
    if not callable(init):
        raise TypeError(f"{layer}: init must be a function, such as vg.initializers.he_normal, got {init!r}")
    return parameter(init(shape, rng=rng, dtype=floating(layer, dtype)), "weight")


def floating(layer: str, dtype: Any) -> np.dtype[Any]:
    """The dtype of a layer's parameters; ``TypeError`` unless it is a floating-point dtype."""
    found: np.dtype[Any] = np.dtype(dtype)
    if found.kind != "f":
        raise TypeError(f"{layer}: dtype must be a floating-point dtype, such as np.float32, got dtype={dtype!r}")
    return found


def misfit(layer: Module, takes: str, x: Any, instead: str) -> ValueError:
    """The error for an input whose shape a layer does not accept."""
    extents = layer.extra_repr()
    name = type(layer).__name__ + (f"({extents})" if extents else "")
    return ValueError(f"{name} takes shape {takes}, got {tuple(x.shape)}: {instead}")


def with_features(layer: Module, weight: TensorNode, x: Any) -> Any:
    """``x`` as an array; raises the layer's ``ValueError`` unless its last axis fits the weight (out, in)."""
    x = as_array(x)
    outputs, features = weight.shape
    if x.shape[-1:] != (features,):
        other = f"write {type(layer).__name__}({x.shape[-1]}, {outputs}), or " if x.shape else ""
        raise misfit(layer, f"(…, {features})", x, f"{other}give it {features} features on the last axis")
    return x
