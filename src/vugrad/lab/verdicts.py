"""The report's claims, each as effects that a seed can have, and the verdict over all seeds.

An effect is a number that the claim says is above 0. Where configurations share seeds it is a difference of two runs
with one seed, so that what the seed does to both is taken out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vugrad.lab.record import Record
from vugrad.lab.statistics import LEVEL, SAME, Estimate, estimate, holm, p_value, untestable

#: The records of one seed by the labels of their configurations.
Seed = Mapping[str, Record]
Effect = Callable[[Seed], float]


@dataclass(frozen=True)
class Claim:
    """A sentence of the report, its study, and its parts: effects that must all be positive.

    ``unit`` is the unit of the effects; ``units`` holds the units of parts that have another.
    """

    name: str
    text: str
    study: str
    parts: Mapping[str, Effect]
    unit: str
    units: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """The verdict of the seeds on a part of a claim.

    ``p`` is corrected for the number of all parts; it is ``None`` if there is no test, and ``untested`` gives the
    reason.
    """

    claim: Claim
    part: str
    effect: Estimate
    p: float | None
    untested: str | None = None

    @property
    def word(self) -> str:
        """Supported or refuted, if the test shows that the effect is not 0, or if it is the same in every run.

        Else not resolved.
        """
        sure = self.untested == SAME if self.p is None else self.p < LEVEL
        if not sure or not self.effect.mean:
            return "not resolved"
        return "supported" if self.effect.mean > 0 else "refuted"

    @property
    def unit(self) -> str:
        """The unit of the effect."""
        return self.claim.units.get(self.part, self.claim.unit)


def judge(claims: Sequence[Claim], found: Mapping[str, Sequence[Seed]]) -> dict[str, list[Verdict]]:
    """The verdicts by the claims' names, of those whose studies were run.

    Args:
        claims: the number of all their parts is what is corrected for, also of those whose studies were not run.
        found: for each study the records of every seed that has all of them.
    """
    tested = [
        (claim, part, [effect(seed) for seed in found[claim.study]])
        for claim in claims
        if found.get(claim.study)
        for part, effect in claim.parts.items()
    ]
    untested = sum(len(claim.parts) for claim in claims) - len(tested)
    plain = [p_value(effects) for _, _, effects in tested]
    corrected = holm([*(1.0 if p is None else p for p in plain), *[1.0] * untested])
    verdicts: dict[str, list[Verdict]] = {}
    for (claim, part, effects), before, p in zip(tested, plain, corrected, strict=False):
        verdict = Verdict(claim, part, estimate(effects), None if before is None else p, untestable(effects))
        verdicts.setdefault(claim.name, []).append(verdict)
    return verdicts


def together(verdicts: Sequence[Verdict]) -> str:
    """The word for a whole claim: supported if all of its parts are, refuted if one is."""
    words = {verdict.word for verdict in verdicts}
    return "refuted" if "refuted" in words else "supported" if words == {"supported"} else "not resolved"


# --- the measures of effects. A run that went to infinity is worse than any that did not.


def loss(record: Record, epoch: int = -1) -> float:
    """The training loss of an epoch, the last by default."""
    losses = record.history["loss"]
    if record.history.stopped or not losses:
        return math.inf
    return float(losses[epoch if epoch < 0 else min(epoch, len(losses)) - 1])


def speed(record: Record) -> float:
    """How fast a run converges: minus the logarithm of its training loss, in the mean over the epochs."""
    losses = record.history["loss"]
    return -math.inf if record.history.stopped or not losses else -float(np.mean(np.log(np.maximum(losses, 1e-12))))


def accuracy(record: Record, epoch: int = -1) -> float:
    """The validation accuracy after an epoch, the last by default, in percent."""
    found = record.history["validation_accuracy"]
    if record.history.stopped or not found:
        return -math.inf
    return 100 * float(found[epoch if epoch < 0 else min(epoch, len(found)) - 1])


def final_accuracy(record: Record) -> float:
    """The accuracy on the test images, in percent."""
    if record.history.stopped or record.test_accuracy is None:
        return -math.inf
    return 100 * record.test_accuracy


def seconds(record: Record) -> float:
    """The time of the fastest epoch, which other load on the machine has slowed least."""
    return float(min(record.history["seconds"], default=math.nan))


def more(measure: Callable[[Record], float], a: str, b: str) -> Effect:
    """By how much a measure of one configuration is above that of another."""
    return lambda seed: _difference(measure(seed[a]), measure(seed[b]))


def trend(measure: Callable[[Record], float], labels: Sequence[str] | None = None, sign: int = 1) -> Effect:
    """The mean rise of a measure (fall, with ``sign`` −1) from each configuration to the next: the slope of a line.

    ``labels`` gives the configurations in order; the default is all of the study.
    """

    def effect(seed: Seed) -> float:
        values = [measure(seed[label]) for label in (seed if labels is None else labels)]
        slope = np.polyfit(range(len(values)), values, 1)[0] if np.isfinite(values).all() else math.nan
        return sign * float(slope)

    return effect


def best(measure: Callable[[Record], float], label: str, others: Sequence[str]) -> Effect:
    """By how much a configuration is ahead of the best of some others."""
    return lambda seed: _difference(measure(seed[label]), max(measure(seed[other]) for other in others))


def _difference(a: float, b: float) -> float:
    """``a - b``; 0 for equal infinite numbers."""
    return 0.0 if a == b else a - b
