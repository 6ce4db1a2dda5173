"""What layers ask of their arguments and their inputs, and the errors that say so in the layer's words."""

from __future__ import annotations

from typing import Any

import numpy as np

from vugrad.graph import TensorNode, as_array
from vugrad.nn.module import Module, parameter


def initial(layer: str, init: Any, shape: tuple[int, ...], rng: np.random.Generator | None, dtype: Any) -> TensorNode:
    """The parameter ``weight`` as an initialiser makes it."""
    if not callable(init):
        raise TypeError(f"{layer}: init is a function, as vg.initializers.he_normal is, got {init!r}")
    return parameter(init(shape, rng=rng, dtype=floating(layer, dtype)), "weight")


def floating(layer: str, dtype: Any) -> np.dtype[Any]:
    """The dtype of a layer's parameters; ``TypeError`` for one that has no gradients."""
    found: np.dtype[Any] = np.dtype(dtype)
    if found.kind != "f":
        raise TypeError(f"{layer}: parameters are of floating point, as np.float32 is, got dtype={dtype!r}")
    return found


def misfit(layer: Module, takes: str, x: Any, instead: str) -> ValueError:
    """The error for an input of a shape that a layer does not take."""
    extents = layer.extra_repr()
    name = type(layer).__name__ + (f"({extents})" if extents else "")
    return ValueError(f"{name} takes shape {takes}, got {tuple(x.shape)}: {instead}")


def with_features(layer: Module, weight: TensorNode, x: Any) -> Any:
    """``x``, if its last axis has the features that a weight (out, in) takes; else the layer's ``ValueError``."""
    x = as_array(x)
    outputs, features = weight.shape
    if x.shape[-1:] != (features,):
        other = f"write {type(layer).__name__}({x.shape[-1]}, {outputs}), or " if x.shape else ""
        raise misfit(layer, f"(…, {features})", x, f"{other}give it {features} features on the last axis")
    return x
