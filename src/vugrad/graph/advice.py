"""Errors that say what to write in place of NumPy functions and array methods that nodes do not support."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from vugrad.suggest import near

#: Methods and attributes of arrays and of other libraries' tensors, and what to write for a node x.
INSTEAD = {
    "flatten": "x.reshape(-1)",
    "view": "x.reshape(…)",
    "permute": "x.transpose(…)",
    "unsqueeze": "np.expand_dims(x, axis)",
    "numpy": "x.value",
    "data": "x.value",
    "clone": "np.copy(x)",
    "pow": "x ** n",
    "mm": "x @ y",
    "add": "x + y",
    "sub": "x - y",
    "mul": "x * y",
    "div": "x / y",
    "sort": "x[np.argsort(x.value)]",
    "argsort": "np.argsort(x.value)",
    "fill": "x.value.fill(…) before the forward pass",
    "put": "x.value.put(…) before the forward pass",
    "cpu": "x itself: nodes are on the CPU",
    "to": "x.astype(dtype): nodes are on the CPU",
    "float": "x.astype(np.float32)",
    "double": "x.astype(np.float64)",
    "requires_grad_": "x.requires_grad = True",
    **{name: f"vg.{name}(x)" for name in ("relu", "sigmoid", "softmax", "log_softmax", "gelu", "silu", "softplus")},
}


def is_numpy(function: Callable[..., Any]) -> bool:
    """Whether a function is NumPy's own: the table ``NUMPY`` holds a few functions of vugrad too."""
    return isinstance(function, np.ufunc) or function.__module__.partition(".")[0] == "numpy"


def numpy_name(function: Callable[..., Any]) -> str:
    """A function's name after ``np.``, such as ``exp`` or ``linalg.norm``."""
    if isinstance(function, np.ufunc):  # before NumPy 2.4 ufuncs have no __module__
        return function.__name__
    return f"{function.__module__}.{function.__name__}".removeprefix("numpy.")


def unsupported(name: str, supported: Iterable[Callable[..., Any]]) -> TypeError:
    """The error for a NumPy function that does not work on nodes; it names similar functions that do."""
    # The name to compare is "inv" in linalg.inv, and "add" in add.reduce.
    place, _, asked = name.split(",")[0].removesuffix(".reduce").rpartition(".")
    others = (numpy_name(function).rpartition(".") for function in supported if is_numpy(function))
    names = dict.fromkeys(other for module, _, other in others if module == place)
    # The name is spelled right, so only a large common part shows kinship: prod and cumprod, but not cos and cross.
    parts = sorted((other for other in names if other in asked and 2 * len(other) + 1 >= len(asked)), key=len)[::-1]
    close = list(names if place else dict.fromkeys(parts + near(asked, names, cutoff=0.79)))[:3]
    prefix, which = (f"np.{place}.", f"Of np.{place} these do") if place else ("np.", "Similar ones that do")
    hint = f" {which}: {', '.join(prefix + other for other in close)}." if close else ""
    return TypeError(
        f"np.{name} does not work on nodes.{hint} vg.ops.supported() lists all that do; x.value is the plain array, "
        "and vg.elementwise(f, derivative) or a subclass of vg.Op adds what is missing"
    )


def no_method(name: str, own: Iterable[str], supported: Iterable[Callable[..., Any]]) -> AttributeError:
    """The error for an attribute that nodes lack: it says what to write instead, or names a close match."""
    if name.startswith("_"):
        return AttributeError(f"a node has no attribute {name!r}")
    if name in INSTEAD:
        hint = f": write {INSTEAD[name]}"
    elif (function := getattr(np, name, None)) is not None and function in supported:
        hint = f": write np.{name}(x{'' if isinstance(function, np.ufunc) else ', …'})"
    elif hasattr(np.ndarray, name):
        hint = f": write x.value.{name} for the array's, which has no gradient"
    else:
        close = near(name, own, 1, cutoff=0.65)
        hint = f"; did you mean x.{close[0]}?" if close else ""
    return AttributeError(f"a node has no {name!r}{hint}")


def not_numbers(array: Any) -> TypeError:
    """The error for an array that does not hold numbers."""
    what, hint = {
        "O": ("objects", "give every row the same length, replace None, and write x.astype(float)"),
        "M": ("dates", "write the time since one of them, as in (x - x.min()).astype(float)"),
        "m": ("times", "write x.astype(float)"),
    }.get(array.dtype.kind, ("text", "write x.astype(float) where it spells numbers"))
    such = f" such as {reprlib.repr(array.ravel()[0])}" if array.size else ""
    return TypeError(f"a node holds numbers, not {what}{such}: {hint}")
