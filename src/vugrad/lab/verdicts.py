"""The report's claims, each as effects that a seed can have, and the verdict over all seeds.

An effect is a number that the claim says is above 0. Where configurations share seeds it is a difference of two runs
with one seed, so that what the seed does to both is taken out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vugrad.lab.record import Record
from vugrad.lab.statistics import LEVEL, Estimate, estimate, holm, p_value

#: The records of one seed by the labels of their configurations.
Seed = Mapping[str, Record]
Effect = Callable[[Seed], float]


@dataclass(frozen=True)
class Claim:
    """A sentence of the report, the study it is about, and its parts: each an effect, all of which must hold."""

    name: str
    text: str
    study: str
    parts: Mapping[str, Effect]
    unit: str


@dataclass(frozen=True)
class Verdict:
    """What the seeds say of a part of a claim; ``p`` is corrected for the number of all parts that were tested."""

    claim: Claim
    part: str
    effect: Estimate
    p: float

    @property
    def word(self) -> str:
        """Supported or refuted, if the effect is surely not 0; else not resolved."""
        if not self.p < LEVEL:
            return "not resolved"
        return "supported" if self.effect.mean > 0 else "refuted"


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
    corrected = holm([*(p_value(effects) for _, _, effects in tested), *[1.0] * untested])
    verdicts: dict[str, list[Verdict]] = {}
    for (claim, part, effects), p in zip(tested, corrected, strict=False):
        verdicts.setdefault(claim.name, []).append(Verdict(claim, part, estimate(effects), p))
    return verdicts


def together(verdicts: Sequence[Verdict]) -> str:
    """The word for a whole claim: supported if all of its parts are, refuted if one is."""
    words = {verdict.word for verdict in verdicts}
    return "refuted" if "refuted" in words else "supported" if words == {"supported"} else "not resolved"


# --- what an effect is made of


def loss(record: Record, epoch: int = -1) -> float:
    """The training loss of an epoch, the last by default; infinite for a run that did not get there."""
    losses = record.history["loss"]
    if record.history.stopped or not losses:
        return math.inf
    return float(losses[epoch if epoch < 0 else min(epoch, len(losses)) - 1])


def speed(record: Record) -> float:
    """How fast a run converges: minus the logarithm of its training loss, in the mean over the epochs."""
    losses = record.history["loss"]
    return -math.inf if record.history.stopped or not losses else -float(np.mean(np.log(np.maximum(losses, 1e-12))))


def accuracy(record: Record, epoch: int = -1) -> float:
    """The validation accuracy after an epoch, the last by default, in percent; that of a run that ended early is 0."""
    found = record.history["validation_accuracy"]
    if record.history.stopped or not found:
        return 0.0
    return 100 * float(found[epoch if epoch < 0 else min(epoch, len(found)) - 1])


def seconds(record: Record) -> float:
    """The time of an epoch: the median, since in the first the step is compiled."""
    return float(np.median(record.history["seconds"] or [math.nan]))


def more(measure: Callable[[Record], float], a: str, b: str) -> Effect:
    """By how much a measure of one configuration is above that of another."""
    return lambda seed: _difference(measure(seed[a]), measure(seed[b]))


def trend(measure: Callable[[Record], float], labels: Sequence[str], sign: int = 1) -> Effect:
    """By how much a measure rises (or falls, with ``sign`` −1) from each configuration to the next, in the mean."""

    def effect(seed: Seed) -> float:
        values = [measure(seed[label]) for label in labels]
        slope = np.polyfit(range(len(values)), values, 1)[0] if np.isfinite(values).all() else math.nan
        return sign * float(slope)

    return effect


def best(measure: Callable[[Record], float], label: str, others: Sequence[str]) -> Effect:
    """By how much a configuration is ahead of the best of some others."""
    return lambda seed: _difference(measure(seed[label]), max(measure(seed[other]) for other in others))


def _difference(a: float, b: float) -> float:
    """The difference; of two infinite numbers the same, 0."""
    return 0.0 if a == b else a - b
