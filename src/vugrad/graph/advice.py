"""What to write in place of what nodes lack: NumPy functions without a derivative, and methods of arrays."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from vugrad.suggest import near

#: Methods and attributes that arrays, or tensors elsewhere, have, and what to write for a node x.
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
    """Whether a function is NumPy's own: NUMPY holds a few of ours as well."""
    return isinstance(function, np.ufunc) or function.__module__.partition(".")[0] == "numpy"


def numpy_name(function: Callable[..., Any]) -> str:
    """What stands after ``np.``, as in ``exp`` or ``linalg.norm``."""
    if isinstance(function, np.ufunc):  # before NumPy 2.4 they do not know their module
        return function.__name__
    return f"{function.__module__}.{function.__name__}".removeprefix("numpy.")


def unsupported(name: str, supported: Iterable[Callable[..., Any]]) -> TypeError:
    """The error for a NumPy function that has no derivative here, with those of its module and kind that do."""
    # Of np.linalg.inv the last name counts, of np.add.reduce the first.
    place, _, asked = name.split(",")[0].removesuffix(".reduce").rpartition(".")
    others = (numpy_name(function).rpartition(".") for function in supported if is_numpy(function))
    names = dict.fromkeys(other for module, _, other in others if module == place)
    # It is spelled right, and few letters make no kin: cos is none of cross, as prod is of cumprod, and mean of median.
    parts = sorted((other for other in names if other in asked and 2 * len(other) + 1 >= len(asked)), key=len)[::-1]
    close = list(names if place else dict.fromkeys(parts + near(asked, names, cutoff=0.79)))[:3]
    prefix, which = (f"np.{place}.", f"Of np.{place} these do") if place else ("np.", "Near ones that do")
    hint = f" {which}: {', '.join(prefix + other for other in close)}." if close else ""
    return TypeError(
        f"np.{name} does not work on nodes.{hint} vg.ops.supported() lists all that do; x.value is the plain array, "
        "and vg.elementwise(f, derivative) or a subclass of vg.Op adds what is missing"
    )


def no_method(name: str, own: Iterable[str], supported: Iterable[Callable[..., Any]]) -> AttributeError:
    """The error for an attribute that nodes lack: what to write for it, or the near one that they have."""
    if name.startswith("_"):
        return AttributeError(f"a node has no attribute {name!r}")
    if name in INSTEAD:
        hint = f": write {INSTEAD[name]}"
    elif (function := getattr(np, name, None)) is not None and function in supported:
        hint = f": write np.{name}(x{'' if isinstance(function, np.ufunc) else ', …'})"
    elif hasattr(np.ndarray, name):
        hint = f": x.value.{name} is that of its array, and has no gradient"
    else:
        close = near(name, own, 1, cutoff=0.65)
        hint = f"; did you mean x.{close[0]}?" if close else ""
    return AttributeError(f"a node has no {name!r}{hint}")


def not_numbers(array: Any) -> TypeError:
    """The error for an array of something else than numbers."""
    what, hint = {
        "O": ("objects", "give every row the same length, fill in what is None, and write x.astype(float)"),
        "M": ("dates", "count them from one of them, as in (x - x.min()).astype(float)"),
        "m": ("times", "write x.astype(float)"),
    }.get(array.dtype.kind, ("text", "write x.astype(float) where it spells numbers"))
    such = f" such as {reprlib.repr(array.ravel()[0])}" if array.size else ""
    return TypeError(f"a node holds numbers, not {what}{such}: {hint}")
