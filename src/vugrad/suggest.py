"""Error messages that name the near ones: "there is no dataset 'minst'; did you mean 'mnist'?"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


def near(name: str, choices: Iterable[str], n: int = 3) -> list[str]:
    """The up to ``n`` choices that are spelled most like ``name``, best first.

    >>> near("minst", ["mnist", "synth"])
    ['mnist']
    """
    import difflib  # only ever needed for an error, so not paid for at import

    by_lower = {choice.lower(): choice for choice in choices}
    return [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n, cutoff=0.5)]


def choose(kind: str, name: str, table: Mapping[str, T]) -> T:
    """``table[name]``, or a ``ValueError`` that names the near ones and lists them all; ``TypeError`` for no text.

    >>> choose("loss", "mse", {"mse": 1, "l1": 2})
    1
    >>> choose("loss", "mes", {"mse": 1, "l1": 2})
    Traceback (most recent call last):
    ValueError: there is no loss 'mes'; did you mean 'mse'? There are: mse, l1
    """
    if not isinstance(name, str):
        raise TypeError(
            f"the {kind} is given by its name, and {name!r} is a {type(name).__name__}. There are: {', '.join(table)}"
        )
    if name in table:
        return table[name]
    close = near(name, table)
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else "."
    raise ValueError(f"there is no {kind} {name!r}{hint} There are: {', '.join(table)}")
