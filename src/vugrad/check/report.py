"""What a check has found: the elements that were looked at, what is wrong with some, and that in sentences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vugrad.check.numeric import Slope
from vugrad.check.subject import Subject, element

#: A slope says nothing that is not known to this share of itself.
KNOWN = 2e-4
NOT_MEASURED = Slope(np.nan, np.inf, "none")


@dataclass(frozen=True)
class Element:
    """One element of one gradient, or a direction of several, with what the code and the slope say of it."""

    label: str
    at: tuple[int, ...]
    code: float
    slope: Slope = NOT_MEASURED
    noise: float = 0.0
    size: float = 1.0
    direction: bool = False

    @property
    def name(self) -> str:
        """As ``x[0, 2]``."""
        return element(self.label, self.at)


@dataclass(frozen=True)
class Report:
    """What a check has found; it is true only if the gradients are right.

    Args:
        name: of what was checked, with the shapes.
        status: "checked", "wrong", or "not established".
        text: why, in sentences.
        elements: how many of the gradients' elements were looked at one by one.
        wrong: those that are wrong.
        kinks: those where the function has a kink, so that any slope between its two is right.
        subject: what was checked.
        diagnosis: the likely mistake, in sentences, if something is wrong.
    """

    name: str
    status: str
    text: str
    elements: int = 0
    wrong: tuple[Element, ...] = ()
    kinks: tuple[Element, ...] = ()
    subject: Subject | None = None
    diagnosis: str = ""

    def __bool__(self) -> bool:
        return self.status == "checked"

    def __str__(self) -> str:
        return f"{self.name}: {self.status}. {self.text}" + (f"\n{self.diagnosis}" if self.diagnosis else "")

    __repr__ = __str__


def of_wrong(wrong: list[Element], seen: int) -> str:
    """What is wrong, in a sentence; empty if nothing is."""
    if not wrong:
        return ""
    worst = max(wrong, key=lambda e: abs(e.code - e.slope.value))
    begin = f"{len(wrong)} of {seen} elements are wrong. The gradient of {worst.name}"
    if worst.direction:
        begin = f"{seen} elements alone do not show it. The slope along {worst.name}"
    return (
        f"{begin} is {worst.slope.value:.6g} "
        f"(± {worst.slope.error:.1g}, by {worst.slope.method}), and the code gives {worst.code:.6g}."
    )


def of_unknown(unknown: list[Element]) -> str:
    """What cannot be told, and why; empty if all can."""
    if not unknown:
        return ""
    first = unknown[0]
    why = {
        "none": "has no slope that can be measured: the forward is not finite, jumps, or turns sharply, close by",
        "kink": f"has a kink, with slopes from {first.slope.left:.4g} to {first.slope.right:.4g}, and the code's "
        f"{first.code:.4g} is none between",
    }.get(first.slope.method, f"has a slope of {first.slope.value:.4g} ± {first.slope.error:.2g}")
    if first.noise > KNOWN * abs(first.slope.value):
        why += f"; the code gives {first.code:.4g}, which varies with the last bits of the inputs by {first.noise:.2g}"
    return f"{len(unknown)} elements cannot be told. The function of {first.name} {why}."


def of_kinks(kinks: list[Element]) -> str:
    """Where the function has a kink; empty if nowhere."""
    if not kinks:
        return ""
    first = kinks[0]
    return (
        f"{len(kinks)} elements are at a kink (a tie, or ReLU at 0), where each slope between the two sides' is right: "
        f"at {first.name} from {first.slope.left:.4g} to {first.slope.right:.4g}, and the code gives {first.code:.4g}."
    )
