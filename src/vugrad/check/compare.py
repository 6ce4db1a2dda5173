"""``vg.gradcheck``: the gradients that the code computes beside slopes of its forward, in numbers."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vugrad.check.conduct import TINY, outputs, upstream, well_behaved
from vugrad.check.numeric import EPS, Line, Slope, is_flat, roughness, slope
from vugrad.check.shrink import diagnose
from vugrad.check.subject import Array, Arrays, Fault, Subject, element, of_graph, of_op, pulled_back, subject
from vugrad.graph import TensorNode
from vugrad.graph.backward import below
from vugrad.ops.table import Row

#: How far from a slope is near, as a share of it: a fault of 0.1 % is a thousand times as far.
NEAR = 1e-6
#: A slope says nothing that is not known to this share of itself, unless it is 0, to that of what outputs make typical.
KNOWN, FLAT = 2e-4, 1e-8
#: How often the last bits of the inputs are changed to see what that does.
DRAWS = 6
#: So many elements at kinks are moved in pairs.
PAIRED = 12
#: Of more elements than that so many are looked at one by one.
MOST = 500
#: About how often the forward is run for one.
CALLS = 60


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


def gradcheck(f: Any, *inputs: Any, order: int = 1, seed: int = 0, **constants: Any) -> Report:
    """Whether the gradients of ``f`` are its slopes, in float64: element by element, and of many in random directions.

    Args:
        f: an Op, a Module (the gradients of whose parameters are checked too), or a function of nodes.
        inputs: arrays at which to look; whole numbers and truth values are not differentiated.
        order: 2 to check the gradients' own gradients as well.
        seed: of the directions and of the upstream gradients.
        constants: keyword arguments of ``f``.

    A slope comes from a complex step where the function allows that, else from differences, and has an error bar; what
    is within it is right, and what the bar is too wide for is "not established". At a kink (a tie in a maximum, ReLU at
    0) there is no one slope, which is said and not counted as wrong.

    Returns a report that is true if all is right; printed, it says what was found, and of what is wrong which element,
    and the likely mistake. Raises ``TypeError`` for what is no function of nodes, and what the forward raises for
    inputs that it does not take.

    >>> import numpy as np, vugrad as vg
    >>> bool(vg.gradcheck(vg.Normalize, np.array([[1.0, 2.0], [3.0, 4.0]])))
    True
    >>> bool(vg.gradcheck(lambda x, y: np.exp(x) @ y, np.ones((2, 3)), np.ones(3), order=2))
    True
    """
    if order not in (1, 2):
        raise ValueError(f"gradcheck: order is 1, or 2 for the gradients' own gradients, and not {order}")
    checked = subject(f, inputs, constants)
    report = explained(check(checked, seed))
    if report and order == 2:
        second = explained(check(second_order(checked), seed))
        return replace(second, elements=report.elements + second.elements, kinks=report.kinks + second.kinks)
    return report


def explained(report: Report) -> Report:
    """The report with a diagnosis, if something is wrong: of the op, or of the first op in a graph that is wrong."""
    checked = report.subject
    if report.status != "wrong" or checked is None:
        return report
    if checked.op is not None:
        found = diagnose(checked)
        text = str(found) if found else "No known mistake makes its numbers what they are." if report.wrong else ""
        return replace(report, diagnosis=text)
    parts = _of_ops(checked)
    culprit = next((each for each in parts if each.status == "wrong"), None)
    if culprit is not None:
        return replace(report, diagnosis=f"The first op in it that is wrong is\n{explained(culprit)}")
    why = "does a number leave the graph, by .value, detach() or float()?"
    if any(each.kinks for each in parts):
        why = "but some are at a kink, and slopes of theirs that are each right need not add up to one that is."
    return replace(report, diagnosis=f"Each op in it is right by itself: {why}")


def _of_ops(checked: Subject) -> list[Report]:
    """What a check finds of each op of a graph by itself, up to the first that is wrong."""
    found = []
    for source in reversed(below(checked.build(checked.inputs)[1])):
        found.append(check(of_op(source.op, [np.copy(node.value) for node in source.inputs], source.constants)))
        if found[-1].status == "wrong":
            break
    return found


def check_row(row: Row, seconds: float = math.inf) -> Report:
    """Whether the gradients of an op are its slopes at the sample inputs of a row of the op table."""
    return explained(check(of_op(row.op, row.inputs(np.random.default_rng(0)), row.constants), seconds=seconds))


def check(checked: Subject, seed: int = 0, seconds: float = math.inf) -> Report:
    """Whether a subject's gradients are its slopes; of fewer elements, if all would take more than so many seconds."""
    name = f"{checked.name} of {checked.shapes}" if checked.inputs else checked.name
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        try:
            start = time.perf_counter()
            gos = [upstream(rng, y) for y in outputs(checked)]  # which runs it twice
            most = seconds / (CALLS * (time.perf_counter() - start) / 2)
            gradients = well_behaved(checked, gos)
        except Fault as fault:
            return Report(name, "wrong", str(fault), subject=checked)
        comparison = _Comparison(checked, gos, gradients, rng, max(8, round(min(most, MOST))))
        return replace(comparison.report(), name=name, subject=checked)


class _Comparison:
    """Gradients at one place, and the slopes there."""

    def __init__(
        self, checked: Subject, gos: Arrays, gradients: Arrays, rng: np.random.Generator, most: int = MOST
    ) -> None:
        self.checked, self.gos, self.gradients, self.rng, self.most = checked, gos, gradients, rng, most
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
            all_seen = seen == sum(self.gradients[i].size for i in self.checked.real)
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
        text = "\n".join(filter(None, [_of_wrong(wrong, seen), _of_unknown(unknown), _of_kinks(kinks)]))
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
        return complex(sum(np.sum(go * y) for go, y in zip(self.gos, self.checked.forward(xs), strict=True)))

    def line(self, along: Arrays) -> Line:
        """The total, in a direction of the inputs."""
        return lambda t: self.total(
            [x if v is None else x + t * v for x, v in zip(self.checked.inputs, along, strict=True)]
        )

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
        places = [(i, at) for i in self.checked.real for at in np.ndindex(self.gradients[i].shape)]
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


def _of_wrong(wrong: list[Element], seen: int) -> str:
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


def _of_unknown(unknown: list[Element]) -> str:
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


def _of_kinks(kinks: list[Element]) -> str:
    if not kinks:
        return ""
    first = kinks[0]
    return (
        f"{len(kinks)} elements are at a kink (a tie, or ReLU at 0), where each slope between the two sides' is right: "
        f"at {first.name} from {first.slope.left:.4g} to {first.slope.right:.4g}, and the code gives {first.code:.4g}."
    )


def second_order(checked: Subject) -> Subject:
    """The gradients of a subject as functions of its inputs and upstream gradients, with gradients of their own."""
    n = len(checked.inputs)
    rng = np.random.default_rng(1)
    gos = [upstream(rng, y) for y in checked.forward(checked.inputs)]

    def build(xs: Arrays) -> tuple[list[TensorNode], list[TensorNode]]:
        nodes, ys = checked.build(xs[:n])
        above = [TensorNode(go) for go in xs[n:]]
        found = pulled_back(nodes, ys, above, create_graph=True)
        gradients = [found.get(node, TensorNode(np.zeros_like(node.value))) for node in nodes if node.requires_grad]
        return [*nodes, *above], gradients

    labels = [*checked.labels, *(f"go{i or ''}" for i in range(len(gos)))]
    return of_graph(f"the gradient of {checked.name}", labels, [*checked.inputs, *gos], build)
