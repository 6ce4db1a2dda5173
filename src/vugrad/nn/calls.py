"""Running a model with something done at every call of a module in it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from vugrad.nn.module import Module

Forward = Callable[..., Any]


@contextlib.contextmanager
def in_eval_mode(model: Module, around: Callable[[str, Module, Forward], Forward]) -> Iterator[None]:
    """The model in eval mode, with ``around(path, module, forward)`` in place of each module's forward.

    Afterwards the model is as it was: the mode of every module, and its forward.
    """
    modules = list(model.named_modules())
    before = [(module.training, vars(module).get("forward")) for _, module in modules]
    try:
        for path, module in modules:
            module.forward = around(path, module, module.forward)  # type: ignore[method-assign]
        model.eval()
        yield
    finally:
        for (_, module), (mode, forward) in zip(modules, before, strict=True):
            module.training = mode
            vars(module).pop("forward", None)
            if forward is not None:
                module.forward = forward  # type: ignore[method-assign]
