"""Modules made of modules."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from vugrad.graph import as_array
from vugrad.nn.arguments import misfit
from vugrad.nn.module import Module


class Flatten(Module):
    """Every instance as one vector: (N, …) to (N, F)."""

    def forward(self, x: Any) -> Any:
        """(N, …) to (N, F)."""
        x = as_array(x)
        if not x.shape:
            raise misfit(self, "(N, …)", x, "write x[None] for one instance")
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))


class Sequential(Module):
    """Modules one after the other.

    >>> import numpy as np, vugrad as vg
    >>> net = vg.nn.Sequential(vg.nn.Linear(4, 3), vg.nn.ReLU(), vg.nn.Linear(3, 2))
    >>> net(np.zeros((5, 4), np.float32)).shape
    (5, 2)
    >>> net[0]
    Linear(4, 3)
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        for i, module in enumerate(modules):
            if isinstance(module, type):
                raise TypeError(
                    f"Sequential takes modules, and {module.__name__} is a class: write {module.__name__}(…)"
                )
            if not callable(module):
                kind = type(module).__name__
                raise TypeError(f"Sequential takes modules one by one, as in Sequential(*modules), got a {kind}")
            vars(self)[str(i)] = module

    def __iter__(self) -> Iterator[Module]:
        return (module for name, module in vars(self).items() if name.isdigit())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, i: int) -> Module:
        return list(self)[i]

    def forward(self, x: Any) -> Any:
        """Each module on what the one before it returned."""
        for module in self:
            x = module(x)
        return x


class Residual(Module):
    """y = x + f(x), where f keeps the shape. Source: He et al., *Deep Residual Learning*, 2015."""

    def __init__(self, module: Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Any) -> Any:
        """Any shape that the module keeps."""
        y = self.module(x)
        if y.shape != x.shape:
            raise ValueError(f"Residual: the module made {y.shape} of {x.shape}, and they cannot be added")
        return x + y
