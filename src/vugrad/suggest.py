"""Checks of arguments, and errors with close matches: "there is no dataset 'minst'; did you mean 'mnist'?"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any, TypeVar

T = TypeVar("T")


def near(name: str, choices: Iterable[str], n: int = 3, cutoff: float = 0.5) -> list[str]:
    """The up to ``n`` choices that are spelled most like ``name``, best first.

    >>> near("minst", ["mnist", "synth"])
    ['mnist']
    """
    import difflib  # only ever needed for an error, so not paid for at import

    by_lower = {choice.lower(): choice for choice in choices}
    return [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n, cutoff)]


def choose(kind: str, name: str, table: Mapping[str, T]) -> T:
    """``table[name]``, or a ``ValueError`` that names the near ones and lists them all; ``TypeError`` for no text.

    >>> choose("loss", "mse", {"mse": 1, "l1": 2})
    1
    >>> choose("loss", "mes", {"mse": 1, "l1": 2})
    Traceback (most recent call last):
    ValueError: there is no loss 'mes'; did you mean 'mse'? There are: mse, l1
    """
    if not isinstance(name, str):
        raise TypeError(f"the {kind} must be a name, as a string, got {name!r}. There are: {', '.join(table)}")
    if name in table:
        return table[name]
    close = near(name, table)
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else "."
    raise ValueError(f"there is no {kind} {name!r}{hint} There are: {', '.join(table)}")


def no_attribute(owner: str, name: str, places: Mapping[str, str]) -> AttributeError:
    """The ``AttributeError`` for a name that ``owner`` lacks; ``places`` maps each existing name to what to write.

    >>> no_attribute("module 'vugrad'", "mlp", {"MLP": "vg.nn.MLP", "grad": "vg.grad"})
    AttributeError("module 'vugrad' has no attribute 'mlp': write vg.nn.MLP")
    """
    text = f"{owner} has no attribute {name!r}"
    if name.startswith("_"):
        return AttributeError(text)
    close = near(name, places, 2, cutoff=0.65) or [key for key in places if name.lower() in key.lower()][:2]
    if close and close[0].lower() == name.lower():
        return AttributeError(f"{text}: write {places[close[0]]}")
    return AttributeError(f"{text}; did you mean {' or '.join(places[key] for key in close)}?" if close else text)


def whole(name: str, value: Any, least: int = 1) -> int:
    """``value`` as an int, if it is a whole number of at least ``least``; else ``TypeError`` or ``ValueError``.

    >>> whole("Linear: out_features", -1)
    Traceback (most recent call last):
    ValueError: Linear: out_features is a whole number from 1 on, got -1
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} is a whole number from {least} on, got {value!r}")
    if value < least:
        raise ValueError(f"{name} is a whole number from {least} on, got {value}")
    return int(value)
