"""Numbers as pages, tables and summaries print them."""

from __future__ import annotations

import math

from vugrad.lab.statistics import Estimate
from vugrad.lab.verdicts import Verdict

#: Smaller p-values are printed as "p<" this number.
LEAST_P = 1e-4


def number(x: float, form: str) -> str:
    """A number as text; words for NaN and the infinities.

    >>> number(0.5, "+.2f"), number(-float("inf"), ".2f"), number(float("nan"), ".2f")
    ('+0.50', '-infinite', 'none')
    """
    if math.isnan(x):
        return "none"
    return f"{x:{form}}" if math.isfinite(x) else "infinite" if x > 0 else "-infinite"


def interval(e: Estimate, form: str) -> str:
    """The ends of an interval as text; empty if they are infinite, as for a single run."""
    if e.same:
        return "in every run"
    return f"{e.low:{form}} to {e.high:{form}}" if math.isfinite(e.low) and math.isfinite(e.high) else ""


def around(e: Estimate | None, form: str) -> str:
    """A mean with its interval in brackets; empty if nothing was measured."""
    if e is None or not e.n:
        return ""
    ends = interval(e, form)
    return number(e.mean, form) + (f" ({ends})" if ends else "")


def half(e: Estimate | None, form: str) -> str:
    """A mean with half the width of its interval; empty if nothing was measured."""
    if e is None or not e.n:
        return ""
    width = (e.high - e.low) / 2 if interval(e, form) and not e.same else None
    return number(e.mean, form) + (f" ±{width:{form.removeprefix('+')}}" if width is not None else "")


def basis(v: Verdict) -> str:
    """The basis of a verdict: the p of its test, or the reason why there is no test."""
    if v.p is None:
        return v.untested or ""
    return f"p<{LEAST_P:g}" if v.p < LEAST_P else f"p={v.p:.2g}"
