"""Gradients at one place beside slopes there: element by element, in random directions, and along what is tied."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from vugrad.check.conduct import TINY
from vugrad.check.numeric import EPS, Line, is_flat, roughness, slope
from vugrad.check.report import KNOWN, Element, Report, of_kinks, of_unknown, of_wrong
from vugrad.check.subject import Array, Arrays, Subject

#: How far from a slope is near, as a share of it: a fault of 0.1 % is a thousand times as far.
NEAR = 1e-6
#: A slope of 0 is known to this share of what the outputs make typical.
FLAT = 1e-8
#: How often the last bits of the inputs are changed to see what that does.
DRAWS = 6
#: So many elements at kinks are moved in pairs.
PAIRED = 12
#: Of more elements than that so many are looked at one by one.
MOST = 500
#: About how often the forward is run for one.
CALLS = 60


#: An element: the number of its input, and where it is in that.
Place = tuple[int, tuple[int, ...]]


class Comparison:
    """Gradients at one place, and the slopes there."""

    def __init__(
        self,
        checked: Subject,
        gos: Arrays,
        gradients: Arrays,
        rng: np.random.Generator,
        most: int = MOST,
        only: Sequence[Place] | None = None,
    ) -> None:
        self.checked, self.gos, self.gradients, self.rng, self.most = checked, gos, gradients, rng, most
        self.places = [(i, at) for i in checked.real for at in np.ndindex(gradients[i].shape)] if only is None else only
        self.scales = [_scale(x) for x in checked.inputs]
        # What rounding makes of numbers as large as the upstream gradients.
        self.bits = 64 * EPS * max((float(np.max(np.abs(go), initial=0)) for go in gos), default=0.0)
        self.magnitude, self.noise = self.rounding()

    def report(self) -> Report:
        """All elements and directions, judged."""
        by_verdict: dict[str, list[Element]] = {v: [] for v in ("right", "wrong", "kink", "unknown", "small")}
        for each in self.elements():
            by_verdict[self.verdict(each)].append(each)
        wrong, unknown, kinks = by_verdict["wrong"], by_verdict["unknown"], by_verdict["kink"]
        seen = sum(map(len, by_verdict.values()))
        if not any(each.slope.value for each in by_verdict["right"]):  # where all is as small as rounding
            unknown = [*unknown, *by_verdict["small"]]
        if not wrong:  # it is among the others, or in how those at a tie go together
            all_seen = seen == len(self.places)
            tied = [(each, self.verdict(each), one_kink) for each, one_kink in self.together(kinks)]
            wrong = [each for each, verdict, _ in tied if verdict == "wrong"]
            unknown = [*unknown, *(each for each, verdict, one_kink in tied if verdict == "unknown" and one_kink)]
            if not wrong and not all_seen:
                directions = [(each, self.verdict(each)) for each in (self.projected(kinks) for _ in range(2))]
                wrong = [each for each, verdict in directions if verdict == "wrong"]
                if not wrong and "right" not in [verdict for _, verdict in directions]:
                    unknown = [*unknown, *(each for each, _ in directions)]
        status = "wrong" if wrong else "not established" if unknown else "checked"
        methods = sorted({element.slope.method for element in by_verdict["right"]})
        text = "\n".join(filter(None, [of_wrong(wrong, seen), of_unknown(unknown), of_kinks(kinks)]))
        if not text:
            text = f"{seen} elements, by {' and '.join(methods)}." if seen else "There is no element to check."
        return Report("", status, text, seen, tuple(wrong), tuple(kinks))

    def rounding(self) -> tuple[float, Arrays]:
        """How large the terms are of which the outputs are the sum, and how much each gradient is rounded.

        The terms are at least the outputs, what the inputs have in them, and what would make the sum change as much as
        it does with the last bits of the inputs, even where all cancels; with those bits each gradient varies too.
        """
        checked, total = self.checked, self.total(self.checked.inputs)
        terms = [
            sum(float(np.sum(np.abs(go * y))) for go, y in zip(self.gos, checked.forward(checked.inputs), strict=True))
        ]
        terms[0] += sum(float(np.nansum(np.abs(self.gradients[i] * checked.inputs[i]))) for i in checked.real)
        others: list[Arrays] = []
        # A backward in lower precision rounds more.
        least = 8 * max([EPS, *(float(np.finfo(g.dtype).eps) for g in self.gradients if g.dtype.kind == "f")])
        for _ in range(DRAWS):
            bits = [1 + least * self.rng.uniform(-1, 1, x.shape) for x in checked.inputs]
            xs = [x * bit if x.dtype.kind == "f" else x for x, bit in zip(checked.inputs, bits, strict=True)]
            terms.append(float(abs(self.total(xs) - total)) / least)
            others.append(checked.gradients(xs, self.gos))
        noise: Arrays = [None] * len(checked.inputs)
        for i in checked.real:
            beside = [gradients[i] for gradients in others]
            # A gradient that is another at this point than at all beside it is wrong here; but for its last bits.
            here = np.minimum(np.max(np.abs(beside - self.gradients[i]), axis=0), self.bits)
            spread = np.maximum(np.ptp(beside, axis=0), here)
            noise[i] = np.where(np.isfinite(spread), spread, 0)
        return max((term for term in terms if math.isfinite(term)), default=0.0), noise

    def total(self, xs: Arrays) -> complex:
        """The outputs' product with the upstream gradients."""
        return self.totals([xs])[0]

    def totals(self, all_xs: Sequence[Arrays]) -> list[complex]:
        """The :meth:`total` at each of several inputs."""
        found = self.checked.many(all_xs)
        return [complex(sum((go * y).sum() for go, y in zip(self.gos, ys, strict=True))) for ys in found]

    def line(self, along: Arrays) -> Line:
        """The total as a function of the distance along a direction of the inputs."""
        pairs = list(zip(self.checked.inputs, along, strict=True))
        return lambda *ts: self.totals([[x if v is None else x + t * v for x, v in pairs] for t in ts])

    def measured(self, element: Element, along: Arrays, rough: float | None = None) -> Element:
        """An element with its slope: at once, if the code agrees with it, and else more carefully.

        That a kink close by is taken for rounding harms nobody then; and no code agrees by chance.
        """
        line = self.line(along)
        quick = replace(element, slope=slope(line, element.size, self.magnitude, rough, careful=False))
        if self.verdict(quick) == "right" and (quick.slope.value or is_flat(line, element.size)):
            return quick
        return replace(element, slope=slope(line, element.size, self.magnitude))

    def roughness(self, i: int) -> float | None:
        """How the total is rounded as an input changes; ``None`` if that is to be seen of each element by itself."""
        along: Arrays = [None] * len(self.scales)
        along[i] = self.rng.standard_normal(self.gradients[i].shape)
        _, rough, _ = roughness(self.line(along), 0.1 * self.scales[i])
        return rough if rough <= 64 * EPS * self.magnitude else None

    def projected(self, kinks: Sequence[Element]) -> Element:
        """A random direction of all elements but those with the value of one at a kink, which may be at one too."""
        along: Arrays = [None] * len(self.scales)
        for i in self.checked.real:
            x, label = self.checked.inputs[i], self.checked.labels[i]
            along[i] = self.rng.standard_normal(self.gradients[i].shape) * self.scales[i]
            along[i][np.isin(x, [x[e.at] for e in kinks if e.label == label])] = 0
        code = sum(float(np.sum(self.gradients[i] * along[i])) for i in self.checked.real)
        return self.measured(Element("a random direction", (), code, size=0.05, direction=True), along)

    def together(self, kinks: Sequence[Element]) -> Iterator[tuple[Element, bool]]:
        """Elements that are at a kink, moved as one or against each other, which often leaves what is tied so.

        All of an input and of all inputs; and pairs that are at one kink, which is said of them: at one kink each slope
        between the two sides' is right, and of several that need not be so.
        """
        by_input = [[e for e in kinks if e.label == self.checked.labels[i]] for i in self.checked.real]
        size = 0.1 * min((self.scales[i] for i in self.checked.real), default=1.0)
        for mine in [*by_input, *([list(kinks)] if sum(map(bool, by_input)) > 1 else [])]:
            if len(mine) > 1:
                yield self.moved("all that are at a kink, moved as one", [(e, 1.0) for e in mine], size), False
        beside = [(a, b) for a, b in itertools.combinations(kinks, 2) if a.at == b.at][: PAIRED**2]
        for a, b in [*beside, *itertools.combinations(kinks[:PAIRED], 2)]:
            for sign, word in ((1.0, "with"), (-1.0, "against")):
                if self.is_shared(a, b, sign, 1e-3 * size):
                    yield self.moved(f"{b.name} moved {word} {a.name}", [(a, 1.0), (b, sign)], size), True

    def moved(self, name: str, elements: Sequence[tuple[Element, float]], size: float) -> Element:
        """A direction of a few elements, each by so much."""
        along = self.direction(elements)
        code = sum(float(np.sum(self.gradients[i] * along[i])) for i in self.checked.real if along[i] is not None)
        return self.measured(Element(name, (), code, size=size, direction=True), along)

    def direction(self, elements: Sequence[tuple[Element, float]]) -> Arrays:
        """For each input how far its elements move."""
        along: Arrays = [None] * len(self.scales)
        for each, share in elements:
            i = self.checked.labels.index(each.label)
            along[i] = np.zeros(self.gradients[i].shape) if along[i] is None else along[i]
            along[i][each.at] = share
        return along

    def is_shared(self, a: Element, b: Element, sign: float, size: float) -> bool:
        """Whether two elements are at one kink: what they do together is not the sum of what they do alone."""

        def at(*elements: tuple[Element, float]) -> float:
            along = self.direction(elements)
            moved = [x if v is None else x + size * v for x, v in zip(self.checked.inputs, along, strict=True)]
            return self.total(moved).real

        both, first, second, none = at((a, 1), (b, sign)), at((a, 1)), at((b, sign)), at()
        alone = max(abs(first - none), abs(second - none))
        return abs(both - first - second + none) > 1e-2 * alone + 64 * EPS * self.magnitude

    def elements(self) -> Iterator[Element]:
        """The elements of all gradients, or so many of them, drawn without putting back."""
        places = self.places
        if len(places) > self.most:
            places = [places[i] for i in sorted(self.rng.choice(len(places), self.most, replace=False))]
        rough = {i: self.roughness(i) for i in {i for i, _ in places}}
        for i, at in places:
            along: Arrays = [None] * len(self.scales)
            along[i] = np.zeros(self.gradients[i].shape)
            along[i][at] = 1
            size = 0.1 * max(abs(float(self.checked.inputs[i][at])), self.scales[i])
            noise = float(self.noise[i][at])
            code = float(self.gradients[i][at])
            yield self.measured(Element(self.checked.labels[i], at, code, noise=noise, size=size), along, rough[i])

    def verdict(self, element: Element) -> str:
        """Whether a gradient's element is right, wrong, at a kink, or cannot be told."""
        code, found = element.code, element.slope
        if found.method == "kink":
            low, high = sorted((found.left, found.right))
            return "kink" if low - KNOWN * abs(low) <= code <= high + KNOWN * abs(high) else "unknown"
        if found.method == "none":
            return "unknown"
        if not math.isfinite(code):
            return "wrong"
        known = found.value != 0 and found.error <= KNOWN * abs(found.value)
        flat = abs(found.value) <= 4 * found.error <= FLAT * self.magnitude / element.size
        if not (known or flat):
            return "unknown"
        noise = max(16 * element.noise, TINY if known else self.bits)
        beyond = abs(code - found.value) - 4 * found.error - NEAR * abs(found.value)
        if beyond > noise:
            return "unknown" if found.steps and not code else "wrong"  # of what has steps 0 is the slope between them
        if beyond > 0 and noise > (KNOWN * abs(found.value) if known else 16 * self.bits):
            return "unknown"  # what is rounded so much may be right by chance
        if not known and code and abs(code) > 16 * element.noise:
            return "small" if abs(code) <= self.bits else "unknown"  # as rounding would hide it
        return "right" if known or abs(code) <= noise else "unknown"


def _scale(x: Array) -> float:
    """How large the numbers of an input are."""
    return float(np.sqrt(np.mean(np.square(x, dtype=float)))) or 1.0 if x.size else 1.0
