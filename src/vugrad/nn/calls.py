"""Running a model so that nothing of it stays, with something done at every call of a module in it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from vugrad.nn.module import Module

Forward = Callable[..., Any]


@contextlib.contextmanager
def kept(model: Module) -> Iterator[None]:
    """Put back what a module and its parts hold, and the lists and dicts in them, however deep: modes, results, counts.

    Arrays that are written into are not among it.
    """
    found: dict[int, Any] = {id(model): model}
    held: list[tuple[Any, Any]] = []
    waiting: list[Any] = [model]
    while waiting:
        holder = waiting.pop()
        parts: list[Any] = []
        if isinstance(holder, Module):
            held.append((vars(holder), dict(vars(holder))))
            parts += vars(holder).values()
        if isinstance(holder, list | dict):
            held.append((holder, holder.copy()))
        if isinstance(holder, list | tuple | dict):
            parts += holder.values() if isinstance(holder, dict) else holder
        for part in parts:
            if isinstance(part, Module | list | tuple | dict) and id(part) not in found:
                found[id(part)] = part
                waiting.append(part)
    try:
        yield
    finally:
        for now, before in held:
            now.clear()
            (now.extend if isinstance(now, list) else now.update)(before)


@contextlib.contextmanager
def in_eval_mode(model: Module, around: Callable[[str, Module, Forward], Forward]) -> Iterator[None]:
    """The model in eval mode, with ``around(path, module, forward)`` in place of each module's forward.

    Afterwards the model is as it was.
    """
    with kept(model):
        for path, module in list(model.named_modules()):
            module.forward = around(path, module, module.forward)  # type: ignore[method-assign]
        model.eval()
        yield
